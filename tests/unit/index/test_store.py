"""The two tables: batches in, replacements in one commit, remains of killed builds swept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from framesift.errors import IndexNotFoundError, IndexStateError
from framesift.index import directory as directory_module
from framesift.index import store as store_module
from framesift.index.directory import HINT
from framesift.index.journal import KEPT_STATES
from framesift.index.schema import META_NAME, IndexMeta
from framesift.index.store import Store
from framesift.index.verify import verify
from index_rows import META, moments, record


def _ids(store: Store) -> list[str]:
    return sorted(store.moments().to_table(columns=["moment_id"])["moment_id"].to_pylist())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path, META)


def test_meta_survives_and_explains_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFoundError, match="framesift index"):
        IndexMeta.read(tmp_path)
    META.write(tmp_path)
    assert IndexMeta.read(tmp_path) == META
    assert os.listdir(tmp_path) == [META_NAME]
    path = tmp_path / META_NAME
    text = path.read_text()
    path.write_text(text.replace('"format_version": 1', '"format_version": 9'))
    with pytest.raises(IndexStateError, match="has format 9, this framesift reads format 1"):
        IndexMeta.read(tmp_path)
    path.write_text(text[:40])
    with pytest.raises(IndexStateError, match="cannot read"):
        IndexMeta.read(tmp_path)


def test_committed_rows_come_back(store: Store) -> None:
    records = [
        record("a", duration_s=2.5, width=64, codec="h264"),
        record("b", status="failed", error="empty"),
    ]
    store.commit(records, moments(("a", 0.0), ("a", 1.0)), known=[])
    again = Store(store.index)
    assert again.records() == records
    assert _ids(again) == ["a:0.000", "a:1.000"]
    assert again.num_moments() == 2


def test_replacing_takes_old_moments_out_and_leaves_others_alone(store: Store) -> None:
    store.commit([record("a"), record("b")], moments(("a", 0.0), ("a", 1.0), ("b", 0.0)), known=[])
    store.commit([record("a", size_bytes=9), record("c")], moments(("a", 0.5), ("c", 0.0)), known=["a"])
    assert _ids(store) == ["a:0.500", "b:0.000", "c:0.000"]
    assert [(r.video_id, r.size_bytes) for r in store.records()] == [("a", 9), ("b", 2), ("c", 2)]


def test_replacing_by_a_failure_leaves_no_moment(store: Store) -> None:
    store.commit([record("a"), record("b")], moments(("a", 0.0), ("b", 0.0)), known=[])
    store.commit([record("a", status="failed", error="torn")], moments(), known=["a"])
    assert _ids(store) == ["b:0.000"]
    assert [r.status for r in store.records()] == ["failed", "ok"]


def test_remove_and_more_ids_than_one_filter_takes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "IDS_PER_DELETE", 2)
    names = list("abcde")
    store.commit([record(n) for n in names], moments(*((n, 0.0) for n in names)), known=[])
    store.remove(["a", "b", "c", "e"])
    assert _ids(store) == ["d:0.000"]
    assert [r.video_id for r in store.records()] == ["d"]


def test_sweep_deletes_moments_of_an_unfinished_commit_only(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.commit([record("a")], moments(("a", 0.0)), known=[])

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store, "_put", killed)
        with pytest.raises(KeyboardInterrupt):
            store.commit([record("b")], moments(("b", 0.0)), known=[])
    assert _ids(store) == ["a:0.000", "b:0.000"]
    assert store.sweep() == 1
    assert _ids(store) == ["a:0.000"]
    assert store.sweep() == 0


def test_moving_changes_the_row_and_no_moment(store: Store) -> None:
    store.commit([record("a")], moments(("a", 0.0)), known=[])
    before = store.moments().version
    store.update_videos([record("a", uri="/elsewhere/a.mp4")])
    assert [r.uri for r in store.records()] == ["/elsewhere/a.mp4"]
    assert store.moments().version == before


def test_readers_see_commits_of_another_handle(store: Store) -> None:
    reader = Store(store.index)
    before = reader.version()
    store.commit([record("a")], moments(("a", 0.0)), known=[])
    assert reader.version() != before
    assert reader.num_moments() == 1


def test_every_new_file_is_synced_manifests_last(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(directory_module, "fsync_path", synced.append)

    def on_disk() -> set[Path]:
        return {path for path in store.index.rglob("*") if path.is_file()}

    before = on_disk()
    store.commit([record("a")], moments(("a", 0.0)), known=[])
    files = [path for path in synced if path.is_file() and path.name != HINT]
    assert set(files) == on_disk() - before
    places = [(path.relative_to(store.index).parts[0], path.parent.name) for path in files]
    assert places.index(("moments.lance", "_versions")) > places.index(("moments.lance", "data"))
    assert places.index(("videos.lance", "_versions")) > places.index(("videos.lance", "data"))
    assert places.index(("videos.lance", "data")) > places.index(("moments.lance", "_versions"))
    assert store.index in synced


def test_damaged_table_is_an_index_error(store: Store) -> None:
    for manifest in (store.index / "moments.lance" / "_versions").iterdir():
        manifest.write_bytes(b"torn")
    with pytest.raises(IndexStateError, match="cannot") as caught:
        Store(store.index).num_moments()
    assert ".rs:" not in str(caught.value)


def test_compaction_merges_files_keeps_rows_and_drops_what_nobody_reads(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"v{number:02d}" for number in range(12)]
    for name in names:
        store.commit([record(name)], moments((name, 0.0)), known=[])
    store.remove(names[:2])
    before = _ids(store), store.records()
    reader = Store(store.index)
    snapshot = reader.moments()
    store.compact(least_fragments=2)
    assert (_ids(store), store.records()) == before
    assert len(store.moments().get_fragments()) == 1
    assert snapshot.count_rows() == 10, "who began to read before goes on"
    assert _ids(reader) == before[0]
    monkeypatch.setattr(store_module, "GRACE_S", 0.0)
    for name in "xyz":
        store.commit([record(name)], moments((name, 0.0)), known=[])
    store.compact()
    assert len(list((store.index / "moments.lance" / "_versions").glob("*.manifest"))) == KEPT_STATES
    assert _ids(store) == sorted([*before[0], "x:0.000", "y:0.000", "z:0.000"])
    assert verify(store.index, META).problems == []


def test_compaction_happens_by_itself_only_with_many_small_files(store: Store) -> None:
    store.commit([record("a")], moments(("a", 0.0)), known=[])
    store.commit([record("b")], moments(("b", 0.0)), known=[])
    version = store.version()
    store.compact()
    assert store.version() == version


def test_paths_that_are_not_utf8_come_back(store: Store) -> None:
    path = "/videos/\udcff\udcfe 100%.mp4"
    failed = record("b", status="failed", error="cannot open '\udcff'")
    store.commit([record("a", uri=path), failed], moments(("a", 0.0)), known=[])
    a, b = Store(store.index).records()
    assert {a.uri, b.uri} == {path, "/videos/b.mp4"}
    assert "\\udcff" in next(r.error or "" for r in (a, b) if r.status == "failed")
