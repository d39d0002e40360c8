"""Lists of rows that lie near one another, so that a query reads some of a million codes and not all of them.

Every row is in the list of its nearest centroid (an inverted file: Sivic and Zisserman, 2003). Which lists a query
reads, and how many, is not a fixed number but what can be expected of them: within a list, the dot products of its rows
with a query are taken to be normally distributed around that of the centroid, with a deviation that follows from the
query and from how rows lie around their centroids. So every list can be expected to hold so many rows above a score,
and lists are read, most promising ones first, until all others together would hold hardly any.

A text lies far from all rows, between many lists: as many probes for every query would be too many for most of them and
too few for some. And under a filter the sizes of lists are those of allowed rows, so that lists that it empties cost
nothing, and others, further away, take their place. tests/benchmarks/bench_candidate_lists.py measures what is found.
"""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

__all__ = ["LISTS_FROM", "MOST_LISTS", "SAMPLED_PER_LIST", "Lists", "Probing", "Prospect", "lists_for"]

LISTS_FROM = (
    500_000  # rows; from some 300,000 on, lists cost no more, even where a query lies between many of them
)
LISTS_PER_ROOT = (
    4  # 4 sqrt(rows): what it costs to look at the centroids grows as slowly as what is read of the lists
)
MOST_LISTS = 65_535  # what two bytes can name, less one for rows in no list
SAMPLED_PER_LIST = 16  # rows from which a centroid is learned
ROUNDS = 8  # of k-means; more move the centroids by little
DIRECTIONS = 64  # leading ones in which lists are apart; 128 and 256 find no more rows for more work

PROBED = 0.999  # share of the rows wanted that are expected in the lists that are read at first
ENOUGH = 0.997  # of them, by the rows found, that these lists hold; else more are read. Not more than PROBED

REACH = 6.0  # deviations: beyond, a normal distribution has a thousand-millionth of its rows
STEPS = 8  # of a deviation, in which scores are counted when the last score is estimated
TAIL_AT = np.arange(-REACH, REACH + 1 / STEPS, 1 / STEPS)
TAIL = np.array(
    [0.5 * math.erfc(x / math.sqrt(2)) for x in TAIL_AT]
)  # share of a list above so many deviations
LEAST_DEVIATION = 1e-9
MOST_STEPS = 4096  # so that lists of copies, which deviate by nothing, are counted, too


def lists_for(rows: int) -> int:
    """How many lists a gallery of so many rows is worth; 0: none, reading all codes costs less or hardly more."""
    return 0 if rows < LISTS_FROM else min(MOST_LISTS, round(LISTS_PER_ROOT * math.sqrt(rows)))


class Lists:
    """Centroids, and how rows lie around them; made by :meth:`train`.

    Attributes:
        directions: in which rows are compared with centroids, orthonormal columns, ``[dim, direction]``.
        centroids: of vectors less the mean, in these directions, ``[list, direction]``.
        spread: covariance of rows around their centroids, ``[dim, dim]``.
    """

    def __init__(
        self, *, directions: NDArray[np.float32], centroids: NDArray[np.float32], spread: NDArray[np.float32]
    ) -> None:
        self.directions = directions
        self.centroids = centroids
        self.spread = spread

    def __len__(self) -> int:
        return len(self.centroids)

    def __repr__(self) -> str:
        return f"<Lists {len(self)} in {self.directions.shape[1]} directions>"

    @classmethod
    def train(
        cls, centred: NDArray[np.float32], directions: NDArray[np.float64], count: int, *, seed: int
    ) -> Self:
        """Learns ``count`` lists by k-means.

        Args:
            centred: vectors less their mean, ``[row, dim]``; 16 rows a list are enough.
            directions: their principal ones, leading ones first, ``[dim, dim]``.
            count: of lists.
            seed: of the clustering.

        Raises:
            InputError: there are fewer vectors than lists, or more lists than two bytes can name.
        """
        if not 0 < count <= MOST_LISTS:
            raise InputError(f"{count} lists were asked for; from 1 to {MOST_LISTS} can be made")
        if len(centred) < count:
            raise InputError(
                f"{count} lists are learned from at least as many vectors, not {len(centred)}; "
                f"give a larger sample ({SAMPLED_PER_LIST} a list) or ask for fewer lists"
            )
        import faiss

        leading = np.ascontiguousarray(directions[:, :DIRECTIONS], np.float32)
        rows = centred @ leading
        clustering: Any = faiss.Clustering(leading.shape[1], count)
        clustering.niter = ROUNDS
        clustering.seed = seed
        clustering.min_points_per_centroid = 1  # few rows are no reason for a message on the terminal
        clustering.max_points_per_centroid = len(centred)  # the caller has drawn the sample
        clustering.train(rows, faiss.IndexFlatL2(leading.shape[1]))
        centroids = faiss.vector_to_array(clustering.centroids).reshape(count, -1)
        made = cls(directions=leading, centroids=centroids, spread=np.zeros((0, 0), np.float32))
        around = centred - centroids[made.numbers(centred)] @ leading.T
        made.spread = around.T @ around / np.float32(len(around))
        return made

    def numbers(self, centred: NDArray[np.float32]) -> NDArray[np.uint16]:
        """The list of every row ``[row]``, of vectors less the mean ``[row, dim]``."""
        import faiss

        index: Any = faiss.IndexFlatL2(self.directions.shape[1])
        index.add(self.centroids)
        return index.search(np.ascontiguousarray(centred @ self.directions), 1)[1][:, 0].astype(np.uint16)

    def prospect(self, query: NDArray[np.float32], sizes: NDArray[np.int64]) -> Prospect:
        """What a query ``[dim]`` can expect of lists of so many rows, ``[list]``."""
        deviation = math.sqrt(max(0.0, float(query @ self.spread @ query)))
        return Prospect(self.centroids @ (query @ self.directions), deviation, sizes)


class Prospect:
    """How many rows above a score each list can be expected to hold, for one query.

    Scores are dot products with vectors less the mean.

    Args:
        scores: of the lists' centroids, ``[list]``.
        deviation: of rows around them.
        sizes: rows of every list that may be found, ``[list]``.
    """

    def __init__(self, scores: NDArray[np.floating], deviation: float, sizes: NDArray[np.int64]) -> None:
        self._scores = scores
        self._deviation = max(deviation, STEPS / MOST_STEPS * float(np.ptp(scores)), LEAST_DEVIATION)
        self._sizes = sizes

    def expected(self, score: float) -> NDArray[np.float64]:
        """Rows above ``score`` in every list, ``[list]``."""
        return self._sizes * np.interp((score - self._scores) / self._deviation, TAIL_AT, TAIL, right=0.0)

    def last_score(self, depth: int) -> float:
        """The score above which about ``depth`` rows can be expected.

        Lists are counted by the scores of their centroids, in steps, and all steps are spread at once: to look at every
        list for every score would take longer than to read them.
        """
        step = self._deviation / STEPS
        first = float(self._scores.min())
        places = ((self._scores - first) / step).astype(np.int64)
        held = np.bincount(places, self._sizes)
        above = np.convolve(held, TAIL)
        above[: len(held)] += held.sum() - np.cumsum(held)  # lists that lie above altogether
        return first + step * (int(np.searchsorted(-above, -depth)) - REACH * STEPS)

    def nearest(self, score: float, *, share: float, least: int) -> NDArray[np.int64]:
        """The lists, best first, that can be expected to hold ``share`` of the rows above ``score``, and that hold
        ``least`` rows at all (all lists, where there are not so many)."""
        expected = self.expected(score)
        order = np.argsort(-expected)
        reached = np.cumsum(expected[order])
        held = np.cumsum(self._sizes[order])
        count = max(
            int(np.searchsorted(reached, share * reached[-1])),
            int(np.searchsorted(held, min(least, held[-1]))),
        )
        return order[: count + 1]

    def best(self, score: float, count: int) -> NDArray[np.int64]:
        """The ``count`` lists that can be expected to hold most of the rows above ``score``, best first."""
        return np.argsort(-self.expected(score))[:count]

    def filled(self) -> NDArray[np.int64]:
        """All lists with a row that may be found."""
        return np.flatnonzero(self._sizes)

    def covered(self, score: float, lists: NDArray[np.int64]) -> float:
        """The share of the rows above ``score`` that can be expected in these lists."""
        expected = self.expected(score)
        total = float(expected.sum())
        return float(expected[lists].sum()) / total if total else 1.0


class Probing:
    """Which lists are read for one query: at first those in which the rows wanted are expected, then more, where what
    was found in them tells that others hold some, too.

    Args:
        prospect: of the query.
        depth: how many rows are wanted.
        least: rows that the lists shall hold in any case.
        probes: how many lists, whatever is found; None: as many as it takes.

    Attributes:
        lists: to read now, ``[list]``.
    """

    def __init__(self, prospect: Prospect, *, depth: int, least: int, probes: int | None) -> None:
        self._prospect = prospect
        self._fixed = probes is not None
        last = prospect.last_score(depth)
        if probes is None:
            self.lists = prospect.nearest(last, share=PROBED, least=least)
        else:
            self.lists = prospect.best(last, probes)

    def more(self, last: float | None) -> bool:
        """Takes in more lists, if it has to, and says whether it did.

        Args:
            last: score of the last row found; None: fewer were found than are wanted, so that all lists are read.
        """
        if last is None:
            filled = self._prospect.filled()
            if np.isin(filled, self.lists).all():
                return False
            self.lists = filled
            return True
        if self._fixed or self._prospect.covered(last, self.lists) >= ENOUGH:
            return False
        self.lists = np.union1d(self.lists, self._prospect.nearest(last, share=PROBED, least=0))
        return True
