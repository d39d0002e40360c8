"""What decoding returns: pixels, the time at which each frame is shown, and facts about the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError

__all__ = ["Frames", "VideoInfo"]


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """Facts about a video file. What a header claims is replaced by a measurement wherever one is affordable.

    ``width`` and ``height`` are those of the upright picture; ``rotation`` is the counter-clockwise angle in
    degrees that was applied to get it (FFmpeg's sign: a phone held upright usually gives -90).
    ``duration_s`` runs from the first frame's start to the last frame's end. ``fps`` is the container's
    average rate, for display only: no frame is ever chosen by it. ``mtime`` is in seconds since the epoch.
    """

    path: str
    duration_s: float | None
    fps: float | None
    width: int
    height: int
    codec: str
    container: str
    rotation: int
    num_streams: int  # video streams, without cover pictures
    size_bytes: int
    mtime: float
    num_subtitle_streams: int | None = None  # of text or pictures; None where nobody looked


@dataclass(frozen=True, repr=False, eq=False)
class Frames:
    """Some frames of one video, in order of display.

    pixels: uint8 ``[frame, height, width, 3]``, RGB, upright (or whatever a ``transform`` made of it).
    times_s: float64 ``[frame]``, seconds from the video's first frame to the start of each.
    Raises ShapeError when the two disagree.
    """

    pixels: NDArray[np.uint8]
    times_s: NDArray[np.float64]
    path: str
    info: VideoInfo | None = None

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.pixels.shape[-1] != 3:
            raise ShapeError("pixels", expected="[frame, height, width, 3]", got=list(self.pixels.shape))
        if self.times_s.shape != self.pixels.shape[:1]:
            raise ShapeError("times_s", expected=list(self.pixels.shape[:1]), got=list(self.times_s.shape))

    def __len__(self) -> int:
        return len(self.times_s)

    def __getitem__(self, frames: slice | list[int] | NDArray[Any]) -> Frames:
        """The same video with only these frames (a slice is a view, a list or array of rows copies)."""
        return Frames(self.pixels[frames], self.times_s[frames], self.path, self.info)

    def __repr__(self) -> str:
        height, width = self.pixels.shape[1:3]
        span = f" {self.times_s[0]:.2f}-{self.times_s[-1]:.2f} s" if len(self) else ""
        return f"<Frames {self.path} {len(self)} x {width}x{height}{span}>"

    @property
    def end_s(self) -> float:
        """When the video ends: measured while decoding, else guessed as one more frame interval."""
        if self.info is not None and self.info.duration_s is not None:
            return self.info.duration_s
        if len(self) == 0:
            return 0.0
        gap = float(np.median(np.diff(self.times_s))) if len(self) > 1 else 0.0
        return float(self.times_s[-1]) + gap
