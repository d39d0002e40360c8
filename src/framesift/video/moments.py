"""Cut a video into moments: the unit that an index stores and a search returns.

The moments of a video follow one another without gap or overlap from 0 to its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, InputError, ShapeError
from .frames import Frames

__all__ = ["MAX_SHOT_S", "WHOLE_UP_TO_S", "Moment", "cut", "shots", "whole"]

WHOLE_UP_TO_S = 60.0  # design choice: short clips stay whole, as in every benchmark
MAX_SHOT_S = 10.0  # design choice: a mean over more than this is no longer about one thing
_BINS = 4  # colour levels per channel: 64 colours tell scenes apart and forgive noise
_HISTOGRAM_PIXELS = 4096  # enough to estimate 64 shares to about one percent
_MIN_CHANGE = 0.30  # share of pixels that change colour at a cut; a design choice, for frames a second apart
_MIN_EMBEDDING_CHANGE = 0.15  # 1 - cosine of frame embeddings at a cut; a design choice as well
_ROUNDING = 1e-9  # of a stretch: a frame that begins with it counts as being in it
_OUTLIER = 2.5  # a cut must also exceed the typical change of its video by this factor


@dataclass(frozen=True)
class Moment:
    """A video restricted to ``[start_s, end_s)``, in seconds from its first frame."""

    video: str
    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        if not 0 <= self.start_s <= self.end_s:
            raise InputError(f"need 0 <= start_s <= end_s, got {self.start_s}, {self.end_s}")

    def __repr__(self) -> str:
        return f"<Moment {self.video} {self.start_s:.1f}-{self.end_s:.1f} s>"


Rows = NDArray[np.int64]


def whole(frames: Frames) -> list[tuple[Moment, Rows]]:
    """The video as one moment with all its frames."""
    return [(Moment(frames.path, 0.0, _end(frames)), np.arange(len(frames)))]


def shots(
    frames: Frames,
    embeddings: NDArray[np.floating] | None = None,
    *,
    max_s: float = MAX_SHOT_S,
    min_change: float = _MIN_CHANGE,
    min_embedding_change: float = _MIN_EMBEDDING_CHANGE,
) -> list[tuple[Moment, Rows]]:
    """Moments between shot changes, none longer than ``max_s`` unless no frame starts for half of that.

    frames: sampled at an even rate, about one or two a second; each belongs to one moment, none is empty.
    embeddings: ``[frame, dim]``, optionally: the frames' embeddings (any length), whose change counts too.
    A shot changes between two frames when their colour histograms differ by ``min_change`` (0 same, 1
    disjoint) or their embeddings by ``min_embedding_change`` (1 - cosine), and clearly more than is usual
    in this video: steady motion is no cut. Returns each moment with the rows of its frames.
    """
    if not max_s > 0:
        raise ConfigError(f"max_s must be positive, got {max_s}")
    end_s = _end(frames)
    cuts = _peaks(_colour_change(frames.pixels), min_change)
    if embeddings is not None:
        if embeddings.shape[:1] != (len(frames),) or embeddings.ndim != 2:
            raise ShapeError("embeddings", expected=[len(frames), "dim"], got=list(embeddings.shape))
        cuts |= _peaks(_embedding_change(embeddings), min_embedding_change)
    starts = [0, *(np.flatnonzero(cuts) + 1).tolist()]
    pieces: list[tuple[float, Rows]] = []
    for first, stop in zip(starts, [*starts[1:], len(frames)], strict=True):
        start_s = 0.0 if first == 0 else float(frames.times_s[first])
        stop_s = end_s if stop == len(frames) else float(frames.times_s[stop])
        pieces += _at_most(
            np.arange(first, stop), frames.times_s, start_s=start_s, stop_s=stop_s, max_s=max_s
        )
    ends = [start_s for start_s, _ in pieces[1:]] + [end_s]
    return [
        (Moment(frames.path, start_s, stop_s), rows)
        for (start_s, rows), stop_s in zip(pieces, ends, strict=True)
    ]


def cut(
    frames: Frames,
    embeddings: NDArray[np.floating] | None = None,
    *,
    rule: Literal["auto", "whole", "shots"] = "auto",
    max_s: float = MAX_SHOT_S,
) -> list[tuple[Moment, Rows]]:
    """Cut by the named rule; ``auto`` keeps videos shorter than a minute whole and cuts others into shots."""
    if rule not in ("auto", "whole", "shots"):
        raise ConfigError(f"unknown moments rule {rule!r}; choose auto, whole or shots")
    if rule == "whole" or (rule == "auto" and _end(frames) < WHOLE_UP_TO_S):
        return whole(frames)
    return shots(frames, embeddings, max_s=max_s)


def _end(frames: Frames) -> float:
    if len(frames) == 0:
        raise InputError("a video without frames has no moments")
    return max(frames.end_s, float(frames.times_s[-1]))


def _at_most(
    rows: Rows, times_s: NDArray[np.float64], *, start_s: float, stop_s: float, max_s: float
) -> list[tuple[float, Rows]]:
    """Split one shot into the fewest equal stretches of at most ``max_s``: the start and the rows of each.

    A stretch in which no frame starts is left to the one before it, at the beginning to the one after it.
    """
    parts = np.ceil((stop_s - start_s) / max_s - _ROUNDING)
    if parts <= 1:
        return [(start_s, rows)]
    length_s = (stop_s - start_s) / parts
    stretch = np.minimum(np.floor((times_s[rows] - start_s) / length_s + _ROUNDING), parts - 1)
    firsts = np.flatnonzero(np.diff(stretch)) + 1
    edges = np.minimum(start_s + length_s * stretch[firsts], times_s[rows[firsts]])
    return list(zip([start_s, *edges.tolist()], np.split(rows, firsts), strict=True))


def _colour_change(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Total variation between colour histograms of consecutive frames, ``[frame - 1]``, 0 to 1."""
    _, height, width, _ = pixels.shape
    step = max(1, int(np.sqrt(height * width / _HISTOGRAM_PIXELS)))
    levels = pixels[:, ::step, ::step] // (256 // _BINS)  # stays 8-bit: an hour of frames is large
    colours = ((levels[..., 0] * _BINS + levels[..., 1]) * _BINS + levels[..., 2]).reshape(len(pixels), -1)
    histograms = np.stack([np.bincount(frame, minlength=_BINS**3) for frame in colours]) / colours.shape[1]
    return 0.5 * np.abs(np.diff(histograms, axis=0)).sum(axis=1)


def _embedding_change(embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
    """1 - cosine between consecutive rows, ``[frame - 1]``; equal rows do not differ, not even zero ones."""
    rows = embeddings.astype(np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # rows that are not finite give NaN, which is no change
        rows /= np.where(norms > 0, norms, 1.0)
    return 0.5 * np.square(np.diff(rows, axis=0)).sum(axis=1)


def _peaks(change: NDArray[np.float64], least: float) -> NDArray[np.bool_]:
    typical = float(np.median(change)) if len(change) >= 4 else 0.0  # of fewer, no change is typical
    return change >= max(least, min(_OUTLIER * typical, 0.9))
