"""Reading all of an index to see whether it is whole."""

from __future__ import annotations

import os
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import IndexStateError
from .cache import CacheFolder
from .columns import list_lengths, list_values
from .journal import JOURNAL_NAME, TABLES, Journal, why
from .location import ObjectUri
from .place import Place, place_of
from .published import PUBLISHED_NAME, Published, State
from .schema import MOMENTS_TABLE, VIDEOS_TABLE, IndexMeta, moments_schema, videos_schema
from .subtitles import SUBTITLES_NAME, open_to_read

__all__ = ["Check", "Verification", "verify"]

SHOWN = 5  # examples in a message
BATCH_ROWS = 1024
VECTOR_TOLERANCE = (
    1e-3  # vectors are computed from the fp16 frames in fp32; only the order of summing differs
)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what it was.
        examined: how many of them there were.
        problems: what is wrong, in words; empty if nothing is.
    """

    name: str
    examined: int
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of :meth:`framesift.Index.verify`."""

    checks: list[Check]

    @property
    def problems(self) -> list[str]:
        """All that is wrong."""
        return [problem for check in self.checks for problem in check.problems]

    @property
    def ok(self) -> bool:
        """Whether nothing is."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"ok": self.ok, "checks": [asdict(check) for check in self.checks]}


def verify(index: str | os.PathLike[str] | ObjectUri | Place, meta: IndexMeta) -> Verification:
    """Check the newest state of an index. Changes nothing and needs no lock; a build may go on meanwhile."""
    place = place_of(index)
    damaged, published = _files(place), _published(place)
    if damaged.problems:
        return Verification(checks=[damaged, published])
    try:
        return Verification(
            checks=[damaged, published, *_rows(place, meta), _subtitles(place), _cache(place, meta)]
        )
    except (RuntimeError, OSError, ValueError, pa.ArrowException) as error:
        return Verification(
            checks=[
                damaged,
                published,
                Check(name="rows", examined=0, problems=[f"cannot be read: {why(error)}"]),
            ]
        )


def _files(place: Place) -> Check:
    name = f"data files, by {place.compares}"
    try:
        versions = {table: max(place.versions(table), default=0) for table in TABLES}
        for table, version in versions.items():
            if not version:
                where = f"the index {str(place.location)!r}"
                problem = f"{where} has no table {table!r}; delete it and index the videos again"
                return Check(name=name, examined=0, problems=[problem])
        newest = State(versions[VIDEOS_TABLE], versions[MOMENTS_TABLE], time.time())
        problem = place.damage(newest, _journal(place), thorough=True)
        files = (
            0
            if problem
            else sum(
                len(list(fragment.data_files()))
                for table in TABLES
                for fragment in place.table(table, versions[table]).get_fragments()
            )
        )
    except IndexStateError as error:
        return Check(name=name, examined=0, problems=[str(error)])
    return Check(name=name, examined=files, problems=[problem] if problem else [])


def _journal(place: Place) -> Journal:
    return Journal.parse(place.read(JOURNAL_NAME))


def _published(place: Place) -> Check:
    """Whether every tag names versions of which all files are whole."""
    name = "published states"
    try:
        journal = _journal(place)
        tags = Published.parse(place.read(PUBLISHED_NAME), place.location).states
        problems = [
            f"{tag!r}: {reason}; publish it again with: framesift publish --index {place.location} --tag {tag}"
            for tag, state in sorted(tags.items())
            if (reason := place.damage(state, journal, thorough=True))
        ]
    except IndexStateError as error:
        return Check(name=name, examined=0, problems=[str(error)])
    return Check(name=name, examined=len(tags), problems=problems)


def _rows(place: Place, meta: IndexMeta) -> Iterator[Check]:
    # videos first: a build writes them last, so that a video seen here has its moments there
    videos_table = place.table(VIDEOS_TABLE)
    moments_table = place.table(MOMENTS_TABLE)
    yield _schemas(videos_table, moments_table, meta)
    videos = videos_table.to_table(columns=["video_id", "uri", "status", "duration_s"]).to_pylist()
    status = {row["video_id"]: row["status"] for row in videos}
    owners: Counter[str] = Counter()
    keys: list[str] = []
    wrong_print: list[str] = []
    unsound: list[str] = []
    for batch in moments_table.to_batches(batch_size=BATCH_ROWS):
        rows = pa.Table.from_batches([batch])
        ids = rows["moment_id"].to_pylist()
        keys += ids
        owners.update(rows["video_id"].to_pylist())
        prints = rows["fingerprint"].to_pylist()
        wrong_print += [one for one, found in zip(ids, prints, strict=True) if found != meta.fingerprint]
        unsound += [ids[row] for row in np.flatnonzero(~_sound(rows, meta.dim))]
    yield _check(
        "keys of videos, each once", len(videos), "twice in the index", _twice(v["uri"] for v in videos)
    )
    yield _check(
        "ids of videos, each once", len(videos), "twice in the index", _twice(v["video_id"] for v in videos)
    )
    yield _check("keys of moments, each once", len(keys), "twice in the index", _twice(keys))
    yield _check("fingerprints of moments", len(keys), f"not of {meta.fingerprint[:12]}", wrong_print)
    yield _check("vectors and frames of moments", len(keys), "not as they were computed", unsound)
    bare = [row["uri"] for row in videos if row["status"] == "ok" and not owners[row["video_id"]]]
    yield _check("videos have their moments", len(videos), "without moments", bare)
    strays = sorted(owner for owner in owners if status.get(owner) != "ok")
    yield _check(
        "moments have their video",
        len(owners),
        "moments of a video that is not in the index",
        strays,
        remedy="the next framesift index deletes them",
    )


def _cache(place: Place, meta: IndexMeta) -> Check:
    cache = CacheFolder(place.cache_folder, meta.dim)
    problems = cache.problems(place.table(MOMENTS_TABLE).get_fragments())
    return Check(
        name="segments of the cache, by checksum",
        examined=len(cache.names()),
        problems=[f"cache: {problem}; mend it with: framesift index --refresh-cache" for problem in problems],
    )


def _subtitles(place: Place) -> Check:
    """The subtitles' database: its pages, its full-text index, and that each row belongs to another."""
    name = "subtitles, with their full-text index"
    remedy = f"delete {SUBTITLES_NAME}, and the next framesift index makes it again"
    try:
        with (
            closing(open_to_read(place.subtitles_to_read() / SUBTITLES_NAME)) as database,
            closing(sqlite3.connect("")) as copy,
        ):
            database.backup(copy)  # the full-text index can be checked by a writer only
            problems = [
                f"{row[0]}; {remedy}" for row in copy.execute("PRAGMA integrity_check(5)") if row[0] != "ok"
            ]
            copy.execute("INSERT INTO windows (windows, rank) VALUES ('integrity-check', 0)")
            (count,) = copy.execute("SELECT count(*) FROM cues").fetchone()
            orphans = {
                "cues without a track": "cues WHERE track_id NOT IN (SELECT track_id FROM tracks)",
                "tracks without a video": "tracks WHERE video_id NOT IN (SELECT video_id FROM videos)",
                "windows without a cue": "windows WHERE rowid NOT IN (SELECT cue_id FROM cues)",
            }
            for what, rows in orphans.items():
                (found,) = copy.execute(f"SELECT count(*) FROM {rows}").fetchone()
                problems += [f"{found} {what}; {remedy}"] if found else []
            held = {row[0] for row in copy.execute("SELECT video_id FROM videos")}
    except sqlite3.Error as error:
        return Check(name=name, examined=0, problems=[f"{SUBTITLES_NAME}: {error}; {remedy}"])
    # videos after subtitles: a build writes them first
    known = place.table(VIDEOS_TABLE).to_table(columns=["video_id"])["video_id"].to_pylist()
    strays = sorted(held.difference(known))
    if strays:
        problems.append(
            f"{len(strays)} videos that are not in the index; the next framesift index deletes them"
        )
    return Check(name=name, examined=count, problems=problems)


def _schemas(videos: Any, moments: Any, meta: IndexMeta) -> Check:
    pairs = {VIDEOS_TABLE: (videos, videos_schema()), MOMENTS_TABLE: (moments, moments_schema(meta.dim))}
    problems = [
        f"table {name!r}: column {column.name!r} is missing or of another type than {column.type}"
        for name, (table, wanted) in pairs.items()
        for column in wanted
        if column.name not in table.schema.names or table.schema.field(column.name).type != column.type
    ]
    return Check(
        name="columns of the tables", examined=sum(len(s) for _, s in pairs.values()), problems=problems
    )


def _sound(rows: pa.Table, dim: int) -> np.ndarray:
    """For each moment, whether its vector is the normalised mean of its normalised frames, and the rest fits."""
    lengths = list_lengths(rows["frames"])
    times = list_lengths(rows["frame_times_s"])
    counts = lengths // dim  # as many as there are frames, or some tokens for each of them
    fits = (times > 0) & (counts > 0) & (lengths == counts * dim)
    fits &= counts % np.maximum(times, 1) == 0
    start, end = rows["start_s"].to_numpy(), rows["end_s"].to_numpy()
    fits &= (start >= 0) & (end >= start)
    if not fits.all():
        return fits
    frames = list_values(rows["frames"]).astype(np.float32).reshape(-1, dim)
    units = frames / np.maximum(np.linalg.norm(frames, axis=1, keepdims=True), 1e-12)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    means = np.add.reduceat(units, first) / counts[:, None]
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    vectors = list_values(rows["vector"]).astype(np.float32).reshape(-1, dim)
    return fits & (np.abs(vectors - means).max(axis=1) <= VECTOR_TOLERANCE)


def _twice(keys: Iterable[str]) -> list[str]:
    return [key for key, count in Counter(keys).items() if count > 1]


def _check(name: str, examined: int, what: str, wrong: list[str], *, remedy: str = "") -> Check:
    if not wrong:
        return Check(name=name, examined=examined)
    examples = ", ".join(map(repr, wrong[:SHOWN])) + (", ..." if len(wrong) > SHOWN else "")
    tail = f"; {remedy}" if remedy else ""
    return Check(name=name, examined=examined, problems=[f"{len(wrong)} {what}: {examples}{tail}"])
