"""Keeping the cache of an index: when it is brought up to date, by whom, and what it holds."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...errors import IndexLockedError, IndexStateError
from ..schema import MOMENTS_TABLE
from ..store import Store
from .codes import KINDS, By, Codebook
from .folder import CacheFolder, CacheSettings
from .refresh import CACHED_FROM, CacheReport, refresh

__all__ = ["CacheInfo", "cache_info", "keep_cache", "refresh_cache"]

LOCK_NAME = "refresh.lock"


@dataclass(frozen=True, kw_only=True)
class CacheInfo:
    """What a cache holds.

    Attributes:
        path: its folder.
        segments: parts of the table ``moments`` that it holds, of ``parts`` in all.
        parts: of the newest version of the table.
        moments: rows in its segments, those deleted since among them.
        uncached: rows of the table that it does not hold, which are read from there.
        scenes: rows that have scenes, to be found by.
        codes: rows that have codes for the ``faiss`` engine.
        scene_codes: the same for candidates by scene.
        frame_codes: the same for candidates by frame.
        size_bytes: of all its files.
    """

    path: str
    segments: int
    parts: int
    moments: int
    uncached: int
    scenes: int
    codes: int
    scene_codes: int
    frame_codes: int
    size_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def keep_cache(store: Store, dim: int, *, scenes: bool = True) -> CacheReport | None:
    """What a writer does after a change: nothing in a small index, or where another process is at it.

    Nor does it anything by itself for an index in an object store: that would read all of it once more.
    """
    small = not store.cache_folder.exists() and store.num_moments() < CACHED_FROM
    if small or not isinstance(store.index, Path):
        return None
    try:
        return refresh_cache(store, dim, scenes=scenes)
    except IndexLockedError:
        return None
    except IndexStateError as error:  # the change itself is committed, and searches need no cache
        CacheFolder(store.cache_folder, dim).tell(f"it was not brought up to date: {error}")
        return None


def refresh_cache(
    store: Store,
    dim: int,
    *,
    scenes: bool = True,
    settings: Callable[[CacheSettings], CacheSettings] | None = None,
    thorough: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> CacheReport:
    """Bring the cache of an index up to date, or make it.

    Args:
        store: of the index; it need not be held for writing.
        dim: width of the embeddings.
        scenes: whether it holds scenes, where the settings leave that open.
        settings: changes them for good.
        thorough: read all that is there and make again what is damaged.
        progress: called with the number of segments that are done, and of all.

    Returns:
        What was done; a full disk is told in it and in an :class:`.IndexCacheWarning`.

    Raises:
        IndexLockedError: another process is doing it.
        IndexStateError: the cache cannot be written to at all.
    """
    cache = CacheFolder(store.cache_folder, dim)
    with _refreshing(cache.path):
        try:
            before = cache.settings()
            if settings is not None and (wanted := settings(before)) != before:
                cache.write_settings(wanted)
        except OSError as error:
            raise IndexStateError(
                f"cannot write to the cache {str(cache.path)!r}: {error.strerror}"
            ) from error
        fragments = store.moments().get_fragments()
        return refresh(
            cache, fragments, scenes=scenes, pinned=_pinned(store), thorough=thorough, progress=progress
        )


def cache_info(store: Store, dim: int) -> CacheInfo | None:
    """What the cache of an index holds; None if there is none."""
    cache = CacheFolder(store.cache_folder, dim)
    if not cache.segments.is_dir():
        return None
    segments = rows = uncached = scenes = 0
    books: list[tuple[By, Codebook | None]] = [(by, cache.codebook(by)) for by in KINDS]
    coded: dict[str, int] = dict.fromkeys(KINDS, 0)
    fragments = store.moments().get_fragments()
    for fragment in fragments:
        segment = cache.segment_of(fragment)
        if segment is None:
            uncached += fragment.physical_rows - fragment.num_deletions
            continue
        segments, rows = segments + 1, rows + len(segment)
        scenes += len(segment) if cache.scenes_of(segment) is not None else 0
        for by, book in books:
            if book is not None and cache.codes_of(segment, by, book) is not None:
                coded[by] += len(segment)
    return CacheInfo(
        path=str(cache.path),
        segments=segments,
        parts=len(fragments),
        moments=rows,
        uncached=uncached,
        scenes=scenes,
        codes=coded["mean"],
        scene_codes=coded["scene"],
        frame_codes=coded["frame"],
        size_bytes=sum(path.stat().st_size for path in cache.path.rglob("*") if path.is_file()),
    )


def _pinned(store: Store) -> list[Any]:
    """Fragments of what is published, which is read though the index may have gone on."""
    return [
        fragment
        for state in store.published().listed()
        for fragment in store.place.table(MOMENTS_TABLE, state.moments).get_fragments()
    ]


@contextmanager
def _refreshing(cache: Path) -> Generator[None]:
    """One process at a time, which the kernel forgets when it ends; builds and searches go on meanwhile."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        file = os.open(cache / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise IndexStateError(f"cannot write to the cache {str(cache)!r}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise IndexLockedError(
                f"another process is bringing the cache {str(cache)!r} up to date; searches work meanwhile"
            ) from None
        yield
    finally:
        os.close(file)
