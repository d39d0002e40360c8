"""How sure is a result: scores on a scale that means the same for every query and every gallery.

A similarity of 0.3 is a sure hit for one query and noise for another, so that no threshold on it can hold. What can be
told is whether a row stands out from what this gallery gives to this query, and from what the best of ``n`` rows
reaches by luck.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .terms import standardised

__all__ = ["FEWEST", "THRESHOLD", "expected_maximum", "nothing_fits", "relevance"]

FEWEST = 30  # moments: of fewer, no distribution can be told
THRESHOLD = 0.5
SLOPE = 1.5


def expected_maximum(n: int) -> float:
    """Largest of ``n`` draws from a standard normal distribution, on average, to 0.02 (Blom 1958)."""
    if n < 2:
        return 0.0
    return _normal_quantile((n - 0.375) / (n + 0.25))


def relevance(scores: ArrayLike, background_scores: ArrayLike, n: int) -> NDArray[np.float64] | None:
    """How likely rows are what was asked for, 0 to 1, ``[row]``; None in a gallery of fewer than 30 moments.

    Args:
        scores: of rows for one query, ``[row]``.
        background_scores: of the background for the same query, ``[sample]``.
        n: moments that were searched.
    """
    sample = np.asarray(background_scores, np.float64)
    if n < FEWEST or len(sample) < FEWEST:
        return None
    above = standardised(scores, sample) - expected_maximum(n)
    return 1 / (1 + np.exp(-SLOPE * above))


def nothing_fits(scores: ArrayLike, background_scores: ArrayLike, n: int) -> bool:
    """Whether not even the best row is likely to be what was asked for; False where that cannot be told.

    Args: as for :func:`relevance`.
    """
    found = relevance(scores, background_scores, n)
    return found is not None and len(found) > 0 and bool(found.max() < THRESHOLD)


def _normal_quantile(p: float) -> float:
    low, high = -10.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        if 0.5 * math.erfc(-middle / math.sqrt(2)) < p:
            low = middle
        else:
            high = middle
    return (low + high) / 2
