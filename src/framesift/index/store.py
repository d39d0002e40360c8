"""The two Lance tables of an index: reading snapshots of them, and the few commits that change them.

Every change is one Lance commit on each table, in the order that leaves a readable index wherever it stops, and
nothing counts as committed before it is synced and in the journal (journal.py). The writing methods must be
called under :class:`~framesift.index.lock.WriterLock`. LanceDB opens the same tables.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa

from ..errors import IndexLockedError, IndexStateError
from .durable import fsync_path
from .journal import (
    ASIDE,
    Journal,
    checksum,
    find_damage,
    manifests,
    newest_whole,
    open_table,
    recover,
    superseded,
    tables,
    tell,
    why,
)
from .lock import WriterLock
from .published import PUBLISHED_NAME, Published, State
from .schema import MOMENTS_TABLE, VIDEOS_TABLE, IndexMeta, VideoRecord, moments_schema, videos_schema

__all__ = ["Snapshot", "Store", "lance_errors"]

IDS_PER_DELETE = 500  # keeps a filter expression short
GRACE_S = 600.0
"""A version stays on disk for so long after the next one came: searches that began on it finish."""

FRAGMENTS_TO_COMPACT = 32  # small ones: each costs every reader a file to open
ROWS_PER_FRAGMENT = (
    16_384  # 14 KiB a moment (512 wide, 12 frames): compaction holds one in memory, not the table
)
MOST_DELETED = 0.1  # of a fragment's rows; more are worth rewriting it
RECOVERY_WAIT_S = 10.0  # another process that is restoring the index needs milliseconds


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """Both tables as they were at one time, whatever is written meanwhile.

    Attributes:
        version: as :attr:`Store.version` was.
        moments: a Lance dataset of ``moments``. It may have moments of videos that ``videos`` does not list yet.
    """

    index: Path
    version: tuple[int, int, int]
    moments: Any
    _videos: Any

    def videos(self, *, columns: Sequence[str] | None = None, where: str | None = None) -> pa.Table:
        """The rows of ``videos``."""
        with lance_errors(self.index, "read"):
            return self._videos.to_table(columns=list(columns) if columns else None, filter=where)


class Store:
    """An index's tables, opened for reading; writing needs nothing more than the lock.

    Where the newest commit is damaged, the last good state is restored first, with a warning; on a medium that
    cannot be written to it is read instead.

    Args:
        index: directory of the index.
        tag: read what is published under this name, now and whenever it is published anew. Nothing can be written then.

    Raises:
        IndexStateError: a table is missing, or nothing of it can be read; nothing is published as ``tag``, or what is
            has been damaged.
    """

    def __init__(self, index: Path, *, tag: str | None = None) -> None:
        self.index = index
        self.tag = tag
        self._pinned: State | None = None
        self._files: dict[str, tuple[int, int]] | None = None
        self._published: tuple[tuple[int, int, int], Published] | None = None
        with lance_errors(index, "open"):
            if tag is not None:
                _check_published(index, tag, self.published().state(index, tag))
            elif newest_whole(index)[1]:
                self._pinned = _restore(index)
            self._open()

    def _open(self) -> None:
        self._recoveries = _recoveries(self.index)
        self._tables = {
            name: open_table(path, self._pinned and self._pinned.version(name))
            for name, path in tables(self.index).items()
        }

    @classmethod
    def create(cls, index: Path, meta: IndexMeta) -> Store:
        """Make empty tables, in place of what a killed creation left (tables without ``META_NAME``)."""
        schemas = {VIDEOS_TABLE: videos_schema(), MOMENTS_TABLE: moments_schema(meta.dim)}
        with lance_errors(index, "create"):
            for name, path in tables(index).items():
                shutil.rmtree(path, ignore_errors=True)
                lance.write_dataset(schemas[name].empty_table(), path)
            Journal().write(index)
            store = cls(index)
            store._note()
        return store

    @property
    def cache_folder(self) -> Path:
        """Where the hot path's cache of this index lies."""
        return self.index / "cache"

    # ---- reading

    def version(self) -> tuple[int, int, int]:
        """Newest versions of the tables on disk; a snapshot that has them is up to date.

        The third number tells versions apart that bear the same number because the first one was set aside.
        """
        with lance_errors(self.index, "read"):
            if self._pinned is not None:
                return self._pinned.videos, self._pinned.moments, 0
            if self.tag is not None:
                state = self.published().state(self.index, self.tag)
                return state.videos, state.moments, _recoveries(self.index)
            videos, moments = (self._tables[name].latest_version for name in (VIDEOS_TABLE, MOMENTS_TABLE))
            return videos, moments, _recoveries(self.index)

    def published(self) -> Published:
        """What the tags of the index name now; read only where it has changed.

        Raises:
            IndexStateError: it cannot be read.
        """
        try:
            facts = os.stat(self.index / PUBLISHED_NAME)
        except OSError:
            return Published.read(self.index)  # which says why
        seen = facts.st_mtime_ns, facts.st_ino, facts.st_size
        if self._published is None or self._published[0] != seen:
            self._published = seen, Published.read(self.index)
        return self._published[1]

    def snapshot(self) -> Snapshot:
        """Both tables as they are now, to be read for as long as it takes."""
        with lance_errors(self.index, "read"):
            version = self.version()
            if self.tag is None:
                # videos before moments: a build writes them the other way round, so a video that is listed has its
                # moments there
                videos, moments = self._snapshot(VIDEOS_TABLE), self._snapshot(MOMENTS_TABLE)
            else:
                videos = self._snapshot(VIDEOS_TABLE, version[0])
                moments = self._snapshot(MOMENTS_TABLE, version[1])
            return Snapshot(index=self.index, version=version, moments=moments, _videos=videos)

    def _snapshot(self, name: str, version: int | None = None) -> Any:
        """A Lance dataset that stays at the newest version it has now, or that is published now; or at ``version``."""
        if self._pinned is not None:
            return self._tables[name]
        if self._recoveries != _recoveries(self.index):
            self._open()
        table = self._tables[name]
        if version is None and self.tag is not None:
            version = self.published().state(self.index, self.tag).version(name)
        return table.checkout_version(table.latest_version if version is None else version)

    def videos(self, *, columns: Sequence[str] | None = None, where: str | None = None) -> pa.Table:
        """The rows of ``videos`` as they are now."""
        with lance_errors(self.index, "read"):
            return self._snapshot(VIDEOS_TABLE).to_table(
                columns=list(columns) if columns else None, filter=where
            )

    def records(self) -> list[VideoRecord]:
        """The rows of ``videos``, by path."""
        names = [field.name for field in fields(VideoRecord)]
        rows = self.videos(columns=names).to_pylist()
        return sorted(map(VideoRecord.from_row, rows), key=lambda record: record.uri)

    def moments(self) -> Any:
        """A Lance dataset of ``moments`` that stays at the newest version it has now."""
        with lance_errors(self.index, "read"):
            return self._snapshot(MOMENTS_TABLE)

    def num_moments(self) -> int:
        """Rows of ``moments``."""
        with lance_errors(self.index, "read"):
            return self._snapshot(MOMENTS_TABLE).count_rows()

    # ---- writing

    def commit(self, records: Sequence[VideoRecord], moments: pa.Table, *, known: Iterable[str]) -> None:
        """Put a batch of videos in, each with all its moments.

        Args:
            records: the videos.
            moments: all moments of all of them; a failed video has none.
            known: ``video_id`` of those records that have rows already, which are replaced.
        """
        if not records:
            return
        known = set(known)
        with lance_errors(self.index, "write to"):
            ids = moments["video_id"]
            replaced = np.fromiter((value in known for value in ids.to_pylist()), dtype=bool, count=len(ids))
            if known:
                # one commit: a reader sees a changed video's old moments or its new ones, never a mixture
                (
                    self._snapshot(MOMENTS_TABLE)
                    .merge_insert("moment_id")
                    .when_matched_update_all()
                    .when_not_matched_insert_all()
                    .when_not_matched_by_source_delete(f"video_id IN ({_quoted(known)})")
                    .execute(moments.filter(pa.array(replaced)))
                )
            if not replaced.all():
                self._snapshot(MOMENTS_TABLE).insert(moments.filter(pa.array(~replaced)))
            self._sync()  # a video that is there has its moments, even after a power failure
            self._put(records, known)
            self._note()

    def update_videos(self, records: Sequence[VideoRecord]) -> None:
        """Replace rows of ``videos`` whose moments stay as they are (a moved file)."""
        if not records:
            return
        with lance_errors(self.index, "write to"):
            self._put(records, {record.video_id for record in records})
            self._note()

    def remove(self, video_ids: Sequence[str]) -> None:
        """Delete videos and their moments; the videos go first, which hides the moments from readers."""
        if not video_ids:
            return
        with lance_errors(self.index, "write to"):
            for name in (VIDEOS_TABLE, MOMENTS_TABLE):
                for first in range(0, len(video_ids), IDS_PER_DELETE):
                    chosen = _quoted(video_ids[first : first + IDS_PER_DELETE])
                    self._snapshot(name).delete(f"video_id IN ({chosen})")
            self._note()

    def sweep(self) -> int:
        """Delete what a killed build left, and what no longer fits after a restoration.

        That is, moments whose video has no row, and videos that should have moments but have none.

        Returns:
            How many videos were concerned.
        """
        with lance_errors(self.index, "write to"):
            held = set(self.moments().to_table(columns=["video_id"])["video_id"].unique().to_pylist())
            videos = self.videos(columns=["video_id", "status"]).to_pylist()
            listed = {row["video_id"] for row in videos}
            good = {row["video_id"] for row in videos if row["status"] == "ok"}
            strays = sorted((held - listed) | (good - held))
            self.remove(strays)
        return len(strays)

    def compact(self, *, least_fragments: int | None = None) -> None:
        """Merge small data files, and drop versions that nobody can be reading any more.

        Args:
            least_fragments: tables with fewer small data files are left alone (``FRAGMENTS_TO_COMPACT``).
        """
        with lance_errors(self.index, "compact"):
            compacted = False
            for name in (VIDEOS_TABLE, MOMENTS_TABLE):
                table = self._snapshot(name)
                small = [f for f in table.get_fragments() if _is_small(f)]
                if len(small) < (least_fragments or FRAGMENTS_TO_COMPACT):
                    continue
                table.optimize.compact_files(
                    target_rows_per_fragment=ROWS_PER_FRAGMENT,
                    materialize_deletions_threshold=MOST_DELETED,
                    num_threads=1,
                    batch_size=1024,
                )
                compacted = True
            if compacted:
                self._note()
            self._drop_superseded()

    def publish(self, tag: str) -> None:
        """Let a tag name the present state of both tables."""
        with lance_errors(self.index, "publish"):
            self._note()  # a build that was killed may have left a commit that is not durable yet
            state = Journal.read(self.index).states[-1]
            Published.read(self.index).with_tag(tag, state, grace_s=GRACE_S).write(self.index)

    def withdraw(self, tag: str) -> None:
        """Delete a tag. Raises IndexStateError if there is none of that name."""
        with lance_errors(self.index, "write to"):
            published = Published.read(self.index)
            published.state(self.index, tag)
            published.without(tag, now_s=time.time(), grace_s=GRACE_S).write(self.index)

    def _drop_superseded(self) -> None:
        states = Journal.read(self.index).states
        kept = Published.read(self.index).kept(now_s=time.time(), grace_s=GRACE_S)
        for name, path in tables(self.index).items():
            if versions := superseded(states, name, manifests(path), kept=kept):
                # delete_unverified: what killed builds left, which is safe under the writer's lock
                self._snapshot(name).cleanup_old_versions(versions=versions, delete_unverified=True)

    def _put(self, records: Sequence[VideoRecord], known: set[str]) -> None:
        rows = pa.Table.from_pylist([record.to_row() for record in records], schema=videos_schema())
        table = self._snapshot(VIDEOS_TABLE)
        if known:
            table.merge_insert("video_id").when_matched_update_all().when_not_matched_insert_all().execute(
                rows
            )
        else:
            # an append costs the batch; a merge reads the key column of the whole table
            table.insert(rows)

    def _sync(self) -> None:
        """fsync what appeared since the last call: Lance itself never does. Notes sizes and checksums."""
        folders = [folder for table in tables(self.index).values() for folder in _folders(table)]
        present = {entry.path: entry for folder in folders for entry in os.scandir(folder) if entry.is_file()}
        known = self._files if self._files is not None else dict(Journal.read(self.index).files)
        self._files = {}
        # manifests name the others: last
        for path in sorted(present, key=lambda name: ("_versions" in name, name)):
            name = os.path.relpath(path, self.index)
            if name in known and os.path.basename(path) != HINT:
                self._files[name] = known[name]
            else:
                fsync_path(Path(path))
                self._files[name] = checksum(Path(path))
        for folder in [*folders, self.index]:
            fsync_path(folder)

    def _note(self) -> None:
        """Make a commit durable, and enter it into the journal."""
        self._sync()
        state = State(
            self._tables[VIDEOS_TABLE].latest_version, self._tables[MOMENTS_TABLE].latest_version, time.time()
        )
        journal = Journal(Journal.read(self.index).states, self._files or {})
        journal.with_state(state, grace_s=GRACE_S).write(self.index)


HINT = "latest_version_hint.json"  # the only file that Lance rewrites in place


def _restore(index: Path) -> State | None:
    """Restore the last good state; where this process cannot, the state to be read instead."""
    deadline = time.monotonic() + RECOVERY_WAIT_S
    while True:
        try:
            with WriterLock(index):
                recover(index)
            return None
        except IndexLockedError:  # whoever writes restores the index before anything else
            state, reason = newest_whole(index)
            if not reason:
                return None
            if time.monotonic() > deadline:
                return _read_instead(index, state, reason)
            time.sleep(0.05)
        except IndexStateError:
            state, reason = newest_whole(index)
            return _read_instead(index, state, reason) if reason else None


def _check_published(index: Path, tag: str, state: State) -> None:
    journal = Journal.read(index)
    for name in tables(index):
        reason = find_damage(index, name, state.version(name), journal)
        if reason is not None:
            raise IndexStateError(
                f"what is published of the index {str(index)!r} as {tag!r} cannot be read (version "
                f"{state.version(name)} of the table {name!r}: {reason}); publish it again with: "
                f"framesift publish --index {index} --tag {tag}"
            )


def _read_instead(index: Path, state: State, reason: str) -> State:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(state.time_s))
    tell(index, f"{reason}. The index cannot be written to; its state of {when} is read instead")
    return state


def _recoveries(index: Path) -> int:
    try:
        return len(os.listdir(index / ASIDE))
    except OSError:
        return 0


def _is_small(fragment: Any) -> bool:
    rows, deleted = fragment.physical_rows, fragment.num_deletions
    return rows - deleted < ROWS_PER_FRAGMENT or deleted > MOST_DELETED * rows


def _folders(table: Path) -> list[Path]:
    """A table's own directory and those below it."""
    return [Path(folder) for folder, _, _ in os.walk(table)]


def _quoted(ids: Iterable[str]) -> str:
    return ", ".join("'" + value.replace("'", "''") + "'" for value in sorted(ids))


@contextmanager
def lance_errors(index: Path, action: str) -> Generator[None]:
    """Turn what Lance or the file system raise into :class:`IndexStateError`."""
    try:
        yield
    except (RuntimeError, OSError, ValueError, pa.ArrowException) as error:
        if isinstance(error, IndexStateError):
            raise
        raise IndexStateError(f"cannot {action} the index {str(index)!r}: {why(error)}") from error
