"""Candidates by their best frame, scene or pair of scenes: a moment that shows something for a second is found by that
second, which the mean of its frames may hide."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ShapeError
from .asking import checked_queries
from .base import CandidateIndex, Found
from .best import stacked

__all__ = ["ByFrame"]

FRAMES_A_ROW = 4  # neighbours in time look alike


class ByFrame(CandidateIndex):
    """Rows by the best of their frames, or of whatever else a row has several vectors of.

    Args:
        frames: an engine whose rows are frames.
        owner: the row that each frame belongs to, ``[frame]`` ascending; every row has at least one.
        fetched: frames fetched at first for every row that is wanted; twice as many each time that they are of too few.

    Attributes:
        frames: the engine of the frames.

    Raises:
        ShapeError: ``owner`` has not one value a frame.
        InputError: ``owner`` does not ascend from 0, or leaves a row out.
    """

    name: ClassVar[str] = "frame"

    def __init__(
        self, frames: CandidateIndex, owner: NDArray[np.int64], *, fetched: float = FRAMES_A_ROW
    ) -> None:
        if owner.shape != (len(frames),):
            raise ShapeError("owner", expected=f"[{len(frames)}], one row a frame", got=list(owner.shape))
        steps = np.diff(owner, prepend=-1)
        if len(owner) and (steps.min() < 0 or steps.max() > 1 or owner[0] != 0):
            raise InputError(
                "owner must number the rows from 0, ascending, and leave none out; "
                f"it goes from {owner[0]} to {owner[-1]} in steps of {steps.min()} to {steps.max()}"
            )
        self.frames = frames
        self._owner = owner
        self._fetched = fetched
        self._counts = np.bincount(owner)  # frames of every row
        self._most = int(self._counts.max(initial=1))

    def __len__(self) -> int:
        return len(self._counts)

    def __repr__(self) -> str:
        return f"<ByFrame {len(self)} rows, {self.frames!r}>"

    def search(
        self, queries: NDArray[np.float32], depth: int, *, allowed: NDArray[np.bool_] | None = None
    ) -> Found:
        if depth < 1 or (allowed is not None and allowed.shape != (len(self),)):
            checked_queries(queries, depth, allowed, rows=len(self), dim=queries.shape[-1])
        allowed_frames = None if allowed is None else np.repeat(allowed, self._counts)
        depth = min(depth, len(self) if allowed is None else int(np.count_nonzero(allowed)))
        wanted = max(1, math.ceil(depth * min(self._fetched, self._most)))
        while True:
            found = self.frames.search(queries, wanted, allowed=allowed_frames)
            ranked = [self._distinct(*one, depth) for one in zip(found.rows, found.scores, strict=True)]
            # depth x most frames hold at least depth rows, so that this ends.
            if all(len(rows) == depth for rows, _ in ranked):
                return stacked(ranked, depth)
            wanted = min(2 * wanted, depth * self._most)

    def _distinct(
        self, frames: NDArray[np.int64], scores: NDArray[np.float32], depth: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        rows, first = np.unique(self._owner[frames], return_index=True)
        order = np.argsort(first)[:depth]
        return rows[order], scores[first[order]]
