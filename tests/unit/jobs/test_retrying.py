"""The layer that asks another replica."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("ray", reason="ray is not installed: pip install 'framesift[ray]'")

from framesift.jobs import retrying
from framesift.jobs.retrying import TRIES, Retrying, layers
from framesift.web.guard import HEADERS

OURS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "PAUSE_S", 0.0)


def ask(
    answers: list[tuple[int, list[Any]] | Exception | None], *, body: bytes = b"", length: str | None = None
) -> dict[str, Any]:
    """What a client gets of an application that answers so, try after try."""
    seen: dict[str, Any] = {"bodies": [], "sent": []}
    left = list(answers)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        got, more = b"", True
        while more:
            message = await receive()
            got, more = got + message["body"], message["more_body"]
        seen["bodies"].append(got)
        answer = left.pop(0)
        if answer is None:
            return
        if isinstance(answer, Exception):
            raise answer
        status, headers = answer
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": str(status).encode()})

    pieces = [body[:3], body[3:]]

    async def receive() -> dict[str, Any]:
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message: dict[str, Any]) -> None:
        seen["sent"].append(message)

    headers = [(b"content-length", (length or str(len(body))).encode())]
    scope = {"type": "http", "method": "POST", "path": "/api/search", "headers": headers}
    asyncio.run(Retrying(app)(scope, receive, send))
    seen["status"] = seen["sent"][0]["status"] if seen["sent"] else None
    return seen


def test_an_answer_goes_through_as_it_is() -> None:
    seen = ask([(200, OURS)])
    assert [message["type"] for message in seen["sent"]] == ["http.response.start", "http.response.body"]


def test_a_replica_that_dies_is_followed_by_another_which_gets_the_same_body() -> None:
    # no answer at all is what Serve makes of a death under a request
    seen = ask([None, RuntimeError("died"), (503, []), (200, OURS)], body=b'{"q": "a dog"}')
    assert seen["status"] == 200
    assert seen["bodies"] == [b'{"q": "a dog"}'] * 4
    assert len(seen["sent"]) == 2


def test_an_error_of_the_application_is_an_answer() -> None:
    seen = ask([(500, OURS)])
    assert seen["status"] == 500
    assert len(seen["bodies"]) == 1


def test_it_gives_up_in_the_end() -> None:
    seen = ask([(503, [])] * TRIES)
    assert seen["status"] == 503
    assert len(seen["bodies"]) == TRIES


def test_what_is_too_large_to_keep_is_asked_once() -> None:
    seen = ask([(500, [])], body=b"abcdef", length=str(2**30))
    assert seen["status"] == 500
    assert len(seen["bodies"]) == 1


def test_nobody_is_asked_again_for_a_client_that_has_gone() -> None:
    tries: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        tries.append(1)
        while (await receive())["type"] != "http.disconnect":
            pass

    messages = [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: dict[str, Any]) -> None:
        raise AssertionError(message)

    scope = {"type": "http", "method": "GET", "path": "/api/videos", "headers": []}
    asyncio.run(Retrying(app)(scope, receive, send))
    assert len(tries) == 1


def test_serve_finds_the_layer_by_its_name() -> None:
    from ray._common.utils import import_attr

    assert import_attr(retrying.LAYERS) is layers
    assert [layer.cls for layer in layers()] == [Retrying]
