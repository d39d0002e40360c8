"""Power failures: whatever is left of the newest commit, the one before it opens, and the user is told."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import lance
import numpy as np
import pytest

from framesift.errors import IndexRecoveredWarning, IndexStateError
from framesift.index import journal as journal_module
from framesift.index.journal import ASIDE, JOURNAL_NAME, Journal, State, manifests, recover
from framesift.index.lock import WriterLock
from framesift.index.schema import VideoRecord
from framesift.index.store import Store
from framesift.index.verify import verify
from index_rows import META, moments, record


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Three commits: video a, video b, video c with a replacement of a."""
    store = Store.create(tmp_path, META)
    META.write(tmp_path)
    store.commit([record("a")], moments(("a", 0.0), ("a", 1.0)), known=[])
    store.commit([record("b")], moments(("b", 0.0)), known=[])
    store.commit([record("c"), record("a", size_bytes=9)], moments(("c", 0.0), ("a", 5.0)), known=["a"])
    return tmp_path


def _contents(store: Store) -> tuple[list[VideoRecord], list[str]]:
    ids = store.moments().to_table(columns=["moment_id"])["moment_id"].to_pylist()
    return store.records(), sorted(ids)


FIRST = ([record("a")], ["a:0.000", "a:1.000"])
SECOND = ([record("a"), record("b")], ["a:0.000", "a:1.000", "b:0.000"])
THIRD = ([record("a", size_bytes=9), record("b"), record("c")], ["a:5.000", "b:0.000", "c:0.000"])


def _newest_manifest(table: Path) -> Path:
    found = manifests(table)
    return found[max(found)]


def _newest_data(table: Path) -> Path:
    return max((table / "data").iterdir(), key=lambda path: path.stat().st_mtime_ns)


def _truncate(share: float) -> Callable[[Path], object]:
    return lambda path: os.truncate(path, int(path.stat().st_size * share))


def _zero(first: float, last: float) -> Callable[[Path], object]:
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        start, stop = int(first * len(content)), int(last * len(content))
        content[start:stop] = bytes(stop - start)
        path.write_bytes(content)

    return damage


DAMAGE = {
    "missing": Path.unlink,
    "empty": _truncate(0.0),
    "half": _truncate(0.5),
    "cut by little": _truncate(0.99),
    "zeroed": _zero(0.0, 1.0),
    "first half zeroed": _zero(0.0, 0.5),
    "last half zeroed": _zero(0.5, 1.0),
}


def test_undamaged_index_is_left_alone(index: Path) -> None:
    assert _contents(Store(index)) == THIRD
    assert recover(index) == ""
    assert not (index / ASIDE).exists()


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
@pytest.mark.parametrize("pick", [_newest_manifest, _newest_data])
@pytest.mark.parametrize("table", ["videos", "moments"])
def test_the_state_before_the_damaged_one_opens_and_goes_on(
    index: Path, table: str, pick: Callable[[Path], Path], damage: Callable[[Path], object]
) -> None:
    victim = pick(index / f"{table}.lance")
    damage(victim)
    with pytest.warns(IndexRecoveredWarning, match=rf"table '{table}' cannot be read.*restored"):
        store = Store(index)
    assert _contents(store) == SECOND
    assert any((index / ASIDE).iterdir())
    assert verify(index, META).problems == []
    assert _contents(Store(index)) == _contents(store)  # said once
    store.commit([record("d")], moments(("d", 0.0)), known=[])
    assert {"b", "d"} <= {r.video_id for r in Store(index).records()}
    assert verify(index, META).problems == []


def test_killed_between_the_tables_of_a_commit_nothing_is_set_aside(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(index)
    with monkeypatch.context() as patch:
        patch.setattr(store, "_put", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            store.commit([record("d")], moments(("d", 0.0)), known=[])
    again = Store(index)
    assert again.sweep() == 1
    assert _contents(again) == THIRD


def test_what_was_never_synced_is_read_before_it_is_trusted(index: Path) -> None:
    """Power fails after Lance's commit and before ours: the data file is there, of full length, full of zeros."""
    table = lance.dataset(index / "moments.lance")
    table.insert(moments(("d", 0.0)))
    _zero(0.0, 0.6)(_newest_data(index / "moments.lance"))
    with pytest.warns(IndexRecoveredWarning):
        store = Store(index)
    assert _contents(store) == THIRD


def test_without_a_journal_each_table_goes_back_by_itself(index: Path) -> None:
    (index / JOURNAL_NAME).write_text("torn")
    _truncate(0.5)(_newest_manifest(index / "moments.lance"))
    with pytest.warns(IndexRecoveredWarning, match="set-aside"):
        store = Store(index)
    with WriterLock(index):
        store.sweep()
    found, ids = _contents(store)
    assert {r.video_id for r in found} == {moment.split(":")[0] for moment in ids}
    assert verify(index, META).problems == []


def test_nothing_left_to_read_is_an_error_that_says_what_to_do(index: Path) -> None:
    for path in manifests(index / "videos.lance").values():
        path.write_bytes(b"torn")
    with pytest.raises(IndexStateError, match=r"cannot be read: .*index the videos again"):
        Store(index)


def test_reader_beside_a_writer_waits_for_its_restoration(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from framesift.index import directory as directory_module

    monkeypatch.setattr(directory_module, "RECOVERY_WAIT_S", 0.2)
    _truncate(0.5)(_newest_manifest(index / "moments.lance"))
    with WriterLock(index):
        with pytest.warns(IndexRecoveredWarning, match="is read instead"):
            store = Store(index)
        assert _contents(store) == SECOND
        assert not (index / ASIDE).exists()


@pytest.mark.skipif(os.geteuid() != 0 or not sys.platform.startswith("linux"), reason="mounting needs root")
def test_read_only_medium_is_read_from_its_last_good_state(index: Path) -> None:
    _truncate(0.5)(_newest_manifest(index / "moments.lance"))
    script = (
        "import sys, warnings; from pathlib import Path; from framesift.index.store import Store\n"
        "from framesift.index.lock import WriterLock; from framesift.errors import IndexStateError\n"
        "with warnings.catch_warnings(record=True) as said:\n"
        "    warnings.simplefilter('always'); store = Store(Path(sys.argv[1]))\n"
        "print([r.video_id for r in store.records()], store.num_moments(), 'read instead' in str(said[0].message))\n"
        "try:\n    WriterLock(Path(sys.argv[1])).__enter__()\nexcept IndexStateError as error: print(error)"
    )
    mount = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", mount, "sh", index, sys.executable, script],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare:" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    lines = done.stdout.splitlines()
    assert lines[0] == "['a', 'b'] 3 True", done.stderr
    assert "Read-only file system" in lines[1]


@pytest.mark.filterwarnings("ignore::framesift.errors.IndexRecoveredWarning")
def test_random_damage_never_gives_wrong_rows(index: Path) -> None:
    """Of any one damaged file: one of the states that were committed, or an error, but nothing in between."""
    files = [path for path in index.rglob("*") if path.is_file() and "lance" in path.parts[-3]]
    contents = {path: path.read_bytes() for path in index.rglob("*") if path.is_file()}
    chance = random.Random(3)
    for _ in range(40):
        victim, damage = chance.choice(files), chance.choice(list(DAMAGE.values()))
        damage(victim)
        with suppress(IndexStateError):
            assert _contents(Store(index)) in (THIRD, SECOND, FIRST)
        for path in index.rglob("*"):
            if path.is_file() and path not in contents:
                path.unlink()
        for path, content in contents.items():
            path.write_bytes(content)


def test_states_are_forgotten_when_nobody_can_need_them() -> None:
    journal = Journal()
    for number in range(1, 9):
        journal = journal.with_state(State(number, number, 100.0 * number), grace_s=250.0)
    # committed at 800: those superseded before 550 go, that is up to number 4
    assert [state.videos for state in journal.states] == [5, 6, 7, 8]
    journal = Journal()
    for number in range(1, 9):
        journal = journal.with_state(State(number, number, 100.0 * number), grace_s=0.0)
    assert [state.videos for state in journal.states] == [6, 7, 8]


def test_large_files_are_compared_with_their_checksum_only_when_asked(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "CHECKED_BYTES", 0)
    newest = _newest_data(index / "moments.lance")
    content = bytearray(newest.read_bytes())
    flips = np.random.default_rng(0).integers(0, len(content) // 4, 5)
    for flip in flips:
        content[flip] ^= 1
    newest.write_bytes(content)
    result = verify(index, META)
    assert not result.ok
    assert "has changed since it was written" in result.problems[0]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files"),
        OSError("LanceError(IO): Permission denied (os error 13)"),
    ],
)
def test_what_is_no_damage_sets_nothing_aside(
    index: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(journal_module, "open_table", fail)
        with pytest.raises(IndexStateError, match=r"Too many open files|Permission denied"):
            Store(index)
    assert not (index / ASIDE).exists()
    assert _contents(Store(index)) == THIRD
