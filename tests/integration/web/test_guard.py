"""Who may ask, from where, and how much: over real connections, for every route that there is."""

from __future__ import annotations

import json
import logging
import re
import socket
from collections.abc import Iterable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from framesift.web.app import create_app
from framesift.web.guard import OPEN_PATHS
from live_server import serving

TOKEN = "a-token-of-32-characters-or-more"
OPEN = OPEN_PATHS | {"/video/{video_id}", "/static"}


@pytest.fixture(scope="module")
def app(shelf, tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    settings = shelf.settings(
        tmp_path_factory.mktemp("guarded"),
        token=TOKEN,
        body_bytes=10_000,
        upload_bytes=50_000,
        head_s=1.0,
        body_s=1.0,
    )
    return create_app({"small": shelf.index}, settings=settings)


@pytest.fixture(scope="module")
def guarded(app: FastAPI) -> Iterator[httpx.Client]:
    """A client that has not got the token."""
    with serving(app) as client:
        yield client


@pytest.fixture
def bearer() -> dict[str, str]:
    return {"authorization": f"Bearer {TOKEN}"}


def every_route(routes: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Method and path of all that answers, however deep it was included."""
    for route in routes:
        if hasattr(route, "original_router"):
            yield from every_route(route.original_router.routes)
        else:
            for method in getattr(route, "methods", None) or {"GET"}:
                yield method, route.path


def filled(path: str) -> str:
    return re.sub(r"\{\w+(:\w+)?\}", "1", path)


def test_every_route_but_the_pages_wants_the_token(app: FastAPI, guarded: httpx.Client) -> None:
    closed = [(method, path) for method, path in every_route(app.routes) if path not in OPEN]
    assert len(closed) > 25
    assert ("POST", "/api/search") in closed
    for method, path in closed:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"}):
            got = guarded.request(method, filled(path), headers=headers)
            assert got.status_code == 401, (method, path, headers)
            assert got.headers["www-authenticate"].startswith("Bearer")
    for path in ("/nothing", "/api/", "/api/openapi.json", "/static", "/api/health/"):
        assert guarded.get(path).status_code in (401, 404, 307), path
    assert guarded.get("/api/openapi.json").status_code == 401


def test_what_is_open_tells_nothing(guarded: httpx.Client) -> None:
    assert set(guarded.get("/api/health").json()) == {"status", "ready", "version", "token"}
    for path in ("/", "/library", "/benchmark", "/video/1"):
        page = guarded.get(path)
        assert page.status_code == 200
        assert "storyboard" not in page.text
    for path in (
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2f..%2fapp.py",
        "/static//etc/passwd",
    ):
        assert guarded.get(path).status_code in (401, 404), path


def test_the_token_opens_by_header_and_by_cookie(guarded: httpx.Client, bearer: dict[str, str]) -> None:
    assert guarded.get("/api/indexes", headers=bearer).status_code == 200
    assert guarded.post("/api/session", json={"token": "no"}).status_code == 401
    begun = guarded.post("/api/session", json={"token": TOKEN})
    assert begun.status_code == 204
    cookie = begun.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    kept = {"cookie": cookie.split(";")[0]}
    guarded.cookies.clear()
    assert guarded.get("/api/indexes", headers=kept).status_code == 200
    assert guarded.get("/api/indexes").status_code == 401
    assert guarded.get("/api/indexes", headers={"cookie": f"framesift_session={TOKEN}"}).status_code == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "", "127.0.0.1.evil.example", "[::1", "a b"]
)
def test_another_name_for_this_server_is_refused(
    guarded: httpx.Client, bearer: dict[str, str], host: str
) -> None:
    got = guarded.get("/api/indexes", headers={**bearer, "host": host})
    assert got.status_code == 400
    assert guarded.get("/", headers={"host": host}).status_code == 400


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:8080", "192.168.1.2", "LOCALHOST."])
def test_addresses_are_no_names_that_could_be_rebound(guarded: httpx.Client, host: str) -> None:
    assert guarded.get("/api/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
    ],
)
def test_other_sites_get_nothing_of_the_api(
    app: FastAPI, guarded: httpx.Client, bearer: dict[str, str], headers: dict[str, str]
) -> None:
    for method, path in every_route(app.routes):
        if path.startswith("/api/") or path == "/metrics":
            got = guarded.request(method, filled(path), headers={**bearer, **headers})
            assert got.status_code == 403, (method, path)
            assert "access-control-allow-origin" not in got.headers


def test_a_link_may_open_the_page_but_no_frame_may(guarded: httpx.Client) -> None:
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert guarded.get("/", headers=link).status_code == 200
    assert guarded.get("/", headers={**link, "sec-fetch-dest": "iframe"}).status_code == 403
    assert guarded.post("/", headers=link).status_code == 403
    own = {"sec-fetch-site": "same-origin", "origin": str(guarded.base_url).rstrip("/")}
    assert guarded.get("/api/health", headers=own).status_code == 200


def test_every_answer_has_the_headers(guarded: httpx.Client, bearer: dict[str, str]) -> None:
    answers = [
        guarded.get("/"),
        guarded.get("/api/health"),
        guarded.get("/api/indexes", headers=bearer),
        guarded.get("/api/none", headers=bearer),
        guarded.get("/api/indexes"),
        guarded.get("/", headers={"host": "evil.example"}),
        guarded.post("/api/search", headers=bearer, json={"k": 0}),
    ]
    for got in answers:
        policy = got.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-inline" not in policy
        assert got.headers["x-content-type-options"] == "nosniff"
        assert got.headers["referrer-policy"]
        assert got.headers["cross-origin-resource-policy"] == "same-origin"


def test_a_body_that_is_too_large_is_refused(guarded: httpx.Client, bearer: dict[str, str]) -> None:
    body = json.dumps({"query": "x" * 20_000}).encode()
    told = guarded.post("/api/search", content=body, headers={**bearer, "content-type": "application/json"})
    assert told.status_code == 413

    def streamed() -> Iterator[bytes]:  # without a Content-Length
        yield b'{"query": "'
        for _ in range(100):
            yield b"x" * 1000
        yield b'"}'

    counted = guarded.post(
        "/api/search", content=streamed(), headers={**bearer, "content-type": "application/json"}
    )
    assert counted.status_code == 413
    assert counted.json()["error"]["code"] == "too_large"
    upload = guarded.post("/api/uploads", files={"file": ("a.png", b"x" * 200_000)}, headers=bearer)
    assert upload.status_code == 413


def test_a_body_is_not_read_before_the_token_is_known(guarded: httpx.Client) -> None:
    port = guarded.base_url.port
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        head = "POST /api/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40000\r\n\r\n"
        connection.sendall(head.encode())
        assert b" 401 " in connection.recv(4096)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 9_000,
        b'{"query":' * 1_000,
        b'{"query": "\\ud800"}',
        b'{"query": "a\\u0000b"}',
        b'{"query": "a", "k": 1e999}',
        b'{"query": "a", "k": NaN}',
        b'{"query": "a", "like": [{"video_id": "x", "start_s": -Infinity, "end_s": 1}]}',
        b'{"query": "a", "sources": []}',
        b'{"query": "a", "unknown": 1}',
        b'{"query": 5}',
        b"\xff\xfe",
        b"null",
    ],
)
def test_json_that_is_none_of_ours_is_a_fault_of_the_client(
    guarded: httpx.Client, bearer: dict[str, str], body: bytes
) -> None:
    got = guarded.post("/api/search", content=body, headers={**bearer, "content-type": "application/json"})
    assert got.status_code in (400, 422), got.text
    assert got.json()["error"]["message"]


@pytest.mark.parametrize(
    "query", ["", " ", "\0", "-night", '"unclosed', "a^0", "after:never", "(" * 3000, "x" * 10_001]
)
def test_a_query_that_is_none_is_a_fault_of_the_client(
    guarded: httpx.Client, bearer: dict[str, str], query: str
) -> None:
    got = guarded.get("/api/search", params={"q": query}, headers=bearer)
    assert got.status_code in (200, 400, 422)
    if got.status_code == 200:
        assert query == "(" * 3000  # a strange word is a word


def test_a_cookie_is_for_https_only_behind_an_https_proxy(guarded: httpx.Client) -> None:
    begun = guarded.post("/api/session", json={"token": TOKEN}, headers={"x-forwarded-proto": "https"})
    assert "; Secure" in begun.headers["set-cookie"]
    plain = guarded.post("/api/session", json={"token": TOKEN})
    guarded.cookies.clear()
    assert "Secure" not in plain.headers["set-cookie"]  # no browser would send it back


def test_methods_that_clients_make_up_are_not_counted_one_by_one(
    guarded: httpx.Client, bearer: dict[str, str]
) -> None:
    for number in range(5):
        assert guarded.request(f"MADEUP{number}", "/api/health").status_code == 405
    metrics = guarded.get("/metrics", headers=bearer).text
    assert 'method="other"' in metrics
    assert "MADEUP" not in metrics


def closed_within(connection: socket.socket, seconds: float) -> bytes:
    """What comes until the server closes the connection."""
    connection.settimeout(seconds)
    came = b""
    while part := connection.recv(4096):
        came += part
    return came


def test_a_head_that_never_ends_does_not_hold_a_connection(guarded: httpx.Client) -> None:
    address = ("127.0.0.1", guarded.base_url.port)
    with socket.create_connection(address) as silent, socket.create_connection(address) as slow:
        slow.sendall(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        again = socket.create_connection(address)
        with again:  # a second request, whose head is cut off
            again.sendall(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /api")
            assert b" 200 " in closed_within(again, 30)
        assert closed_within(slow, 30) == b""
        assert closed_within(silent, 30) == b""


def test_a_body_that_never_ends_is_given_up(guarded: httpx.Client, bearer: dict[str, str]) -> None:
    with socket.create_connection(("127.0.0.1", guarded.base_url.port)) as connection:
        head = (
            f"POST /api/search HTTP/1.1\r\nHost: localhost\r\nAuthorization: {bearer['authorization']}\r\n"
            "Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{"
        )
        connection.sendall(head.encode())
        assert b" 408 " in closed_within(connection, 30)


@pytest.mark.parametrize("pattern", ["*a" * 20 + "b", "**/a/" * 10 + "b"])
def test_a_pattern_that_takes_for_ever_is_refused(
    guarded: httpx.Client, bearer: dict[str, str], pattern: str
) -> None:
    for name in ("include", "exclude"):
        got = guarded.post("/api/jobs", json={"paths": ["/x"], name: [pattern]}, headers=bearer)
        assert got.status_code == 422
        assert "stars" in got.json()["error"]["message"]


def test_neither_token_nor_query_is_in_the_log(
    guarded: httpx.Client, bearer: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "framesift.web"):
        guarded.get("/api/videos", params={"q": "private-words"}, headers=bearer)
        guarded.post("/api/session", json={"token": TOKEN})
    assert "'/api/videos' 200" in caplog.text
    assert "private-words" not in caplog.text
    assert TOKEN not in caplog.text


def test_a_method_that_nothing_has_is_refused(guarded: httpx.Client, bearer: dict[str, str]) -> None:
    for method in ("TRACE", "OPTIONS", "PATCH", "BREW"):
        assert guarded.request(method, "/api/search", headers=bearer).status_code == 405
