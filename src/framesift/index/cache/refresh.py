"""Bringing a cache up to date with the table; under the writer's lock.

A refresh writes segments for fragments that have none, deletes those whose fragments are gone, and codes what has no
codes. It can be killed at any time, and a full disk stops it: what was whole before stays whole, and what was begun is
deleted by the next one.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...candidates import EXACT_UP_TO, SAMPLED_PER_LIST, Quantizer, lists_for
from ..journal import why
from .codes import (
    KINDS,
    By,
    Codebook,
    as_coded,
    codes_crc32,
    deny_codes,
    drop_codebook,
    drop_codes,
    stored_vectors,
    write_codebook,
    write_codes,
)
from .folder import CacheFolder
from .packed import Source, drop_packed, write_packed
from .scenes import drop_scenes, has_scenes, write_scenes
from .sealed import Damaged
from .segment import Segment, fragment_files, segment_name
from .writing import write_segment

__all__ = ["CACHED_FROM", "CacheReport", "refresh"]

CACHED_FROM = 4096
"""Moments from which a writer keeps a cache. So many features are in memory after the first search anyway, and the
vectors of fewer are read from the table in some milliseconds."""

RETRAINED_AT = 4  # times as many rows as a codebook was trained at: rows have changed with them
SAMPLE = 65_536  # rows that a codebook is trained with: 4,096 for each of 16 centroids, seconds of work
REPACKED_AT = (
    0.1  # share of the codes that are not packed, or packed and gone: as many are packed at every opening
)
FEWEST_TO_TRAIN = 16  # what a quantizer needs at least


@dataclass(frozen=True, kw_only=True)
class CacheReport:
    """What a refresh did.

    Attributes:
        built: segments that were written.
        dropped: segments that were deleted.
        kept: segments that were there and stayed.
        trained: codebooks that were trained.
        scenes: segments whose scenes were made.
        coded: segments whose rows, scenes or frames were coded, each kind for itself.
        packed: kinds of codes that were brought into the order of the scan.
        elapsed_s: seconds that it took.
        problem: why it stopped early; None if it did not.
    """

    built: int = 0
    dropped: int = 0
    kept: int = 0
    scenes: int = 0
    trained: int = 0
    coded: int = 0
    packed: int = 0
    elapsed_s: float = 0.0
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def refresh(
    cache: CacheFolder,
    fragments: Sequence[Any],
    *,
    scenes: bool = True,
    pinned: Sequence[Any] = (),
    thorough: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> CacheReport:
    """Make a cache hold what ``fragments`` are.

    Args:
        cache: the cache, made where it is missing.
        fragments: of the newest version of the table ``moments``.
        scenes: whether it holds scenes, where its settings leave that open.
        pinned: those of other versions that are still read, whose segments are kept but not built.
        thorough: read all of every segment that is there, and write again those that are damaged.
        progress: called with the number of segments that are done, and of all.

    Returns:
        What was done. A disk that is full or cannot be written to is told in it and in an
        :class:`.IndexCacheWarning`, and is no error: searches read the table instead.
    """
    work = _Refresh(cache, fragments, scenes, progress or (lambda done, total: None))
    began = time.monotonic()
    problem: str | None = None
    try:
        work.tidy([*fragments, *pinned])
        work.build(thorough=thorough)
        work.make_scenes(thorough=thorough)
        for by in KINDS:
            work.code(by, thorough=thorough)
        work.drop_codes()
    except (
        OSError,
        Damaged,  # just now, under our hands
        RuntimeError,
        ValueError,
        pa.ArrowException,
    ) as error:  # the last three: Lance's and Arrow's
        problem = getattr(error, "strerror", None) or why(error)
        cache.tell(
            f"it could not be brought up to date ({problem}). Searches read what is missing from the table, with the "
            "same results but more slowly; make room, then: framesift index --refresh-cache"
        )
    return CacheReport(
        built=work.built,
        dropped=work.dropped,
        kept=len(work.segments) - work.built,
        scenes=work.scenes,
        trained=work.trained,
        coded=work.coded,
        packed=work.packed,
        elapsed_s=time.monotonic() - began,
        problem=problem,
    )


class _Refresh:
    def __init__(
        self,
        cache: CacheFolder,
        fragments: Sequence[Any],
        scenes: bool,
        progress: Callable[[int, int], None],
    ) -> None:
        self._cache, self._fragments, self._progress = cache, fragments, progress
        self._scenes = scenes
        self.segments: list[Segment] = []
        self.built = self.dropped = self.scenes = self.trained = self.coded = self.packed = 0
        self._digests: list[str] = []

    def tidy(self, fragments: Sequence[Any]) -> None:
        """Delete drafts, what was set aside, and segments of fragments that are gone."""
        self._cache.segments.mkdir(parents=True, exist_ok=True)
        wanted = {segment_name(fragment_files(fragment)) for fragment in fragments}
        for name in os.listdir(self._cache.segments):
            if name not in wanted:
                _delete(self._cache.segments / name)
                self.dropped += not name.startswith(".")
        for path in self._cache.path.glob(".*.draft"):
            path.unlink(missing_ok=True)
        self._cache.mend_settings()

    def build(self, *, thorough: bool) -> None:
        """Write the segments that are missing."""
        wanted = self._wants_scenes()
        for number, fragment in enumerate(self._fragments, start=1):
            path = self._cache.segments / segment_name(fragment_files(fragment))
            # frames that scenes are made of are checked first, or their damage would become the scenes' own
            segment = self._cache.segment_of(fragment, thorough=thorough or (wanted and not has_scenes(path)))
            if segment is None:
                if path.is_dir():  # damaged, and could not be moved
                    _delete(path)
                written = write_segment(self._cache.segments, fragment, self._cache.dim)
                segment = Segment.open(written, self._cache.dim)
                self.built += 1
            self.segments.append(segment)
            self._progress(number, len(self._fragments))

    def _wants_scenes(self) -> bool:
        asked = self._cache.settings().scenes
        return self._scenes if asked is None else asked

    def make_scenes(self, *, thorough: bool) -> None:
        """Write scenes of segments that have none."""
        wanted = self._wants_scenes()
        for segment in self.segments:
            drop_scenes(segment.path, drafts_only=wanted)
            if wanted and self._cache.scenes_of(segment, thorough=thorough) is None:
                segment.check_payload()  # also where scenes were found to be damaged only now
                if (
                    codebook := self._cache.codebook("scene")
                ) is not None:  # first: other scenes get other codes
                    deny_codes(segment, codebook.quantizer)
                write_scenes(segment)
                self.scenes += 1

    def _stored(self, by: By) -> list[NDArray[np.floating[Any]]]:
        return [stored_vectors(segment, by) for segment in self.segments]

    def code(self, by: By, *, thorough: bool) -> None:
        """Code what has no codes, with a codebook that fits the size of the gallery."""
        settings = self._cache.settings()
        if by == "scene" and not self._wants_scenes():
            drop_codebook(self._cache.path, by)
            return
        stored = self._stored(by)
        rows = sum(map(len, stored))
        enough = rows > EXACT_UP_TO if settings.codes is None else settings.codes
        if by == "frame":
            enough = settings.frame_codes
        if not enough or rows < FEWEST_TO_TRAIN:
            drop_codebook(self._cache.path, by)
            return
        codebook = self._cache.codebook(by)
        fresh = codebook is None or rows >= RETRAINED_AT * codebook.trained_rows
        if codebook is None or fresh:
            lists = lists_for(rows)
            sample = _sample(stored, by, max(SAMPLE, SAMPLED_PER_LIST * lists))
            codebook = Codebook(quantizer=Quantizer.train(sample, lists=lists), trained_rows=rows)
            self.trained += 1
        self._digests.append(codebook.quantizer.digest)
        for segment in self.segments:
            if self._cache.codes_of(segment, by, codebook) is None:
                write_codes(segment, by, codebook.quantizer)
                self.coded += 1
        self._pack(by, codebook, thorough=thorough)
        if fresh:  # last: until now readers had the codes of the one before
            write_codebook(self._cache.path, by, codebook)

    def _pack(self, by: By, codebook: Codebook, *, thorough: bool) -> None:
        """Pack codes, if those that are packed are too far from what there is."""
        packed = self._cache.packed(codebook)
        if thorough and packed is not None and not packed.all_whole():
            self._cache.forget_packed(codebook, "they have changed since they were written")
            packed = None
        sources: list[Source] = []
        rows = known = 0
        for segment, stored in zip(self.segments, self._stored(by), strict=True):
            sources.append((segment.path.name, codes_crc32(segment, codebook.quantizer) or 0))
            rows += len(stored)
            if packed is not None and sources[-1] in packed.sources:
                known += len(stored)
        if packed is not None and len(packed) + rows - 2 * known <= REPACKED_AT * rows:
            return
        codes = [self._cache.codes_of(segment, by, codebook) for segment in self.segments]
        whole = [(source, own) for source, own in zip(sources, codes, strict=True) if own is not None]
        del codes
        write_packed(self._cache.path, codebook.quantizer, whole)
        self.packed += 1

    def drop_codes(self) -> None:
        """Delete codes of codebooks that are not in use."""
        drop_packed(self._cache.path, self._digests)
        for segment in self.segments:
            drop_codes(segment.path, self._digests)


def _sample(stored: Sequence[NDArray[Any]], by: By, count: int) -> NDArray[np.float32]:
    """Vectors drawn at random of all segments', the same ones every time."""
    rows = sum(map(len, stored))
    drawn = np.sort(np.random.default_rng(0).choice(rows, min(count, rows), replace=False))
    parts: list[NDArray[np.float32]] = []
    first = 0
    for source in stored:
        own = drawn[np.searchsorted(drawn, first) : np.searchsorted(drawn, first + len(source))] - first
        parts.append(as_coded(source[own], by))
        first += len(source)
    return np.concatenate(parts)


def _delete(path: Path) -> None:
    """Delete a segment under another name, so that nobody sees half of it."""
    doomed = path
    if not path.name.startswith("."):
        doomed = path.with_name(f".doomed-{path.name}")
        with suppress(OSError):
            path.rename(doomed)
    if doomed.is_dir():
        shutil.rmtree(doomed, ignore_errors=True)
    else:
        doomed.unlink(missing_ok=True)
