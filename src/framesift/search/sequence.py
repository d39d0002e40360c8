"""A then B: moments of one video that follow one another, found by dynamic programming.

The best chain that ends in a moment is that moment's score for the last step, and the best chain of the steps before
among those that end before it begins. The best of a stretch of moments is looked up in a table of maxima over stretches
of 1, 2, 4, ... moments, so that all moments of all videos are done at once: O(steps x moments x log moments).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError, ShapeError

__all__ = ["Chain", "follow", "follow_frames"]

TOUCHING_S = 1e-3  # as ranking.ADJACENT_S: moments are cut without gaps; this only absorbs rounding

Rows = NDArray[np.int64]


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


def follow_frames(
    frame_times_s: Sequence[Sequence[float]],
    step_scores: Sequence[Float[np.ndarray, "step frame"]],
    within_s: Sequence[float | None],
) -> list[Chain | None]:
    """The best chain inside every moment, of single frames: for a short video that is kept whole.

    Args:
        frame_times_s: of every moment the times of its frames, ascending, in seconds.
        step_scores: of every moment how well its frames fit every step, ``[step, frame]``.
        within_s: as for :func:`follow`; from frame to frame.

    Returns:
        For every moment its chain, whose ``rows`` are numbers of frames; None where it has fewer frames than steps.

    Raises:
        ShapeError, InputError: as for :func:`follow`.
    """
    if len(frame_times_s) != len(step_scores):
        raise ShapeError("step_scores", expected=f"{len(frame_times_s)} moments", got=len(step_scores))
    lengths = [len(times) for times in frame_times_s]
    if not sum(lengths):
        return [None] * len(lengths)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    times = np.concatenate([np.asarray(own, np.float64) for own in frame_times_s])
    scores = np.concatenate([np.asarray(own, np.float64) for own in step_scores if np.size(own)], axis=1)
    found: list[Chain | None] = [None] * len(lengths)
    offset = np.cumsum([0, *lengths])
    # frames are points in time, a hair apart at least, so that none follows itself
    for chain in follow(owner.tolist(), times, times, scores, within_s):
        own = int(owner[chain.rows[0]])
        rows = tuple(row - int(offset[own]) for row in chain.rows)
        found[own] = Chain(rows=rows, score=chain.score)
    return found


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
