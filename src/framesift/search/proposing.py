"""Which moments a step of a query is compared with: those that its terms promise.

One term is asked of the gallery's engine, as a plain sentence is. Of several terms nothing tells what a moment's best
scene is for all of them together: a moment may show one thing in one scene and the other in another. So moments are
proposed by each of the terms that shall be there, by whatever the engine finds moments by, and by all terms together,
on the mean of a moment's frames; and are taken in turn, the best of each first. What is somewhat like every term, and
what a negative term leaves, is found by the mean; a moment whose mean hides what it shows for a second, by its scenes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from ..features import TextFeatures
from .scoring import StepScorer
from .snapshot import Snapshot

__all__ = ["StepProposer", "in_turn"]

Rows = NDArray[np.int64]


class StepProposer:
    """Proposes rows for one step; for one thread.

    Args:
        scorer: of the step.
        rows: that are searched, ascending.
        by_mean: whether means decide the scores of the model's matcher, so that several terms need nothing else.
    """

    def __init__(self, scorer: StepScorer, snapshot: Snapshot, rows: Rows, *, by_mean: bool) -> None:
        self._scorer, self._snapshot, self._rows = scorer, snapshot, rows
        self._by_mean = by_mean

    def propose(self, n: int) -> Rows:
        """The ``n`` most promising rows, ascending; all where there are no more.

        Raises:
            InputError, IndexStateError: as for :attr:`.LanceGallery.engine`.
        """
        if n >= len(self._rows):
            return self._rows
        if len(self._scorer.terms) == 1:
            return np.sort(self._by_term(n)[0])
        together = self._rows[_best(self._together, n)]
        return in_turn([together] if self._by_mean else [together, *self._by_term(n)], n)

    def _by_term(self, n: int) -> Rows:
        """For every positive term, best first, ``[term, row]``."""
        sentences = [term.features.sentence for term in self._scorer.terms if term.weight > 0]
        return self._snapshot.gallery.proposed(
            TextFeatures(sentence=torch.cat(sentences)), n, allowed=self._allowed
        )

    @cached_property
    def _together(self) -> NDArray[np.float64]:
        return self._scorer.coarse()[self._rows]

    @cached_property
    def _allowed(self) -> NDArray[np.bool_] | None:
        if len(self._rows) == len(self._snapshot):
            return None
        allowed = np.zeros(len(self._snapshot), dtype=bool)
        allowed[self._rows] = True
        return allowed


def in_turn(lists: Sequence[Rows], n: int) -> Rows:
    """The first ``n`` rows of several lists taken in turn, one of each at a time, each row once; ascending.

    Args:
        lists: each best first, without repeats, of the same length.
        n: how many; all that there are, where these are fewer.
    """
    dealt = np.stack(lists, axis=1).reshape(-1)
    first = np.sort(np.unique(dealt, return_index=True)[1])
    return np.sort(dealt[first[:n]])


def _best(scores: NDArray[np.float64], n: int) -> Rows:
    """Where the ``n`` largest scores are, best first; of equal ones, the first."""
    least = np.partition(scores, len(scores) - n)[len(scores) - n]
    kept = np.flatnonzero(scores >= least)
    return kept[np.argsort(-scores[kept], kind="stable")][:n]
