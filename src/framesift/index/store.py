"""The two LanceDB tables of an index: reading snapshots of them, and the few commits that change them.

Every change is one Lance commit on each table, in the order that leaves a readable index wherever it stops.
The writing methods must be called under :class:`~framesift.index.lock.WriterLock`.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa

from ..errors import IndexStateError
from .schema import (
    MOMENTS_TABLE,
    VIDEOS_TABLE,
    IndexMeta,
    VideoRecord,
    fsync_path,
    moments_schema,
    videos_schema,
)

__all__ = ["Store", "lance_errors"]

IDS_PER_DELETE = 500  # keeps a filter expression short
SOURCE_LINE = re.compile(r",? ?\S+\.rs:\d+(:\d+)?")  # where in Lance's own source an error arose


class Store:
    """An index's tables, opened for reading; writing needs nothing more than the lock.

    Raises:
        IndexStateError: a table is missing or cannot be read.
    """

    def __init__(self, index: Path) -> None:
        self.index = index
        with lance_errors(index, "open"):
            database = lancedb.connect(str(index))
            self._videos: Any = database.open_table(VIDEOS_TABLE)
            self._moments: Any = database.open_table(MOMENTS_TABLE)
        self._durable: set[str] | None = None

    @classmethod
    def create(cls, index: Path, meta: IndexMeta) -> Store:
        """Make empty tables, in place of what a killed creation left (tables without ``META_NAME``)."""
        with lance_errors(index, "create"):
            database = lancedb.connect(str(index))
            for name, schema in ((VIDEOS_TABLE, videos_schema()), (MOMENTS_TABLE, moments_schema(meta.dim))):
                shutil.rmtree(index / f"{name}.lance", ignore_errors=True)
                database.create_table(name, schema=schema)
        store = cls(index)
        store._durable = set()
        store._make_durable()
        return store

    # ---- reading

    def version(self) -> tuple[int, int]:
        """Newest versions of ``(videos, moments)`` on disk; a snapshot that has them is up to date."""
        with lance_errors(self.index, "read"):
            self._videos.checkout_latest()
            self._moments.checkout_latest()
            return self._videos.version, self._moments.version

    def videos(self, *, columns: Sequence[str] | None = None, where: str | None = None) -> pa.Table:
        """The rows of ``videos`` as they are now."""
        with lance_errors(self.index, "read"):
            self._videos.checkout_latest()
            return self._videos.to_lance().to_table(columns=list(columns) if columns else None, filter=where)

    def records(self) -> list[VideoRecord]:
        """The rows of ``videos``, by path."""
        names = [field.name for field in fields(VideoRecord)]
        rows = self.videos(columns=names).to_pylist()
        return sorted((VideoRecord(**row) for row in rows), key=lambda record: record.uri)

    def moments(self) -> Any:
        """A Lance dataset of ``moments`` that stays at the newest version it has now."""
        with lance_errors(self.index, "read"):
            self._moments.checkout_latest()
            return self._moments.to_lance()

    def num_moments(self) -> int:
        """Rows of ``moments``."""
        with lance_errors(self.index, "read"):
            self._moments.checkout_latest()
            return self._moments.count_rows()

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
                    self._moments.merge_insert("moment_id")
                    .when_matched_update_all()
                    .when_not_matched_insert_all()
                    .when_not_matched_by_source_delete(f"video_id IN ({_quoted(known)})")
                    .execute(moments.filter(pa.array(replaced)))
                )
            if not replaced.all():
                self._moments.add(moments.filter(pa.array(~replaced)))
            self._put(records, known)
        self._make_durable()

    def update_videos(self, records: Sequence[VideoRecord]) -> None:
        """Replace rows of ``videos`` whose moments stay as they are (a moved file)."""
        if not records:
            return
        with lance_errors(self.index, "write to"):
            self._put(records, {record.video_id for record in records})
        self._make_durable()

    def remove(self, video_ids: Sequence[str]) -> None:
        """Delete videos and their moments; the videos go first, which hides the moments from readers."""
        with lance_errors(self.index, "write to"):
            for table in (self._videos, self._moments):
                for first in range(0, len(video_ids), IDS_PER_DELETE):
                    table.delete(f"video_id IN ({_quoted(video_ids[first : first + IDS_PER_DELETE])})")
        self._make_durable()

    def sweep(self) -> int:
        """Delete what a killed build left: moments whose video has no row; returns how many videos."""
        with lance_errors(self.index, "write to"):
            self._moments.checkout_latest()
            held = self._moments.to_lance().to_table(columns=["video_id"])["video_id"].unique()
            videos = set(self.videos(columns=["video_id"])["video_id"].to_pylist())
            orphans = [video_id for video_id in held.to_pylist() if video_id not in videos]
            if orphans:
                self.remove(orphans)
        return len(orphans)

    def _put(self, records: Sequence[VideoRecord], known: set[str]) -> None:
        rows = pa.Table.from_pylist([asdict(record) for record in records], schema=videos_schema())
        if known:
            merge = (
                self._videos.merge_insert("video_id").when_matched_update_all().when_not_matched_insert_all()
            )
            merge.execute(rows)
        else:
            # an append costs the batch; a merge reads the key column of the whole table
            self._videos.add(rows)

    def _make_durable(self) -> None:
        """fsync what appeared since the last call: Lance itself never does."""
        with lance_errors(self.index, "write to"):
            folders = [
                folder
                for table in (VIDEOS_TABLE, MOMENTS_TABLE)
                for folder in _folders(self.index / f"{table}.lance")
            ]
            present = {entry.path for folder in folders for entry in os.scandir(folder) if entry.is_file()}
            new = present if self._durable is None else present - self._durable
            for path in sorted(new, key=lambda name: "_versions" in name):  # manifests name the others: last
                fsync_path(Path(path))
            for folder in [*folders, self.index]:
                fsync_path(folder)
            self._durable = present


def _folders(table: Path) -> list[Path]:
    """A table's own directory and those below it."""
    return [Path(folder) for folder, _, _ in os.walk(table)]


def _quoted(ids: Iterable[str]) -> str:
    return ", ".join("'" + value.replace("'", "''") + "'" for value in sorted(ids))


@contextmanager
def lance_errors(index: Path, action: str) -> Generator[None]:
    """Turn what Lance raises into :class:`IndexStateError`."""
    try:
        yield
    except (RuntimeError, OSError, ValueError, pa.ArrowException) as error:
        if isinstance(error, IndexStateError):
            raise
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        reason = SOURCE_LINE.sub("", reason)
        raise IndexStateError(f"cannot {action} the index {str(index)!r}: {reason}") from error
