"""Frames of rows that lie far apart in a segment, read from its file rather than from where that is mapped.

A page that nobody has read is brought in with all that the system takes to be read next, megabytes of it in some
settings: two hundred such rows of a gallery larger than the memory cost 32 ms of a core and 105 ms on the clock when
they were mapped, and 6 and 11 when they were read. Rows that were just read cost a millisecond more this way.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from .segment import FRAMES_NAME, Segment

__all__ = ["read_frames"]


def read_frames(
    segment: Segment,
    first: NDArray[np.int64],
    counts: NDArray[np.int64],
    into: Sequence[NDArray[np.float16]],
) -> None:
    """Read frames of some rows of a segment.

    Where the file is shorter than it was, what is missing stays as it is, and the rows' checks tell. Where a refresh
    has dropped the segment, or written it again without rows that were deleted since, what is mapped is still there.

    Args:
        segment: where they are.
        first, counts: where the frames of every row begin, and how many there are, ``[row]``.
        into: for every row what they are written to the beginning of, ``[frame, dim]`` contiguous.
    """
    places = zip(into, first.tolist(), counts.tolist(), strict=True)
    file: int | None = None
    with suppress(OSError):
        file = os.open(f"{segment.path}/{FRAMES_NAME}", os.O_RDONLY)
    try:
        if file is None or os.fstat(file).st_ino != segment.frames_inode:
            for row, begin, count in places:
                row[:count] = segment.frames[begin : begin + count]
            return
        size = segment.frames.itemsize * segment.frames.shape[1]
        for row, begin, count in places:
            if count:
                os.preadv(file, [row[:count].data], begin * size)
    finally:
        if file is not None:
            os.close(file)
