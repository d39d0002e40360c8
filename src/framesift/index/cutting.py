"""From a video's length to its moments: which frames to decode, and how they are cut.

The decoding processes import this module as well: it imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..video.decode import decode
from ..video.frames import Frames
from ..video.moments import WHOLE_UP_TO_S, Moment, cut
from ..video.sampling import Rate, Sampler, Uniform

__all__ = ["ByLength", "FileDecoder", "MomentMode", "Resize", "cut_moments", "sampler_for"]

Pixels = NDArray[np.uint8]
MomentMode = Literal["auto", "whole", "shots"]

SHOTS_FPS = 1.0  # ten frames in a moment of the maximum length of 10 s
MAX_FRAMES = (
    3600  # an hour at that rate, half a gigabyte at 224 pixels; longer videos are sampled more thinly
)


@dataclass(frozen=True, kw_only=True)
class ByLength:
    """Sampler of mode ``auto``: uniform for videos that stay whole, at a rate for those that are cut."""

    short: Uniform
    long: Rate

    def times(self, start_s: float, end_s: float) -> NDArray[np.float64]:
        """Target times in seconds."""
        sampler = self.short if end_s - start_s < WHOLE_UP_TO_S else self.long
        return sampler.times(start_s, end_s)


class Resize(Protocol):
    """The 8-bit part of a preprocessing: frames ``[frame, height, width, 3]``, a second time without effect."""

    def resize_crop(self, pixels: Pixels) -> Pixels: ...


@dataclass(frozen=True, kw_only=True)
class FileDecoder:
    """What a decoding process does with a file: decode it, and resize its frames where they are large.

    Attributes:
        resize: the encoder's.
        raw_bytes: a file whose frames take no more than this in all is sent as it is, so that its process need
            not load torch, which takes seconds.
        snap_s: as for :func:`framesift.video.decode.decode`.
    """

    resize: Resize
    raw_bytes: int
    snap_s: float = 0.0

    def __call__(
        self, path: str, sampler: Sampler, *, transform: Callable[[Pixels], Pixels] | None = None
    ) -> Frames:
        """The frames; ``transform`` is not used."""
        asked = _Asked(sampler)

        def shrink(pixels: Pixels) -> Pixels:
            small = pixels.nbytes * asked.num_frames <= self.raw_bytes
            return pixels if small else self.resize.resize_crop(pixels[None])[0]

        return decode(path, asked, transform=shrink, snap_s=self.snap_s)


class _Asked:
    """A sampler that remembers how many frames it asked for."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self.num_frames = 0

    def times(self, start_s: float, end_s: float) -> NDArray[np.float64]:
        times = self._sampler.times(start_s, end_s)
        self.num_frames = len(times)
        return times


def sampler_for(mode: MomentMode, num_frames: int) -> Sampler:
    """The frames to decode for an index that cuts its videos by ``mode``."""
    short = Uniform(num_frames=num_frames)
    long = Rate(fps=SHOTS_FPS, min_frames=num_frames, max_frames=max(MAX_FRAMES, num_frames))
    return {"whole": short, "shots": long, "auto": ByLength(short=short, long=long)}[mode]


def cut_moments(
    frames: Frames, embeddings: NDArray[np.floating], mode: MomentMode, num_frames: int
) -> list[tuple[Moment, list[int]]]:
    """The moments of a video, each with the rows of at most ``num_frames`` of its frames."""
    return [(moment, _thin(rows, num_frames)) for moment, rows in cut(frames, embeddings, rule=mode)]


def _thin(rows: NDArray[np.int64], most: int) -> list[int]:
    """At most so many rows, the middles of equal parts."""
    if len(rows) <= most:
        return rows.tolist()
    return rows[((np.arange(most) + 0.5) * len(rows) / most).astype(np.int64)].tolist()
