"""Which frames of a video to look at.

A sampler names *times*, which mean the same for every frame rate and for uneven ones. The index samplers at
the end reproduce two published loaders, which count frames, for comparison with their numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, InputError

__all__ = [
    "Rate",
    "Sampler",
    "Uniform",
    "clip4clip_extract_indices",
    "clip4clip_slice",
    "xpool_uniform_indices",
]


MOST_TIMES = 10_000_000
"""Of a video that lasts for months at a frame a second, or lies about its length."""


@runtime_checkable
class Sampler(Protocol):
    """Anything that names times inside an interval of a video."""

    def times(self, start_s: float, end_s: float) -> NDArray[np.float64]:
        """Ascending times in ``[start_s, end_s)``, seconds from the first frame."""
        ...


@dataclass(frozen=True, kw_only=True)
class Uniform:
    """The midpoints of ``num_frames`` equal intervals: every part of the video counts alike."""

    num_frames: int = 12

    def __post_init__(self) -> None:
        if self.num_frames < 1:
            raise ConfigError(f"num_frames must be at least 1, got {self.num_frames}")

    def times(self, start_s: float, end_s: float) -> NDArray[np.float64]:
        """``num_frames`` times."""
        middles = np.arange(self.num_frames, dtype=np.float64) + 0.5
        return np.add(start_s, middles * (_length(start_s, end_s) / self.num_frames), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Rate:
    """``fps`` frames for every second, at the midpoints of equal intervals of about ``1 / fps``.

    Short videos get at least ``min_frames``, long ones at most ``max_frames`` (None: no limit but that of memory,
    ten million).
    """

    fps: float = 1.0
    min_frames: int = 1
    max_frames: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.fps < math.inf:
            raise ConfigError(f"fps must be positive and finite, got {self.fps}")
        if self.min_frames < 1 or (self.max_frames is not None and self.max_frames < self.min_frames):
            raise ConfigError(f"need 1 <= min_frames <= max_frames, got {self.min_frames}, {self.max_frames}")

    def times(self, start_s: float, end_s: float) -> NDArray[np.float64]:
        """About ``(end_s - start_s) * fps`` times."""
        most = math.inf if self.max_frames is None else self.max_frames
        num_frames = max(round(min(_length(start_s, end_s) * self.fps, most)), self.min_frames)
        if num_frames > MOST_TIMES:
            raise InputError(f"{num_frames} frames are too many; give the sampler max_frames")
        return Uniform(num_frames=num_frames).times(start_s, end_s)


def _length(start_s: float, end_s: float) -> float:
    """Length of an interval; 0 for one that ends before it starts."""
    if not (math.isfinite(start_s) and math.isfinite(end_s)):
        raise InputError(f"start_s and end_s must be finite, got {start_s}, {end_s}")
    return max(end_s - start_s, 0.0)


def xpool_uniform_indices(num_frames: int, frame_count: int, *, pad: bool = False) -> NDArray[np.int64]:
    """Frame indices of X-Pool's uniform sampling: the middle frame of each of ``num_frames`` intervals.

    A video with fewer frames gives all of them, followed by repeats of the last one with ``pad``.
    Source: X-Pool, released video reader.
    """
    if num_frames < 1 or frame_count < 1:
        raise InputError(f"need at least one frame, got num_frames={num_frames}, frame_count={frame_count}")
    edges = np.linspace(0, frame_count, min(num_frames, frame_count) + 1).astype(np.int64)
    indices = (edges[:-1] + edges[1:] - 1) // 2
    if pad:
        indices = np.pad(indices, (0, num_frames - len(indices)), mode="edge")
    return indices


def clip4clip_extract_indices(
    frame_count: int,
    fps: float,
    *,
    rate: int = 1,
    start_s: int | None = None,
    end_s: int | None = None,
) -> NDArray[np.int64]:
    """Frame indices that CLIP4Clip's loader (also X-CLIP's and TS2-Net's) reads: ``rate`` frames a second.

    The reported ``fps`` is truncated to an integer, so that 29.97 frames a second drift, and both ends of
    the interval are read. ``rate=0`` reads every frame. Source: CLIP4Clip, released raw-frame extractor.
    """
    if (start_s is None) != (end_s is None):
        raise InputError("start_s and end_s go together: give both or neither")
    if start_s is not None and end_s is not None and not 0 <= start_s < end_s:
        raise InputError(f"need 0 <= start_s < end_s, got {start_s}, {end_s}")
    if not 1 <= fps < math.inf:
        raise InputError(f"fps must be at least 1 and finite, got {fps}")
    if rate < 0:
        raise InputError(f"rate must be at least 0, got {rate}")
    whole_fps = int(fps)
    duration_s = -(-frame_count // whole_fps)
    first_s, last_s = (
        (0, duration_s) if start_s is None or end_s is None else (start_s, min(end_s, duration_s))
    )
    step = max(1, whole_fps // rate) if rate > 0 else 1
    per_second = np.arange(0, whole_fps, step)
    if rate > 0:
        per_second = per_second[:rate]
    indices = (np.arange(first_s, last_s + 1)[:, None] * whole_fps + per_second).ravel()
    return indices[indices < frame_count]  # the loader stops at the first frame that it cannot read


def clip4clip_slice(
    num_extracted: int, max_frames: int, *, position: Literal["head", "tail", "uniform"] = "uniform"
) -> NDArray[np.int64]:
    """Which of the extracted frames CLIP4Clip keeps: rows into them, all where they are few enough.

    ``head``, ``tail`` and ``uniform`` are its ``slice_framepos`` 0, 1 and 2; every recipe uses 2.
    """
    if max_frames < 1:
        raise InputError(f"max_frames must be at least 1, got {max_frames}")
    rows = np.arange(num_extracted)
    if num_extracted <= max_frames:
        return rows
    if position == "head":
        return rows[:max_frames]
    if position == "tail":
        return rows[-max_frames:]
    return np.linspace(0, num_extracted - 1, max_frames).astype(np.int64)
