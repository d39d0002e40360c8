"""What engines search, where it lies: the vectors of a gallery's rows, and its frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...candidates import Vectors
from .coded import Coded, Stored, coded, places_of_runs
from .codes import Codebook, unit_frames
from .rows import MomentRows

__all__ = ["MomentFrames", "MomentVectors", "codes_of_rows"]

FRAMES_AT_ONCE = 8192  # made float32 at once: 16 MiB of 512 numbers


class MomentVectors(Vectors):
    """The coarse vectors of the rows of a gallery.

    Args:
        rows: of the table.
        offset: which of them the gallery has, ascending; None: all.
    """

    def __init__(self, rows: MomentRows, offset: NDArray[np.int64] | None) -> None:
        self._rows, self._offset = rows, offset

    @property
    def dim(self) -> int:
        return self._rows.dim

    def __len__(self) -> int:
        return len(self._rows) if self._offset is None else len(self._offset)

    def blocks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        first = 0
        for part, (start, end) in enumerate(self._rows.bounds()):
            if self._offset is None:
                block = self._rows.vectors_of(part, slice(None))
            else:
                low, high = np.searchsorted(self._offset, [start, end])
                block = self._rows.vectors_of(part, self._offset[low:high] - start)
            if len(block):
                yield first, block
            first += len(block)

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._rows.take_vectors(rows if self._offset is None else self._offset[rows])


class MomentFrames(Vectors):
    """All frames of the rows of a gallery as unit vectors, those of a row one after another.

    Attributes:
        owner: the gallery's row of every frame, ``[frame]``.
    """

    def __init__(self, rows: MomentRows, offset: NDArray[np.int64] | None) -> None:
        self._rows, self._offset = rows, offset
        counts = rows.frame_counts()
        self._counts = counts if offset is None else counts[offset]
        self._first = np.cumsum(self._counts) - self._counts
        self.owner: NDArray[np.int64] = np.repeat(np.arange(len(self._counts)), self._counts)

    @property
    def dim(self) -> int:
        return self._rows.dim

    def __len__(self) -> int:
        return len(self.owner)

    def blocks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        first, step = 0, max(1, FRAMES_AT_ONCE // int(self._counts.max(initial=1)))
        for start in range(0, len(self._counts), step):
            block = self._of_rows(np.arange(start, min(start + step, len(self._counts))))
            if len(block):
                yield first, block
            first += len(block)

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        found = np.empty((len(rows), self.dim), np.float32)
        for start in range(0, len(rows), FRAMES_AT_ONCE):
            chosen = rows[start : start + FRAMES_AT_ONCE]
            owners, place = np.unique(self.owner[chosen], return_inverse=True)
            # a check is of a row: all its frames are read to have one
            frames = self._payload(owners)[place, chosen - self._first[self.owner[chosen]]]
            found[start : start + len(chosen)] = unit_frames(frames)
        return found

    def _of_rows(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        frames = self._payload(rows)
        return unit_frames(frames[np.arange(frames.shape[1]) < self._counts[rows][:, None]])

    def _payload(self, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        return self._rows.payload(rows if self._offset is None else self._offset[rows]).frames


def codes_of_rows(
    rows: MomentRows, offset: NDArray[np.int64] | None, by: Literal["mean", "frame"], codebook: Codebook
) -> Coded:
    """The codes that a gallery's rows, or their frames, have; frames are numbered as those of :class:`MomentFrames`."""
    visible = np.arange(len(rows)) if offset is None else offset
    counts = rows.frame_counts()[visible] if by == "frame" else np.ones(len(visible), np.int64)
    ends = np.cumsum(counts)
    held: list[Stored] = []
    for number, (part, (start, end)) in enumerate(zip(rows.parts, rows.bounds(), strict=True)):
        low, high = (int(place) for place in np.searchsorted(visible, [start, end]))
        if part.segment is None or low == high:
            continue
        place = part.place(visible[low:high] - start)
        count = int(counts[low:high].sum())
        whole = len(place) == len(part.segment)
        if by == "frame":
            place = places_of_runs(part.segment.first_frame[place], part.segment.num_frames[place])
        held.append(
            Stored(
                part=number,
                first=int(ends[low] - counts[low]),
                count=count,
                place=None if whole else place,
            )
        )
    return coded(rows, by, codebook, held)
