"""The two Lance tables of an index: reading snapshots of them, and the few commits that change them.

Every change is one Lance commit on each table, in the order that leaves a readable index wherever it stops, and
nothing counts as committed before it is durable and in the journal (journal.py). Where the tables are, and what that
needs, is the place's business (place.py). The writing methods must be called while :meth:`.Place.writing` is held.
LanceDB opens the same tables.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Hashable, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import IndexStateError
from .journal import JOURNAL_NAME, TABLES, Journal, superseded, why
from .location import Location, ObjectUri
from .place import Place, place_of
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """Both tables as they were at one time, whatever is written meanwhile.

    Attributes:
        version: as :attr:`Store.version` was.
        moments: a Lance dataset of ``moments``. It may have moments of videos that ``videos`` does not list yet.
    """

    index: Location
    version: tuple[int, int, int]
    moments: Any
    _videos: Any

    def videos(self, *, columns: Sequence[str] | None = None, where: str | None = None) -> pa.Table:
        """The rows of ``videos``."""
        with lance_errors(self.index, "read"):
            return self._videos.to_table(columns=list(columns) if columns else None, filter=where)


class Store:
    """An index's tables, opened for reading; writing needs nothing more than the right to write.

    Where the newest commit is damaged, the last good state is restored first, with a warning; on a medium that
    cannot be written to it is read instead.

    Args:
        index: directory, URI or place of the index.
        tag: read what is published under this name, now and whenever it is published anew. Nothing can be written then.
        refresh_s: for so long what was seen may be taken for the present; by default what suits the place.

    Raises:
        IndexStateError: a table is missing, or nothing of it can be read; nothing is published as ``tag``, or what is
            has been damaged.
    """

    def __init__(
        self,
        index: str | os.PathLike[str] | ObjectUri | Place,
        *,
        tag: str | None = None,
        refresh_s: float | None = None,
    ) -> None:
        self.place = place_of(index)
        self.index = self.place.location
        self.tag = tag
        self._refresh_s = self.place.refresh_s if refresh_s is None else refresh_s
        self._seen: tuple[float, tuple[int, int, int]] | None = None
        self._held: dict[str, tuple[int, Any]] = {}
        self._pinned: State | None = None
        self._published: tuple[Hashable, Published] | None = None
        with lance_errors(self.index, "open"):
            if tag is None:
                self._pinned = self.place.check()
            else:
                self._check_published(tag)
            self._open()

    def _check_published(self, tag: str) -> None:
        reason = self.place.damage(self.published().state(self.index, tag), self._journal())
        if reason is not None:
            raise IndexStateError(
                f"what is published of the index {str(self.index)!r} as {tag!r} cannot be read ({reason}); publish it "
                f"again with: framesift publish --index {self.index} --tag {tag}"
            )

    def _open(self) -> None:
        self._recoveries = self.place.recoveries()
        self._held = {}
        self._tables = {
            name: self.place.table(name, self._pinned and self._pinned.version(name)) for name in TABLES
        }

    @classmethod
    def create(cls, index: str | os.PathLike[str] | ObjectUri | Place, meta: IndexMeta) -> Store:
        """Make empty tables, in place of what a killed creation left (tables without ``META_NAME``)."""
        place = place_of(index)
        schemas = {VIDEOS_TABLE: videos_schema(), MOMENTS_TABLE: moments_schema(meta.dim)}
        with lance_errors(place.location, "create"):
            for name in TABLES:
                place.guard()
                place.make_table(name, schemas[name])
            place.write(JOURNAL_NAME, Journal().document())
            store = cls(place, refresh_s=0.0)
            store._note()
        return store

    @property
    def cache_folder(self) -> Path:
        """A local folder for what can be made again from the tables, the hot path's cache: inside the index, or, where
        that is in an object store, in the user's cache folder. It may have to be made."""
        return self.place.cache_folder

    # ---- reading

    def version(self) -> tuple[int, int, int]:
        """Newest versions of the tables; a snapshot that has them is up to date.

        The third number tells versions apart that bear the same number because the first one was set aside.
        """
        if self._seen is not None and time.monotonic() - self._seen[0] < self._refresh_s:
            return self._seen[1]
        asked = time.monotonic()
        with lance_errors(self.index, "read"):
            version = self._version_now()
        self._seen = asked, version
        return version

    def _version_now(self) -> tuple[int, int, int]:
        if self._pinned is not None:
            return self._pinned.videos, self._pinned.moments, 0
        if self.tag is not None:
            state = self.published().state(self.index, self.tag)
            return state.videos, state.moments, self.place.recoveries()
        videos, moments = (self._tables[name].latest_version for name in TABLES)
        return videos, moments, self.place.recoveries()

    def look_again(self) -> None:
        """Let the next question see what was committed until now, however recently the index was looked at."""
        self._seen = None

    def published(self) -> Published:
        """What the tags of the index name now; read only where it has changed.

        Raises:
            IndexStateError: it cannot be read.
        """
        stamp = self.place.stamp(PUBLISHED_NAME)  # before the content: at worst that is read twice
        if self._published is None or self._published[0] != stamp:
            self._published = stamp, Published.parse(self.place.read(PUBLISHED_NAME), self.index)
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
        if self._recoveries != self.place.recoveries():
            self._open()
        if version is None:
            if self.tag is not None or self._refresh_s:
                version = self.version()[TABLES.index(name)]
            else:
                version = int(self._tables[name].latest_version)
        if not self._refresh_s:
            return self._tables[name].checkout_version(version)
        held = self._held.get(name)
        if held is None or held[0] != version:
            held = self._held[name] = version, self._tables[name].checkout_version(version)
        return held[1]

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
                self.place.guard()
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
                self.place.guard()
                self._snapshot(MOMENTS_TABLE).insert(moments.filter(pa.array(~replaced)))
            self.place.sync()  # a video that is there has its moments, even after a power failure
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
            for name in TABLES:
                for first in range(0, len(video_ids), IDS_PER_DELETE):
                    chosen = _quoted(video_ids[first : first + IDS_PER_DELETE])
                    self.place.guard()
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
            for name in TABLES:
                table = self._snapshot(name)
                small = [f for f in table.get_fragments() if _is_small(f)]
                if len(small) < (least_fragments or FRAGMENTS_TO_COMPACT):
                    continue
                self.place.guard()
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
            state = self._journal().states[-1]
            self._put_published(self.published().with_tag(tag, state, grace_s=GRACE_S))

    def withdraw(self, tag: str) -> None:
        """Delete a tag. Raises IndexStateError if there is none of that name."""
        with lance_errors(self.index, "write to"):
            published = self.published()
            published.state(self.index, tag)
            self._put_published(published.without(tag, now_s=time.time(), grace_s=GRACE_S))

    def _put_published(self, published: Published) -> None:
        self.place.guard()
        self.place.write(PUBLISHED_NAME, published.document(), indent=2)

    def _drop_superseded(self) -> None:
        states = self._journal().states
        kept = self.published().kept(now_s=time.time(), grace_s=GRACE_S)
        for name in TABLES:
            if versions := superseded(states, name, self.place.versions(name), kept=kept):
                self.place.guard()
                # delete_unverified: what killed builds left, which is safe under the writer's lock
                self._snapshot(name).cleanup_old_versions(versions=versions, delete_unverified=True)

    def _put(self, records: Sequence[VideoRecord], known: set[str]) -> None:
        rows = pa.Table.from_pylist([record.to_row() for record in records], schema=videos_schema())
        self.place.guard()
        table = self._snapshot(VIDEOS_TABLE)
        if known:
            table.merge_insert("video_id").when_matched_update_all().when_not_matched_insert_all().execute(
                rows
            )
        else:
            # an append costs the batch; a merge reads the key column of the whole table
            table.insert(rows)

    def _journal(self) -> Journal:
        return Journal.parse(self.place.read(JOURNAL_NAME))

    def _note(self) -> None:
        """Make a commit durable, and enter it into the journal."""
        self.place.guard()
        files = self.place.sync()
        state = State(
            self._tables[VIDEOS_TABLE].latest_version, self._tables[MOMENTS_TABLE].latest_version, time.time()
        )
        journal = Journal(self._journal().states, files).with_state(state, grace_s=GRACE_S)
        self.place.write(JOURNAL_NAME, journal.document())


def _is_small(fragment: Any) -> bool:
    rows, deleted = fragment.physical_rows, fragment.num_deletions
    return rows - deleted < ROWS_PER_FRAGMENT or deleted > MOST_DELETED * rows


def _quoted(ids: Iterable[str]) -> str:
    return ", ".join("'" + value.replace("'", "''") + "'" for value in sorted(ids))


@contextmanager
def lance_errors(index: Location, action: str) -> Generator[None]:
    """Turn what Lance or the file system raise into :class:`IndexStateError`."""
    try:
        yield
    except (RuntimeError, OSError, ValueError, pa.ArrowException) as error:
        if isinstance(error, IndexStateError):
            raise
        reason = why(error)
        if isinstance(index, ObjectUri):
            from .object_store.errors import explained

            reason = explained(str(error), index)
        raise IndexStateError(f"cannot {action} the index {str(index)!r}: {reason}") from error
