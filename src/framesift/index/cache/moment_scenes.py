"""The scenes of a gallery's rows and pairs of them, from its cache, or computed where that has none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ...candidates import Vectors
from ...errors import IndexStateError
from .checks import row_checks
from .coded import Coded, Stored, coded, places_of_runs
from .codes import Codebook, float_scenes
from .rows import MomentRows
from .scenes import SegmentScenes, rounded_scenes
from .sealed import Damaged
from .segment import SCENE

__all__ = ["MomentScenes"]

SCENES_AT_ONCE = 8192  # made float32 at once: 16 MiB of 512 numbers
ROWS_AT_ONCE = 1024  # whose frames are in memory at once where scenes are computed


@dataclass(eq=False)
class _Part:
    """Scenes of the rows that a gallery has of one fragment.

    Attributes:
        rows: first of these in the gallery, and end.
        number: of the part in the table.
        counts: vectors of every row, ``[row]``.
        vectors: stored ones, ``[stored, dim]``.
        place: which of these they are, ``[vector]``; None: all, in order.
        stored: where they were read; None: they were computed.
        whole: whether all of ``stored`` were found to be as they were written.
    """

    rows: tuple[int, int]
    number: int
    counts: NDArray[np.int64]
    vectors: NDArray[np.float16]
    place: NDArray[np.int64] | None = None
    stored: SegmentScenes | None = None
    whole: bool = False


class MomentScenes(Vectors):
    """What a gallery's rows are found by: :func:`.scenes_of` their frames, as float16 gives it. Threads may share it.

    Args:
        rows: of the table.
        offset: which of them the gallery has, ascending; None: all.

    Attributes:
        owner: the gallery's row of every vector, ``[vector]`` ascending; every row has one at least.
    """

    def __init__(self, rows: MomentRows, offset: NDArray[np.int64] | None) -> None:
        self._rows, self._offset = rows, offset
        self._lock = threading.Lock()
        visible = np.arange(len(rows)) if offset is None else offset
        self._parts: list[_Part] = []
        for number, (part, (start, end)) in enumerate(zip(rows.parts, rows.bounds(), strict=True)):
            low, high = (int(place) for place in np.searchsorted(visible, [start, end]))
            stored = rows.scenes(number)
            if stored is None:
                self._parts.append(self._computed(number, low, high))
                continue
            chosen = part.place(visible[low:high] - start)
            counts, place = stored.counts, None
            if len(chosen) < len(counts):
                counts = stored.counts[chosen]
                first = (np.cumsum(stored.counts) - stored.counts)[chosen]
                place = places_of_runs(first, counts)
            own = _Part(
                rows=(low, high),
                number=number,
                counts=counts,
                vectors=stored.vectors,
                place=place,
                stored=stored,
            )
            self._parts.append(own)
        counts = np.concatenate([np.zeros(0, np.int64), *(part.counts for part in self._parts)])
        self.owner: NDArray[np.int64] = np.repeat(np.arange(len(counts)), counts)
        self._ends = np.cumsum([part.counts.sum() for part in self._parts], dtype=np.int64)

    @staticmethod
    def missing(rows: MomentRows) -> int:
        """Rows of the table whose frames would be read to compute their scenes."""
        return sum(len(part) for number, part in enumerate(rows.parts) if rows.scenes(number) is None)

    @property
    def dim(self) -> int:
        return self._rows.dim

    def __len__(self) -> int:
        return len(self.owner)

    def blocks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        first = 0
        for number in range(len(self._parts)):
            part = self._whole(number)
            count = int(part.counts.sum())
            for start in range(0, count, SCENES_AT_ONCE):
                some = slice(start, min(start + SCENES_AT_ONCE, count))
                yield (
                    first + start,
                    float_scenes(part.vectors[some if part.place is None else part.place[some]]),
                )
            first += count

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        if (np.diff(rows) >= 0).all():
            return self._ascending(rows)
        order = np.argsort(rows)
        found = np.empty((len(rows), self.dim), np.float32)
        found[order] = self._ascending(rows[order])
        return found

    def coded(self, codebook: Codebook) -> Coded:
        """The codes that there are."""
        held: list[Stored] = []
        for part, end in zip(self._parts, self._ends.tolist(), strict=True):
            if part.stored is not None and (count := int(part.counts.sum())):
                held.append(Stored(part=part.number, first=end - count, count=count, place=part.place))
        return coded(self._rows, "scene", codebook, held)

    # ---- inside

    def _ascending(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors by their numbers, which ascend, compared with their checks: all at once, since many parts may have a
        few of them each."""
        found = np.empty((len(rows), self.dim), np.float16)
        expected, known = np.zeros(len(rows), np.uint64), np.zeros(len(rows), np.bool_)
        bounds = np.searchsorted(rows, self._ends).tolist()
        seen: dict[int, _Part] = {}
        for number, (low, high) in enumerate(zip([0, *bounds], bounds, strict=False)):
            if low == high:
                continue
            seen[number] = part = self._parts[number]
            places = rows[low:high] - (self._ends[number - 1] if number else 0)
            if part.place is not None:
                places = part.place[places]
            np.take(part.vectors, places, axis=0, out=found[low:high], mode="clip")  # without a copy between
            if part.stored is not None and not part.whole:
                expected[low:high], known[low:high] = part.stored.check[places], True
        if known.any():
            bad = np.flatnonzero(known & (row_checks(found, of=SCENE) != expected))
            if len(bad):
                for number in np.unique(np.searchsorted(self._ends, rows[bad], side="right")).tolist():
                    self._instead(number, seen[number], "a vector has changed since it was written")
                return self._ascending(rows)
        return torch.from_numpy(found).float().numpy()

    def _whole(self, number: int) -> _Part:
        """A part all of whose vectors are as they should be."""
        part = self._parts[number]
        if part.stored is not None and not part.whole:
            try:
                part.stored.check_vectors()
                part.whole = True
            except Damaged as error:
                return self._instead(number, part, str(error))
        return part

    def _instead(self, number: int, seen: _Part, reason: str) -> _Part:
        """Compute a part from frames from now on."""
        with self._lock:
            if self._parts[number] is not seen:
                return self._parts[number]
            assert seen.stored is not None
            self._rows.cache.forget_scenes(seen.stored.path, reason)
            now = self._computed(seen.number, *seen.rows)
            if not np.array_equal(now.counts, seen.counts):  # another machine made them, whose sums differ
                raise IndexStateError(
                    f"the scenes in the segment {seen.stored.path.name} are damaged, and this machine computes others; "
                    "search again"
                )
            self._parts[number] = now
            return now

    def _computed(self, number: int, low: int, high: int) -> _Part:
        """Of the gallery's rows ``low`` to ``high``, from their frames."""
        vectors: list[NDArray[np.float16]] = [np.zeros((0, self.dim), np.float16)]
        counts: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
        for first in range(low, high, ROWS_AT_ONCE):
            rows = np.arange(first, min(first + ROWS_AT_ONCE, high))
            payload = self._rows.payload(rows if self._offset is None else self._offset[rows])
            real = np.arange(payload.frames.shape[1]) < payload.num_frames[:, None]
            timed = np.array([len(times) for times in payload.times], np.int64)
            flat, own = rounded_scenes(payload.frames[real], payload.num_frames, timed)
            vectors.append(flat)
            counts.append(own)
        return _Part(
            rows=(low, high),
            number=number,
            counts=np.concatenate(counts),
            vectors=np.concatenate(vectors),
        )
