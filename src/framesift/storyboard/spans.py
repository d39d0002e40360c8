"""How well predicted moments fit the true ones: temporal intersection over union, and recall at a threshold of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError, ShapeError

__all__ = ["IOU_THRESHOLDS", "recall_at_iou", "temporal_iou"]

IOU_THRESHOLDS = (0.3, 0.5, 0.7)  # of Charades-STA, ActivityNet and QVHighlights


def temporal_iou(one: ArrayLike, other: ArrayLike) -> NDArray[np.float64]:
    """Length of what two moments share over the length that they cover together, 0 to 1.

    Args:
        one: ``[..., 2]`` start and end in seconds; likewise ``other``. Other dimensions broadcast.

    Raises:
        ShapeError: the last dimension is not 2.
        InputError: a moment ends before it starts, or is not finite.
    """
    one, other = _spans(one), _spans(other)
    shared = np.minimum(one[..., 1], other[..., 1]) - np.maximum(one[..., 0], other[..., 0])
    shared = np.maximum(shared, 0.0)
    covered = (one[..., 1] - one[..., 0]) + (other[..., 1] - other[..., 0]) - shared
    return np.divide(shared, covered, out=np.zeros_like(shared), where=covered > 0)


def recall_at_iou(
    predicted: Sequence[ArrayLike],
    truth: Sequence[ArrayLike],
    *,
    k: int = 1,
    thresholds: Sequence[float] = IOU_THRESHOLDS,
) -> dict[float, float]:
    """Percent of queries for which one of the first ``k`` moments overlaps a true one enough, by threshold of IoU.

    Args:
        predicted: for every query ``[moment, 2]`` in seconds, best first; none at all is a miss.
        truth: for every query ``[moment, 2]``: a moment or, as in QVHighlights, several of which one is to be found.
        k: how many predictions count.
        thresholds: an overlap of exactly the threshold is enough.

    Raises:
        InputError: no query, a different number of predictions, a query without a true moment, or ``k`` below 1.
    """
    if len(predicted) != len(truth) or not truth:
        raise InputError(f"{len(predicted)} queries have predictions and {len(truth)} have true moments")
    if k < 1:
        raise InputError(f"k must be at least 1, got {k}")
    best = np.zeros(len(truth))
    for query, (guesses, answers) in enumerate(zip(predicted, truth, strict=True)):
        if np.size(answers) == 0:
            raise InputError(f"query {query} has no true moment")
        if np.size(guesses):
            first = np.atleast_2d(_spans(guesses))[:k]
            best[query] = temporal_iou(first[:, None], np.atleast_2d(_spans(answers))[None]).max()
    return {threshold: 100 * float((best >= threshold).mean()) for threshold in thresholds}


def _spans(values: ArrayLike) -> NDArray[np.float64]:
    spans = np.asarray(values, dtype=np.float64)
    if spans.ndim == 0 or spans.shape[-1] != 2:
        raise ShapeError("moments", expected="[..., 2] start and end in seconds", got=list(spans.shape))
    wrong = ~np.isfinite(spans).all(axis=-1) | (spans[..., 0] > spans[..., 1])
    if wrong.any():
        start, end = spans[wrong][0]
        raise InputError(f"a moment must start before it ends, got {start:g} to {end:g} s")
    return spans
