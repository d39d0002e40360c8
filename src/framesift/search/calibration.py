"""How sure is a result: scores on a scale that means the same for every query and every gallery.

A similarity of 0.3 is a sure hit for one model and gallery and noise for another, so that no threshold on it can hold.
What can be told is what the best of a gallery's rows reaches for sentences that nobody asked of this gallery: the
*luck* of neutral queries. A result is worth as much as it goes beyond that. What else was tried, and how well each
tells queries whose answer is there from those whose answer is not: docs/search-quality.md.

Pictures have no neutral sentences; the best of ``n`` draws from a normal distribution stands in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..model import RetrievalModel
from ..similarity import similarity_matrix
from .neutral import neutral_texts
from .terms import Background, standardised

__all__ = [
    "FEWEST",
    "THRESHOLD",
    "Luck",
    "Neutral",
    "expected_maximum",
    "luck_of",
    "neutral",
    "nothing_fits",
    "relevance",
]

FEWEST = 30  # moments: of fewer, no distribution can be told
SLOPE, MIDDLE = (
    0.9,
    0.6,
)  # logistic fit of answers that are there or not, Storyboard's test split from 5,000 on
THRESHOLD = 0.32  # there, nine in ten queries of X-Pool and X-CLIP that have an answer reach it


@dataclass(frozen=True, kw_only=True)
class Luck:
    """What the best of a gallery's rows reaches without being what was asked for.

    Attributes:
        typical: in standard deviations of the query's background scores above their mean.
        spread: from one query to the next, in the same unit.
    """

    typical: float
    spread: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Neutral:
    """What neutral sentences reach in the background of a gallery.

    Attributes:
        best: score of every sentence, ``[sentence]``.
        deviation: standard deviation of its scores, ``[sentence]``.
        sample: rows of the background.
    """

    best: NDArray[np.float64]
    deviation: NDArray[np.float64]
    sample: int

    def luck(self, background_scores: ArrayLike, n: int) -> Luck:
        """Luck of a text among ``n`` rows, of which the background is a sample.

        Args:
            background_scores: of the text, ``[sample]``.
        """
        own = np.asarray(background_scores, np.float64)
        spread = float(own.std())
        best = self.best + self.deviation * (expected_maximum(n) - expected_maximum(self.sample))
        if spread == 0 or len(best) < 2 or best.std() == 0:  # such as of a model that does not know the words
            return luck_of(n)
        return Luck(
            typical=float((best.mean() - own.mean()) / spread), spread=max(float(best.std() / spread), 0.01)
        )


@torch.inference_mode()
def neutral(model: RetrievalModel, background: Background) -> Neutral:
    """What neutral sentences reach in a gallery; keep it as long as the background is the same."""
    if not len(background):
        return Neutral(best=np.zeros(0), deviation=np.zeros(0), sample=0)
    text = model.encode_text(neutral_texts(model))
    video = background.features.to(text.sentence.device, text.sentence.dtype)
    scores = similarity_matrix(model.matcher, text, video).double().cpu().numpy()
    return Neutral(best=scores.max(axis=1), deviation=scores.std(axis=1), sample=len(background))


def luck_of(n: int, parts: Sequence[tuple[float, Luck]] = ()) -> Luck:
    """Luck of a query of several terms, each with its weight; of none that is known: that of normal scores."""
    if not parts:
        steep = math.sqrt(2 * math.log(max(n, 2)))
        return Luck(typical=expected_maximum(n), spread=math.pi / math.sqrt(6) / steep)  # Gumbel's deviation
    total = sum(weight for weight, _ in parts)
    return Luck(
        typical=sum(weight * luck.typical for weight, luck in parts) / total,
        spread=sum(weight * luck.spread for weight, luck in parts) / total,
    )


def expected_maximum(n: int) -> float:
    """Largest of ``n`` draws from a standard normal distribution, on average, to 0.02 (Blom 1958)."""
    return 0.0 if n < 2 else NormalDist().inv_cdf((n - 0.375) / (n + 0.25))


def relevance(
    scores: ArrayLike, background_scores: ArrayLike, n: int, luck: Luck | None = None
) -> NDArray[np.float64] | None:
    """How likely rows are what was asked for, 0 to 1, ``[row]``; None in a gallery of fewer than 30 moments.

    Args:
        scores: of rows for one query, ``[row]``.
        background_scores: of the background for the same query, ``[sample]``.
        n: moments that were searched.
        luck: of the query; default: that of normal scores.
    """
    sample = np.asarray(background_scores, np.float64)
    if n < FEWEST or len(sample) < FEWEST:
        return None
    chance = luck or luck_of(n)
    above = (standardised(scores, sample) - chance.typical) / chance.spread
    return 1 / (1 + np.exp(-np.clip(SLOPE * (above - MIDDLE), -500, 500)))


def nothing_fits(scores: ArrayLike, background_scores: ArrayLike, n: int, luck: Luck | None = None) -> bool:
    """Whether not even the best row is likely to be what was asked for; False where that cannot be told.

    Args: as for :func:`relevance`.
    """
    found = relevance(scores, background_scores, n, luck)
    return found is not None and len(found) > 0 and bool(found.max() < THRESHOLD)
