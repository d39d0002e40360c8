"""An index that a cluster builds while nodes and drivers die is the one that a single machine builds."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from framesift.index import BuildConfig, Index
from framesift.storyboard import storyboards, write_videos
from integration.ray.namespace import run_inside, why_not
from integration.ray.tables import rows_of, same_rows

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")

MODEL = "storyboard-xpool"
GOOD = 24
QUERIES = ("a red circle", "a blue square moves left", "a star")


@dataclass(frozen=True)
class Built:
    """Two indexes of the same videos, and what happened while the second was built."""

    local: Path
    cluster: Path
    seen: dict[str, Any]
    strays: set[str]


@contextmanager
def watching_for_ray() -> Iterator[set[str]]:
    """Collects Ray's processes, of whomever, that are in this process's own network namespace."""
    found, done = set[str](), threading.Event()
    ours = os.readlink("/proc/self/ns/net")

    def watch() -> None:
        while not done.wait(0.5):
            for process in psutil.process_iter(["name"]):
                if process.info["name"] in ("gcs_server", "raylet"):
                    try:
                        if os.readlink(f"/proc/{process.pid}/ns/net") == ours:
                            found.add(process.info["name"])
                    except OSError:
                        continue  # it has just ended

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("ray")
    videos = folder / "videos"
    videos.mkdir()
    write_videos(storyboards("test", GOOD), videos, size_px=64)
    (videos / "broken.mp4").write_bytes(b"not a video")
    (videos / "storyboard-11000003.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nsaid aloud\n")
    with Index.create(folder / "local.index", model=MODEL, moments="whole") as index:
        index.add(videos, config=BuildConfig(workers=1))
    with watching_for_ray() as strays:
        seen = run_inside(
            "index_through_deaths",
            folder,
            timeout_s=400,
            videos=str(videos),
            nodes=2,
            kill_node_at=0.1,
            kill_driver_at=0.5,
            with_blind_node=True,
        )
    return Built(folder / "local.index", folder / "ray.index", seen, strays)


def test_every_video_is_there_once_though_a_node_and_the_driver_were_killed(built: Built) -> None:
    assert built.seen["committed_when_the_node_died"] < built.seen["committed_when_the_driver_died"]
    assert built.seen["committed_when_the_driver_died"] < GOOD + 1, "it was killed too late to show anything"
    assert built.seen["second_driver"]["status"] == 0, built.seen["second_driver"]["said"]
    with Index.open(built.cluster) as index:
        names = Counter(Path(record.uri).name for record in index.videos())
        assert len(names) == GOOD + 1
        assert set(names.values()) == {1}
        assert index.verify().problems == []


def test_what_was_committed_is_not_encoded_again(built: Built) -> None:
    times = Counter(built.seen["encoded"])
    assert set(times) == {Path(uri).name for uri in _uris(built.local)}
    # a chunk has three videos here; two actors hold two chunks each when the driver dies
    twice = sum(count - 1 for count in times.values())
    assert twice <= GOOD + 1 - built.seen["committed_when_the_driver_died"]
    assert twice <= 12


def test_the_tables_are_those_of_one_machine(built: Built) -> None:
    with Index.open(built.local) as local, Index.open(built.cluster) as cluster:
        same_rows(rows_of(local), rows_of(cluster))
        assert [replace(record, video_id="", added_at="") for record in local.videos()] == [
            replace(record, video_id="", added_at="") for record in cluster.videos()
        ]
        assert local.info().cues == cluster.info().cues == 1
        assert list(cluster.info().encoded) == ["torch fp32"]


def test_the_hits_are_those_of_one_machine(built: Built) -> None:
    with Index.open(built.local) as local, Index.open(built.cluster) as cluster:
        for query in QUERIES:
            expected, found = local.search(query, k=GOOD), cluster.search(query, k=GOOD)
            assert [hit.video for hit in found] == [hit.video for hit in expected]
            assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], abs=1e-4)


def test_the_command_reports_as_it_does_on_one_machine(built: Built) -> None:
    command = built.seen["command"]
    assert command["status"] == 3, command["said"]
    report = command["document"]
    assert (report["added"], report["skipped"], report["known_failures"]) == (0, GOOD, 0)
    assert [Path(one["path"]).name for one in report["failed"]] == ["broken.mp4"]
    assert report["index"]["videos"] == GOOD


def test_a_node_that_does_not_see_the_files_is_named(built: Built) -> None:
    command = built.seen["with_blind_node"]
    assert command["status"] == 8, command["said"]
    assert "does not see" in command["said"]
    assert "broken.mp4" in command["said"]
    assert "mount the same shared folder" in command["said"]


def test_nothing_listens_outside_loopback(built: Built) -> None:
    assert built.seen["interfaces"] == ["lo"]
    listening = {one["address"] for one in built.seen["listening"]}
    assert listening, "a cluster was running"
    assert listening <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert built.strays == set()


def _uris(path: Path) -> list[str]:
    with Index.open(path) as index:
        return [record.uri for record in index.videos()]
