"""Writing the subtitles' database. To be used under the writer's lock, by one thread at a time.

Every video is one transaction, noted with what was read for it: a build that is killed leaves the videos before it
whole, and the next one sees which are missing.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from ..video.subtitles import Track
from .journal import tell
from .schema import from_column, to_column
from .subtitle_text import searchable, windows
from .subtitles import (
    SUBTITLES_FORMAT,
    SUBTITLES_NAME,
    create_tables,
    database_errors,
    is_damage,
)

__all__ = ["Sidecars", "SubtitleState", "SubtitleStore"]

CHECKED_BYTES = 64 * 2**20
"""A database of at most this size is checked whenever it is opened for writing; larger ones when something is amiss."""

TABLES = ("videos", "tracks", "cues", "windows")

T = TypeVar("T")

Sidecars = tuple[tuple[str, int, int], ...]
"""Name, size in bytes and modification time in ns of each subtitle file beside a video, sorted."""


@dataclass(frozen=True, kw_only=True)
class SubtitleState:
    """What the database was made from for one video.

    Attributes:
        uri: path of the video.
        mtime_ns: modification time of the video file whose streams were read; with ``size_bytes`` what tells a change.
        sidecars: the subtitle files that were read.
    """

    uri: str
    mtime_ns: int
    size_bytes: int
    sidecars: Sidecars


class SubtitleStore:
    """The database, opened for writing; a context manager. One that is damaged, or of another format, begins anew.

    Raises:
        IndexStateError: every method, where it cannot be written to.
    """

    def __init__(self, index: Path) -> None:
        self._index = index
        self.path = index / SUBTITLES_NAME
        with database_errors(self.path):
            try:
                self._database = _open(self.path)
            except sqlite3.Error as error:
                if not is_damage(error):
                    raise
                self._database = self._anew(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(sqlite3.Error):  # it has been said, or the next build will say it
            self._database.close()

    def states(self) -> dict[str, SubtitleState]:
        """What is there, by ``video_id``."""

        def read(database: sqlite3.Connection) -> dict[str, SubtitleState]:
            rows = database.execute("SELECT video_id, uri, mtime_ns, size_bytes, sidecars FROM videos")
            return {
                video_id: SubtitleState(
                    uri=from_column(uri),
                    mtime_ns=mtime_ns,
                    size_bytes=size_bytes,
                    sidecars=tuple((name, size, time_ns) for name, size, time_ns in json.loads(sidecars)),
                )
                for video_id, uri, mtime_ns, size_bytes, sidecars in rows
            }

        return self._done(read)

    def put(
        self,
        video_id: str,
        state: SubtitleState,
        *,
        beside: Sequence[Track] | None = None,
        embedded: Sequence[Track] | None = None,
    ) -> None:
        """Note a video and replace its tracks.

        Args:
            video_id: of the video.
            state: what its tracks were read from.
            beside: those of its subtitle files; None keeps what is there.
            embedded: those of its streams; None keeps what is there.
        """
        sidecars = json.dumps(state.sidecars)

        def write(database: sqlite3.Connection) -> None:
            for tracks, inside in ((beside, False), (embedded, True)):
                if tracks is not None:
                    _drop_tracks(database, "video_id = ? AND embedded = ?", (video_id, inside))
                    for track in tracks:
                        _add_track(database, video_id, track, embedded=inside)
            database.execute(
                "INSERT OR REPLACE INTO videos VALUES (?, ?, ?, ?, ?)",
                (video_id, to_column(state.uri), state.mtime_ns, state.size_bytes, sidecars),
            )

        self._done(write)

    def forget(self, video_ids: Iterable[str]) -> None:
        """Delete videos; those that are not there are no error."""
        ids = list(video_ids)

        def write(database: sqlite3.Connection) -> None:
            for video_id in ids:
                _drop_tracks(database, "video_id = ?", (video_id,))
                database.execute("DELETE FROM videos WHERE video_id = ?", (video_id,))

        if ids:
            self._done(write)

    def compact(self) -> None:
        """Merge the full-text index into one piece and empty the log."""

        def write(database: sqlite3.Connection) -> None:
            database.execute("INSERT INTO windows (windows) VALUES ('optimize')")

        self._done(write)
        with database_errors(self.path):
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _done(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """One transaction; on a database that turns out to be damaged it is done again in a new one."""
        with database_errors(self.path):
            try:
                return self._transaction(work)
            except sqlite3.Error as error:
                if not is_damage(error):
                    raise
                self._database.close()
                self._database = self._anew(error)
            return self._transaction(work)

    def _transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            result = work(self._database)
            self._database.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            raise
        return result

    def _anew(self, error: sqlite3.Error) -> sqlite3.Connection:
        tell(self._index, f"{SUBTITLES_NAME} is damaged ({error}); the subtitles are read again")
        remove_database(self.path)
        return _open(self.path)


def _open(path: Path) -> sqlite3.Connection:
    for _ in range(2):
        database = sqlite3.connect(path, timeout=30.0, isolation_level=None, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            # after a power failure the last videos may be missing, which is noticed; it is never damaged by one
            database.execute("PRAGMA synchronous = NORMAL")
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version == SUBTITLES_FORMAT:
                if path.stat().st_size <= CHECKED_BYTES:
                    (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
                    if verdict != "ok":
                        raise _Damaged(verdict)
                for table in TABLES:
                    database.execute(f"SELECT 1 FROM {table} LIMIT 1")
                return database
            if version == 0 and not database.execute("SELECT name FROM sqlite_master").fetchall():
                create_tables(database)
                return database
        except BaseException:
            database.close()
            raise
        database.close()
        remove_database(path)  # of another format; all that is in it can be read again
    raise _Damaged("it cannot be replaced")


class _Damaged(sqlite3.DatabaseError):
    """SQLite's own check has found something."""

    def __init__(self, verdict: str) -> None:
        super().__init__(verdict.replace("\n", " "))
        self.sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def remove_database(path: Path) -> None:
    """Delete a database and its log; the log first, which must not be applied to a database that comes later."""
    for suffix in ("-wal", "-shm", ""):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _drop_tracks(database: sqlite3.Connection, where: str, values: tuple[object, ...]) -> None:
    tracks = [row[0] for row in database.execute(f"SELECT track_id FROM tracks WHERE {where}", values)]
    for track_id in tracks:
        # a window has the number of its first cue
        database.execute(
            "DELETE FROM windows WHERE rowid IN (SELECT cue_id FROM cues WHERE track_id = ?)", (track_id,)
        )
        database.execute("DELETE FROM cues WHERE track_id = ?", (track_id,))
        database.execute("DELETE FROM tracks WHERE track_id = ?", (track_id,))


def _add_track(database: sqlite3.Connection, video_id: str, track: Track, *, embedded: bool) -> None:
    made = database.execute(
        "INSERT INTO tracks (video_id, embedded, source, language, skipped, problem) VALUES (?, ?, ?, ?, ?, ?)",
        (video_id, embedded, _printable(track.source), track.language, track.skipped, track.problem),
    )
    (first,) = database.execute("SELECT coalesce(max(cue_id), 0) + 1 FROM cues").fetchone()
    database.executemany(
        "INSERT INTO cues VALUES (?, ?, ?, ?, ?)",
        ((first + i, made.lastrowid, cue.start_s, cue.end_s, cue.text) for i, cue in enumerate(track.cues)),
    )
    database.executemany(
        "INSERT INTO windows (rowid, text) VALUES (?, ?)",
        (
            (first + begin, "\n".join(searchable(cue.text) for cue in track.cues[begin : end + 1]))
            for begin, end in windows(track.cues)
        ),
    )


def _printable(name: str) -> str:
    """A file name as the database can hold it; bytes that are not UTF-8 are shown as escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
