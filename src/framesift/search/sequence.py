"""A then B: moments of one video that follow one another, found by dynamic programming.

The best chain that ends in a moment is that moment's score for the last step, and the best chain of the steps before
among those that end before it begins. The best of a stretch of moments is looked up in a table of maxima over stretches
of 1, 2, 4, ... moments, so that all moments of all videos are done at once: O(steps x moments x log moments).

A short video is one moment, and no moment follows itself: :func:`windows` cuts it further.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError, ShapeError
from ..features import VideoFeatures, masked_mean

__all__ = ["Chain", "Windows", "follow", "windows"]

WINDOW_FRAMES = 2  # of the usual 12; docs/search-quality.md has others
TOUCHING_S = 1e-3  # as ranking.ADJACENT_S: moments are cut without gaps; this only absorbs rounding

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """Moments inside of moments.

    Attributes:
        features: ``[window]``.
        owner: the moment that each lies in.
        start_s, end_s: in the video, in seconds, ``[window]``.
    """

    features: VideoFeatures
    owner: tuple[int, ...]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.owner)


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Moments of one video, one for every step, in the order of the steps.

    Attributes:
        rows: of the moments, as they were given.
        score: mean of their scores for their steps, so that a query of more steps has no larger scores.
    """

    rows: tuple[int, ...]
    score: float


def follow(
    video_ids: Sequence[Hashable],
    start_s: ArrayLike,
    end_s: ArrayLike,
    step_scores: ArrayLike,
    within_s: Sequence[float | None],
) -> list[Chain]:
    """The best chain of every video that has one, best first; equal scores in the order of ``video_ids``.

    A moment begins no earlier than the one of the step before ends, so that none serves two steps.

    Args:
        video_ids: the video of every moment, in any order.
        start_s, end_s: of every moment in its video, in seconds; moments may overlap.
        step_scores: how well every moment fits every step, ``[step, moment]``; -inf: not at all.
        within_s: for every step how long after the end of the step before it may begin, in seconds; None: any time
            later. That of the first step has no meaning.

    Raises:
        ShapeError: the lengths do not fit.
        InputError: there is no step, a score is NaN, a moment ends before it starts, or a limit is negative.
    """
    start, end = np.asarray(start_s, np.float64), np.asarray(end_s, np.float64)
    scores = np.asarray(step_scores, np.float64)
    _check(len(video_ids), start, end, scores, within_s)
    if not len(start):
        return []
    numbers: dict[Hashable, int] = {}
    video = np.array([numbers.setdefault(one, len(numbers)) for one in video_ids], dtype=np.int64)
    order = np.lexsort((end, video))  # by video, and in each by the time at which moments end
    video, start, end, scores = video[order], start[order], end[order], scores[:, order]
    places = np.arange(len(order))
    # numpy orders complex numbers by their real part, then by the imaginary one: searched by video and time at once
    ends = video + 1j * end
    stop = np.searchsorted(ends, video + 1j * (start + TOUCHING_S), side="right")
    stop = np.minimum(stop, places)  # a moment of no length comes behind itself
    best = scores[0]
    back: list[Rows] = []
    for step in range(1, len(scores)):
        within = within_s[step]
        earliest = video + 0j if within is None else video + 1j * (start - within - TOUCHING_S)
        first = np.minimum(np.searchsorted(ends, earliest, side="left"), stop)
        found = _best_of_stretches(best, first, stop)
        before = np.where(found >= 0, best[found], -np.inf)
        best = scores[step] + before
        back.append(found)
    chains: list[tuple[float, int, Chain]] = []
    firsts = np.flatnonzero(np.diff(video, prepend=-1))
    for begin, beyond in zip(firsts, [*firsts[1:], len(video)], strict=True):
        last = int(begin + best[begin:beyond].argmax())
        if best[last] == -np.inf:
            continue
        path = [last]
        for found in reversed(back):
            path.append(int(found[path[-1]]))
        rows = tuple(int(order[place]) for place in reversed(path))
        score = float(best[last]) / len(scores)
        chains.append((-score, int(video[begin]), Chain(rows=rows, score=score)))
    return [chain for _, _, chain in sorted(chains, key=lambda entry: entry[:2])]


def windows(
    video: VideoFeatures,
    frame_times_s: Sequence[Sequence[float]],
    end_s: Sequence[float],
    *,
    steps: int,
    num_frames: int = WINDOW_FRAMES,
    tokens_per_frame: int = 1,
) -> Windows:
    """Moments inside of moments: all runs of two frames, so that "A then B" is found in a short video kept whole.

    Score them as any other moments and give them to :func:`follow`, with their ``owner`` as the video.

    Args:
        video: features of the moments, ``[moment]``, whose real frames come first.
        frame_times_s: of every moment the times of its real frames, ascending, in seconds.
        end_s: when every moment ends.
        steps: of the query. A moment of few frames has shorter windows, so that all steps find a place; one of fewer
            frames than steps has none.
        num_frames: of a window.
        tokens_per_frame: rows that a frame takes in ``video.frame`` (:attr:`.Temporal.tokens_per_frame`).

    Raises:
        ShapeError: times do not fit the features.
    """
    if not len(video) == len(frame_times_s) == len(end_s):
        raise ShapeError("frame_times_s, end_s", expected=len(video), got=[len(frame_times_s), len(end_s)])
    owner: list[int] = []
    first: list[int] = []
    length: list[int] = []
    spans: list[tuple[float, float]] = []
    for moment, (times, end) in enumerate(zip(frame_times_s, end_s, strict=True)):
        if len(times) * tokens_per_frame != int(video.frame_mask[moment].sum()):
            raise ShapeError(
                f"frame_times_s of moment {moment}",
                expected=f"{int(video.frame_mask[moment].sum())} frames of {tokens_per_frame} tokens each",
                got=len(times),
            )
        own = max(1, min(num_frames, len(times) // steps))
        starts = range(len(times) - own + 1) if len(times) >= steps else range(0)
        edges = [*times, end]
        owner += [moment] * len(starts)
        first += starts
        length += [own] * len(starts)
        spans += [(edges[start], max(edges[start], edges[start + own])) for start in starts]
    place = torch.arange(video.frame.shape[1]) // tokens_per_frame
    begin, count = torch.tensor(first, dtype=torch.long), torch.tensor(length, dtype=torch.long)
    inside = (place >= begin[:, None]) & (place < (begin + count)[:, None])
    rows = torch.tensor(owner, dtype=torch.long)
    frame, mask = video.frame[rows], video.frame_mask[rows] & inside
    # what a temporal module made of all frames speaks of the other ones, too
    whole = None if video.video is None else masked_mean(frame, mask)
    span = np.array(spans, dtype=np.float64).reshape(-1, 2)
    return Windows(
        features=VideoFeatures(frame=frame, frame_mask=mask, video=whole),
        owner=tuple(owner),
        start_s=span[:, 0],
        end_s=span[:, 1],
    )


def _best_of_stretches(values: NDArray[np.float64], first: Rows, stop: Rows) -> Rows:
    """Where the largest of ``values[first:stop]`` is, the earliest of equals, for every stretch; -1: it is empty."""
    levels = [np.arange(len(values))]
    while 2 ** len(levels) <= len(values):
        one = levels[-1]
        half = 2 ** (len(levels) - 1)
        other = one[half:]
        one = one[: len(other)]
        levels.append(np.where(values[other] > values[one], other, one))
    length = stop - first
    level = np.zeros(len(length), np.int64)
    real = length > 0
    level[real] = np.frexp(length[real].astype(np.float64))[1] - 1
    result = np.full(len(first), -1, np.int64)
    for number, table in enumerate(levels):
        rows = np.flatnonzero(real & (level == number))
        one, other = table[first[rows]], table[stop[rows] - 2**number]
        result[rows] = np.where(values[other] > values[one], other, one)
    return result


def _check(
    count: int,
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    scores: NDArray[np.float64],
    within_s: Sequence[float | None],
) -> None:
    if start.shape != (count,) or end.shape != (count,):
        raise ShapeError("moments", expected=f"{count} starts and ends", got=[start.shape, end.shape])
    if scores.ndim != 2 or scores.shape[1] != count or not len(scores):
        raise ShapeError(
            "step_scores", expected=f"[step, {count}], one step at least", got=list(scores.shape)
        )
    if len(within_s) != len(scores):
        raise ShapeError("within_s", expected=f"a limit or None for {len(scores)} steps", got=len(within_s))
    if np.isnan(scores).any():
        raise InputError("a score is not a number")
    if not (np.isfinite(start) & np.isfinite(end) & (start <= end)).all():
        raise InputError("a moment ends before it starts, or at no time")
    for limit in within_s[1:]:
        if limit is not None and not limit >= 0:
            raise InputError(f"a step cannot follow within {limit} s; expected 0 or more")
