"""States under a name: atomic for both tables, spared by cleaning, followed by readers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from framesift.errors import IndexRecoveredWarning, IndexStateError, InputError
from framesift.index import Index
from framesift.index import store as store_module
from framesift.index.gallery import LanceGallery
from framesift.index.journal import manifests, tables
from framesift.index.published import PUBLISHED_NAME, Published, State, check_tag_name
from framesift.index.store import Store
from framesift.index.verify import verify
from index_rows import META, moments, record

TESTS = Path(__file__).parents[2]

# Commits one video after another, each replacing its moments by as many as the number in its name, and publishes each.
WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from itertools import count
from pathlib import Path
from framesift.index.lock import WriterLock
from framesift.index.journal import recover
from framesift.index.store import Store
from index_rows import moments, record
index = Path(sys.argv[2])
with WriterLock(index):
    recover(index)
    store = Store(index)
    store.sweep()
    number = len(store.records())
    print("ready", flush=True)
    for n in count(number):
        store.commit([record(f"v{n}")], moments((f"v{n}", 0.0)), known=[])
        store.publish("live")
        store.compact()
"""


def _add(store: Store, *names: str) -> None:
    store.commit([record(name) for name in names], moments(*((name, 0.0) for name in names)), known=[])


def _names(store: Store) -> list[str]:
    return [one.video_id for one in store.records()]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    META.write(tmp_path)
    made = Store.create(tmp_path, META)
    _add(made, "a")
    return made


def test_a_tag_stays_until_it_is_published_again(store: Store) -> None:
    store.publish("live")
    reader = Store(store.index, tag="live")
    version = reader.version()
    gallery = LanceGallery(reader, META)
    _add(store, "b")
    assert reader.version() == version
    assert _names(reader) == ["a"]
    assert reader.num_moments() == 1
    assert gallery.refreshed() is gallery
    store.publish("live")
    assert reader.version() != version
    assert _names(reader) == ["a", "b"]
    assert reader.num_moments() == 2
    assert len(gallery.refreshed()) == 2
    assert len(gallery) == 1


def test_a_tag_is_spared_by_cleaning_and_what_it_named_is_dropped_later(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.publish("live")
    first = store.version()
    monkeypatch.setattr(store_module, "GRACE_S", 0.0)
    for name in "bcdef":
        _add(store, name)
    store.compact(least_fragments=2)
    for name in "ghij":
        _add(store, name)
    store.compact()
    paths = tables(store.index)
    assert first[1] in manifests(paths["moments"])
    assert first[1] + 1 not in manifests(paths["moments"]), "other old versions go"
    assert _names(Store(store.index, tag="live")) == ["a"]
    assert verify(store.index, META).problems == []
    monkeypatch.setattr(store_module, "GRACE_S", 600.0)
    snapshot = Store(store.index, tag="live").snapshot()
    store.publish("live")
    store.compact()
    assert first[1] in manifests(paths["moments"]), "someone may be reading it"
    assert snapshot.moments.count_rows() == 1
    monkeypatch.setattr(store_module, "GRACE_S", 0.0)
    time.sleep(0.01)
    store.compact()
    assert first[1] not in manifests(paths["moments"])
    assert len(_names(Store(store.index, tag="live"))) == 10


def test_a_snapshot_never_mixes_tables_though_the_tag_moves_while_it_is_made(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.publish("live")
    reader = Store(store.index, tag="live")
    checkout = reader._snapshot

    def moved_meanwhile(name: str, version: int | None = None) -> object:
        found = checkout(name, version)
        if name == "videos":
            monkeypatch.setattr(reader, "_snapshot", checkout)
            _add(store, "b")
            store.publish("live")
        return found

    monkeypatch.setattr(reader, "_snapshot", moved_meanwhile)
    snapshot = reader.snapshot()
    assert snapshot.videos(columns=["video_id"])["video_id"].to_pylist() == ["a"]
    assert snapshot.moments.count_rows() == 1
    assert snapshot.version != reader.version()
    assert reader.snapshot().moments.count_rows() == 2


def test_killed_writers_leave_a_tag_whole(store: Store) -> None:
    store.publish("live")
    command = [sys.executable, "-c", WRITER, str(TESTS), str(store.index)]
    seen = 1
    for wait_s in (0.0, 0.013, 0.05):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            reader = Store(store.index, tag="live")
            first, until = reader.version(), time.monotonic() + 60
            while reader.version()[0] < first[0] + 2:
                assert time.monotonic() < until
                snapshot = reader.snapshot()
                videos = set(snapshot.videos(columns=["video_id"])["video_id"].to_pylist())
                owners = set(snapshot.moments.to_table(columns=["video_id"])["video_id"].to_pylist())
                assert videos == owners, "each video has its moments and no other has any"
            time.sleep(wait_s)
            writer.send_signal(signal.SIGKILL)
        reader = Store(store.index, tag="live")
        assert seen <= len(_names(reader)) == reader.num_moments()
        seen = len(_names(reader))
    assert seen > 3, "each of them got something done"
    assert [p for p in verify(store.index, META).problems if "deletes them" not in p] == []


def test_what_is_not_published_is_said_with_what_is(store: Store) -> None:
    with pytest.raises(
        IndexStateError, match=r"no tag 'live' \(nothing is published yet\).*framesift publish"
    ):
        Store(store.index, tag="live")
    store.publish("live")
    with pytest.raises(IndexStateError, match=r"no tag 'liv' \(there are live\); did you mean 'live'\?"):
        Store(store.index, tag="liv")
    reader = Store(store.index, tag="live")
    store.withdraw("live")
    with pytest.raises(IndexStateError, match="nothing is published yet"):
        reader.records()
    with pytest.raises(IndexStateError, match="no tag"):
        store.withdraw("live")


def test_a_damaged_file_of_tags_stops_cleaning_and_publishing(store: Store) -> None:
    store.publish("live")
    (store.index / PUBLISHED_NAME).write_text('{"tags": {"live": [')
    for attempt in (lambda: store.publish("live"), store.compact, lambda: Store(store.index, tag="live")):
        with pytest.raises(IndexStateError, match="delete it and publish again"):
            attempt()
    assert any("delete it and publish again" in p for p in verify(store.index, META).problems)
    assert _names(Store(store.index)) == ["a"], "what was committed last can be read all the same"


def test_damage_of_a_published_state_is_found_when_it_is_opened(store: Store) -> None:
    store.publish("live")
    _add(store, "b")
    version = store.published().states["live"].moments
    manifests(tables(store.index)["moments"])[version].write_bytes(b"torn")
    with pytest.raises(IndexStateError, match=r"published of the index .* as 'live' cannot be read"):
        Store(store.index, tag="live")
    (problem,) = verify(store.index, META).problems
    assert problem.startswith("'live': version")


def test_a_restoration_takes_tags_of_lost_states_back(store: Store) -> None:
    store.publish("old")
    _add(store, "b")
    store.publish("live")
    lost = store.published().states["live"]
    manifests(tables(store.index)["moments"])[lost.moments].write_bytes(b"")
    with pytest.warns(IndexRecoveredWarning):
        again = Store(store.index)
    again.sweep()
    held = again.published().states
    assert (held["live"].videos, held["live"].moments) == (held["old"].videos, held["old"].moments)
    _add(again, "c")  # takes the number of the version that was lost
    assert again.version()[1] == lost.moments
    assert _names(Store(again.index, tag="live")) == ["a"]


def test_an_index_that_is_opened_by_a_tag_cannot_be_changed(store: Store, tmp_path: Path) -> None:
    with Index.open(store.index) as index:
        index.publish()
        with pytest.raises(InputError, match="cannot be a tag"):
            index.publish("../x")
    with Index.open(store.index, tag="live") as index:
        assert len(index) == 1
        before = index.version
        for change in (
            lambda: index.add(tmp_path),
            lambda: index.watch(tmp_path),
            lambda: index.remove("/videos/a.mp4"),
            lambda: index.tag("/videos/a.mp4", add=["x"]),
            index.prune,
            index.compact,
            lambda: index.publish("other"),
        ):
            with pytest.raises(IndexStateError, match="under the tag 'live', which cannot be changed"):
                change()
        _add(store, "b")
        assert (len(index), index.version, len(index.gallery())) == (1, before, 1)
        store.publish("live")
        assert (len(index), len(index.gallery())) == (2, 2)
        assert index.version != before
        (publication,) = index.info().published
        assert publication.tag == "live"
        assert json.dumps(index.info().to_dict())


def test_retired_states_are_forgotten_after_the_grace() -> None:
    published = Published().with_tag("live", State(1, 1, 100.0), grace_s=10.0)
    published = published.with_tag("live", State(2, 2, 200.0), grace_s=10.0)
    assert published.retired == (State(1, 1, 200.0),)
    assert [s.videos for s in published.kept(now_s=209.0, grace_s=10.0)] == [2, 1]
    assert [s.videos for s in published.kept(now_s=211.0, grace_s=10.0)] == [2]
    again = published.with_tag("live", State(2, 2, 205.0), grace_s=10.0)
    assert [s.videos for s in again.retired] == [1], "the same state, published again, retires nothing"
    assert Published.parse(json.dumps(again.document()).encode(), Path()) == again
    assert published.without("live", now_s=300.0, grace_s=10.0) == Published({}, (State(2, 2, 300.0),))


@pytest.mark.parametrize("tag", ["", ".", "-x", "a b", "a/b", "x" * 65, "é", "a\n"])
def test_names_that_cannot_be_tags(tag: str) -> None:
    with pytest.raises(InputError, match="cannot be a tag"):
        check_tag_name(tag)
