"""Searching the subtitles of an index: who said what, and when.

``subtitles.sqlite`` in the index directory holds the cues of all its videos with a full-text index (SQLite FTS5,
ranked by BM25). It is derived from the videos and the files beside them: where it is missing or damaged, the next build
makes it again. Readers open it for each question, so that they see what was committed last and never hold a file that
a build has replaced; it is in WAL mode, so that a build never makes them wait.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
from collections.abc import Generator, Iterable
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..errors import IndexStateError, InputError
from .schema import from_column
from .subtitle_text import match_expression

__all__ = [
    "SUBTITLES_FORMAT",
    "SUBTITLES_NAME",
    "SUBTITLES_NAMES",
    "SubtitleCounts",
    "SubtitleCue",
    "SubtitleHit",
    "SubtitleTrack",
    "Subtitles",
]

SUBTITLES_NAME = "subtitles.sqlite"
SUBTITLES_NAMES = frozenset({SUBTITLES_NAME, f"{SUBTITLES_NAME}-wal", f"{SUBTITLES_NAME}-shm"})
SUBTITLES_FORMAT = 1  # PRAGMA user_version; 0 is a file without tables

BUSY_S = 10.0  # how long a reader waits for the instant in which a build checkpoints or recovers
MARK, END_MARK = "\x02", "\x03"  # around what matched; cues hold no control characters


@dataclass(frozen=True, kw_only=True)
class SubtitleHit:
    """Some cues that follow one another and match a query.

    Attributes:
        video_id: of the video, as in :class:`.VideoRecord`.
        uri: its path.
        start_s: when the first cue that matches is shown, in seconds.
        end_s: when the last one ends.
        text: of these cues and those between them.
        language: of the track, as the file or stream says it.
        source: name of the subtitle file, or ``stream N``.
        score: BM25, higher is better; comparable within one search only.
    """

    video_id: str
    uri: str
    start_s: float
    end_s: float
    text: str
    language: str | None
    source: str
    score: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def __repr__(self) -> str:
        name = self.uri.rpartition("/")[2]
        return f"<SubtitleHit {name} {self.start_s:.1f}-{self.end_s:.1f} s {self.score:.2f} {self.text!r}>"


@dataclass(frozen=True, kw_only=True)
class SubtitleCue:
    """A text and when it is shown, in seconds from the video's first frame; ``source`` as in :class:`SubtitleHit`."""

    start_s: float
    end_s: float
    text: str
    language: str | None
    source: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class SubtitleTrack:
    """What became of one subtitle file or stream.

    Attributes:
        source: name of the subtitle file, or ``stream N``.
        language: as the file or stream says it.
        cues: how many of its cues are searched.
        skipped: how many could not be read.
        problem: why there are none, or not all; None if nothing is wrong.
    """

    source: str
    language: str | None
    cues: int
    skipped: int
    problem: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class SubtitleCounts:
    """How many videos have subtitles, in how many tracks, with how many cues."""

    videos: int
    tracks: int
    cues: int


class Subtitles:
    """The subtitles of an index, for reading: ``index.subtitles``. Every method may be called from any thread.

    An index of which no video has subtitles, or that no build has looked for them yet, finds nothing.

    Raises:
        IndexStateError: every method, where the database cannot be read.
    """

    def __init__(self, index: Path) -> None:
        self.path = index / SUBTITLES_NAME

    def search(
        self,
        query: str,
        *,
        limit: int = 10,
        video_ids: Iterable[str] | None = None,
        any_word: bool = False,
    ) -> list[SubtitleHit]:
        """The best places for some words, the best first. Case, accents and punctuation do not matter.

        A match may run over cues that follow one another. Of matches in one language that are shown at the same
        time, the best one is returned.

        Args:
            query: words that must all occur close together; ``"in quotes"`` they must follow one another, and
                ``begin*`` finds words that begin so. Whatever else is typed is no error.
            limit: how many hits at most.
            video_ids: only in these videos.
            any_word: one of the words is enough; those with more and rarer ones come first.

        Raises:
            InputError: ``limit`` is less than 1.
        """
        if limit < 1:
            raise InputError(f"limit is {limit}; it must be at least 1")
        expression = match_expression(query, any_word=any_word)
        if expression is None:
            return []
        chosen = None if video_ids is None else json.dumps(sorted(set(video_ids)))
        hits: list[SubtitleHit] = []
        with self._reading() as database:
            # CROSS JOIN keeps the order: FTS5 sorts by rank, and rows are made as they are asked for
            rows = database.execute(
                """
                SELECT windows.rowid, windows.rank, highlight(windows, 0, ?, ?), video_id, uri, language,
                       source
                FROM windows
                CROSS JOIN cues ON cues.cue_id = windows.rowid
                CROSS JOIN tracks ON tracks.track_id = cues.track_id
                CROSS JOIN videos USING (video_id)
                WHERE windows MATCH ? AND (? IS NULL OR video_id IN (SELECT value FROM json_each(?)))
                ORDER BY windows.rank
                """,
                (MARK, END_MARK, expression, chosen, chosen),
            )
            for cue_id, rank, marked, video_id, uri, language, source in rows:
                first, last = _matched_lines(marked)
                start_s, end_s, text = _joined(database, cue_id + first, cue_id + last)
                hit = SubtitleHit(
                    video_id=video_id,
                    uri=from_column(uri),
                    start_s=start_s,
                    end_s=end_s,
                    text=text,
                    language=language,
                    source=source,
                    score=-rank,
                )
                if not any(_same_moment(hit, better) for better in hits):
                    hits.append(hit)
                if len(hits) == limit:
                    break
        return hits

    def cues(
        self, video_id: str, start_s: float | None = None, end_s: float | None = None
    ) -> list[SubtitleCue]:
        """The cues of a video that are shown at any time in ``[start_s, end_s)``, by their start; all by default."""
        with self._reading() as database:
            rows = database.execute(
                """
                SELECT start_s, end_s, text, language, source FROM cues JOIN tracks USING (track_id)
                WHERE video_id = ? AND (? IS NULL OR end_s > ?) AND (? IS NULL OR start_s < ?)
                ORDER BY start_s, cue_id
                """,
                (video_id, start_s, start_s, end_s, end_s),
            )
            return [
                SubtitleCue(start_s=start, end_s=end, text=text, language=language, source=source)
                for start, end, text, language, source in rows
            ]

    def tracks(self, video_id: str) -> list[SubtitleTrack]:
        """The subtitle files and streams of a video, those that could not be read included."""
        with self._reading() as database:
            rows = database.execute(
                """
                SELECT source, language, (SELECT count(*) FROM cues WHERE cues.track_id = tracks.track_id),
                       skipped, problem
                FROM tracks WHERE video_id = ? ORDER BY embedded, source
                """,
                (video_id,),
            )
            return [
                SubtitleTrack(source=source, language=language, cues=cues, skipped=skipped, problem=problem)
                for source, language, cues, skipped, problem in rows
            ]

    def counts(self) -> SubtitleCounts:
        """How much there is to search."""
        with self._reading() as database:
            row = database.execute(
                """
                SELECT count(DISTINCT video_id), count(*), coalesce(sum(n), 0)
                FROM (SELECT track_id, count(*) AS n FROM cues GROUP BY track_id) JOIN tracks USING (track_id)
                """
            ).fetchone()
        return SubtitleCounts(videos=row[0], tracks=row[1], cues=row[2])

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection]:
        with database_errors(self.path), closing(open_to_read(self.path)) as database:
            yield database

    def __repr__(self) -> str:
        return f"<Subtitles {self.path}>"


def open_to_read(path: Path) -> sqlite3.Connection:
    """A connection that cannot write; one to an empty database where there is none yet."""
    if path.exists():
        place = f"file:{quote(str(path).encode('utf-8', 'surrogateescape'))}"
        # the latter where WAL's shared memory cannot be made: on a medium that is read-only, or full
        for mode in ("mode=ro", "immutable=1"):
            database = sqlite3.connect(f"{place}?{mode}", uri=True, timeout=BUSY_S, check_same_thread=False)
            try:
                (version,) = database.execute("PRAGMA user_version").fetchone()
                if version == SUBTITLES_FORMAT:
                    return database
            except sqlite3.OperationalError as error:
                database.close()
                if mode == "immutable=1" or error.sqlite_errorcode & 0xFF not in CANNOT_OPEN:
                    raise
                continue
            except BaseException:
                database.close()
                raise
            database.close()
            break  # being made, or of another version of framesift: the next build makes it again
    empty = sqlite3.connect(":memory:", check_same_thread=False)
    create_tables(empty)
    return empty


CANNOT_OPEN = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR})
SHARED_MEMORY_BYTES = 32 * 1024  # what WAL makes beside a database to read it


def create_tables(database: sqlite3.Connection) -> None:
    """Make the tables, all or none.

    ``cues`` of a track have numbers that follow one another. A row of ``windows`` has the number of its first cue, and
    a line for each of its cues: from what matched on which line follows which cues did.
    """
    database.executescript(
        f"""
        BEGIN IMMEDIATE;
        CREATE TABLE videos (
            video_id TEXT PRIMARY KEY,
            uri TEXT NOT NULL,
            mtime_ns INTEGER NOT NULL,  -- of the video file whose streams were read
            size_bytes INTEGER NOT NULL,
            sidecars TEXT NOT NULL  -- JSON: [name, size in bytes, mtime in ns] of each file that was read
        ) WITHOUT ROWID;
        CREATE TABLE tracks (
            track_id INTEGER PRIMARY KEY,
            video_id TEXT NOT NULL,
            embedded INTEGER NOT NULL,
            source TEXT NOT NULL,
            language TEXT,
            skipped INTEGER NOT NULL,
            problem TEXT
        );
        CREATE INDEX tracks_of_video ON tracks (video_id);
        CREATE TABLE cues (
            cue_id INTEGER PRIMARY KEY,
            track_id INTEGER NOT NULL,
            start_s REAL NOT NULL,
            end_s REAL NOT NULL,
            text TEXT NOT NULL
        );
        CREATE INDEX cues_of_track ON cues (track_id, start_s);
        CREATE VIRTUAL TABLE windows USING fts5(text, tokenize = 'unicode61 remove_diacritics 2');
        PRAGMA user_version = {SUBTITLES_FORMAT};
        COMMIT;
        """
    )


@contextmanager
def database_errors(path: Path) -> Generator[None]:
    """Turn what SQLite raises into :class:`IndexStateError`."""
    try:
        yield
    except sqlite3.Error as error:
        remedy = ""
        if is_damage(error):
            remedy = "; the next framesift index makes it again, at the latest when you delete it"
        reason = os.strerror(errno.ENOSPC) if _is_full(path, error) else str(error)
        raise IndexStateError(f"cannot use the subtitles in {str(path)!r}: {reason}{remedy}") from error


def _is_full(path: Path, error: sqlite3.Error) -> bool:
    """Whether an error comes of a full disk, which SQLite calls an I/O error where shared memory finds no room."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
    if code == sqlite3.SQLITE_IOERR:
        return shutil.disk_usage(path.parent).free < SHARED_MEMORY_BYTES
    return code == sqlite3.SQLITE_FULL


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the database is not what it should be, rather than that it cannot be used now."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or (
        code == sqlite3.SQLITE_ERROR and "no such" in str(error)
    )


def _same_moment(hit: SubtitleHit, other: SubtitleHit) -> bool:
    """Whether two hits are shown at the same time in one video, and in one language or with the same words.

    Those of overlapping windows are, and those of a file and a stream that hold the same (``en`` here, ``eng`` there).
    """
    same_words = hit.text in other.text or other.text in hit.text
    if hit.video_id != other.video_id or not (hit.language == other.language or same_words):
        return False
    return hit.start_s == other.start_s or (hit.start_s < other.end_s and other.start_s < hit.end_s)


def _matched_lines(marked: str) -> tuple[int, int]:
    """The first and the last line that holds part of a match."""
    first, last = marked.find(MARK), marked.rfind(END_MARK)
    return marked.count("\n", 0, max(first, 0)), marked.count("\n", 0, max(last, 0))


def _joined(database: sqlite3.Connection, first: int, last: int) -> tuple[float, float, str]:
    rows = database.execute(
        "SELECT start_s, end_s, text FROM cues WHERE cue_id BETWEEN ? AND ? ORDER BY cue_id", (first, last)
    ).fetchall()
    return rows[0][0], max(row[1] for row in rows), " ".join(row[2] for row in rows)
