"""Replicas on a cluster answer as one server does, through the death of one of them and a new publication."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from framesift.index import BuildConfig, Index
from framesift.storyboard import storyboards, write_videos
from framesift.web.app import create_app
from framesift.web.settings import Settings
from integration.ray.namespace import run_inside, why_not
from live_server import serving

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")

MODEL = "storyboard-xpool"
QUERIES = ["a red circle", "a blue square moves left", "a star -circle"]
FIRST, MORE = 8, 4


@dataclass(frozen=True)
class Served:
    """What one server answers, and what happened on the cluster."""

    expected: list[dict[str, Any]]
    seen: dict[str, Any]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = tmp_path_factory.mktemp("ray")
    videos = storyboards("test", FIRST + MORE)
    for name, part in (("first", videos[:FIRST]), ("more", videos[FIRST:])):
        (folder / name).mkdir()
        write_videos(part, folder / name, size_px=64)
    path = folder / "live.index"
    with Index.create(path, model=MODEL, moments="whole") as index:
        index.add(folder / "first", config=BuildConfig(workers=1))
        index.publish("live")
    settings = Settings(tag="live", read_only=True, state=folder / "state", cache=folder / "cache")
    with serving(create_app({"live": path}, settings=settings)) as client:
        expected = [client.get("/api/search", params={"q": query, "k": 5}).json() for query in QUERIES]
    seen = run_inside(
        "serve_through_deaths",
        folder,
        timeout_s=400,
        index=str(path),
        more=str(folder / "more"),
        queries=QUERIES,
        nodes=2,
        replicas=2,
        clients=3,
    )
    return Served(expected, seen)


def test_answers_are_those_of_one_server(served: Served) -> None:
    for one, other in zip(served.expected, served.seen["answers"], strict=True):
        assert one["results"], "nothing to compare"
        assert _without_time(other) == _without_time(one)


def test_no_request_fails_when_a_replica_is_killed_and_it_is_replaced(served: Served) -> None:
    load = served.seen["load_while_a_replica_died"]
    assert "ServeReplica" in served.seen["replica_killed"]
    assert load["requests"] > 20
    assert load["failed"] == 0, load
    assert served.seen["replaced_s"] > 0


def test_publishing_moves_all_replicas_over_and_no_request_fails(served: Served) -> None:
    load = served.seen["load_while_published"]
    assert served.seen["published"] == 0
    assert served.seen["videos"] == [FIRST, FIRST + MORE]
    assert load["requests"] > 20
    assert load["failed"] == 0, load


def test_it_wants_the_token_and_takes_no_uploads(served: Served) -> None:
    assert served.seen["without_token"] == 401
    assert served.seen["upload"] == 501


def test_it_listens_where_it_is_told(served: Served) -> None:
    (proxy,) = [one for one in served.seen["listening"] if one["port"] == 8123]
    assert proxy["address"] == "127.0.0.1"


def test_it_ends_when_it_is_asked_to(served: Served) -> None:
    assert served.seen["status"] == 0
    assert served.seen["listening_after_the_end"] == []


def _without_time(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "took_ms" and not key.startswith("took")}
