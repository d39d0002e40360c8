"""The best of scored rows, in an order that does not depend on how they were found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .base import Found

__all__ = ["best", "stacked"]


def best(
    rows: NDArray[np.int64], scores: NDArray[np.float32], depth: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The ``depth`` rows with the highest scores, best first; equal scores in ascending row order.

    Args:
        rows: row numbers, ``[row]``, each once.
        scores: their scores, ``[row]``.
        depth: how many; all, where there are fewer.
    """
    if not depth:
        return rows[:0], scores[:0]
    if depth < len(scores):
        # Everything that ties with the last one is kept until the order is known: a partition alone would pick at will.
        least = np.partition(scores, len(scores) - depth)[len(scores) - depth]
        kept = np.flatnonzero(scores >= least)
        rows, scores = rows[kept], scores[kept]
    order = np.lexsort((rows, -scores))[:depth]
    return rows[order], scores[order]


def stacked(found: Sequence[tuple[NDArray[np.int64], NDArray[np.float32]]], depth: int) -> Found:
    """One :class:`Found` of the ``depth`` rows and scores of every query."""
    if not found:
        return Found(rows=np.empty((0, depth), np.int64), scores=np.empty((0, depth), np.float32))
    return Found(rows=np.stack([rows for rows, _ in found]), scores=np.stack([scores for _, scores in found]))
