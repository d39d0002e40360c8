"""How sure is a number: bootstrap intervals, and whether two systems differ on the same queries.

What is resampled is what was sampled: queries, or, where a video has several captions, videos with all of theirs, since
captions of one video are answered alike. Two systems are compared query by query, which is far sharper than comparing
two intervals.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError, ShapeError
from ..metrics import RECALL_AT

__all__ = [
    "Difference",
    "bootstrap_interval",
    "mcnemar",
    "metric_intervals",
    "paired_differences",
    "sign_flip",
    "t_quantile",
]

DRAWS = 2000
BLOCK = 4_000_000  # weights in memory at once, 32 MB
FLIPS = 10_000
EXACT_FLIPS = 12  # up to so many differences that are not 0, all 4,096 sign patterns are counted

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much higher a metric of the second system is, on the same queries.

    Attributes:
        value: second minus first, in the metric's own unit; recall in percentage points.
        low, high: 95 % interval of the paired bootstrap.
        p: two-sided: how often a difference this large comes about where the two systems are equally good. None for the
            median rank, whose few values make such a test meaningless.
        n: queries.
    """

    value: float
    low: float
    high: float
    p: float | None
    n: int

    def __str__(self) -> str:
        chance = "" if self.p is None else ", p < 0.0001" if self.p < 1e-4 else f", p = {self.p:.2g}"
        return f"{self.value:+.2f} ({self.low:+.2f} to {self.high:+.2f}){chance}"

    def to_dict(self) -> dict[str, float | int | None]:
        """Plain values for JSON."""
        return asdict(self)


def bootstrap_interval(
    hits: ArrayLike, *, seed: int = 0, clusters: ArrayLike | None = None, draws: int = DRAWS
) -> Interval:
    """95 % percentile interval of the mean of 0/1 values over resampled queries, in percent.

    Args:
        hits: ``[query]``.
        clusters: a number for every query, equal where queries belong to one video; whole videos are resampled.

    Raises:
        InputError: there is no query.
        ShapeError: there are not as many clusters as queries.
    """
    values = np.asarray(hits, dtype=np.float64)
    means = [
        weights @ rows[:, 0] / weights.sum(axis=1)
        for rows, weights in _resamples(values[:, None], clusters, seed=seed, draws=draws)
    ]
    return _percentiles(100 * np.concatenate(means))


def metric_intervals(
    ranks: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    recall_at: Sequence[int] = RECALL_AT,
    seed: int = 0,
    draws: int = DRAWS,
) -> dict[str, Interval]:
    """95 % percentile intervals of ``R@k``, ``MdR`` and ``MnR``, by their names.

    Args, errors: as for :func:`bootstrap_interval`, with 1-based ranks.
    """
    found: dict[str, list[NDArray[np.float64]]] = {}
    values = np.asarray(ranks, dtype=np.float64)
    for rows, weights in _resamples(values[:, None], clusters, seed=seed, draws=draws):
        for name, drawn in _metrics(rows[:, 0], weights, recall_at).items():
            found.setdefault(name, []).append(drawn)
    return {name: _percentiles(np.concatenate(parts)) for name, parts in found.items()}


def paired_differences(
    first: ArrayLike,
    second: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    recall_at: Sequence[int] = RECALL_AT,
    seed: int = 0,
    draws: int = DRAWS,
) -> dict[str, Difference]:
    """By how much the metrics of two systems differ on the same queries, by ``R@k``, ``MdR`` and ``MnR``.

    The p of recall is McNemar's exact test; with clusters, and for the mean rank, a sign-flip test of the
    differences.

    Args:
        first, second: 1-based ranks of the same queries, ``[query]``.
        clusters: as for :func:`bootstrap_interval`.

    Raises:
        InputError: there is no query.
        ShapeError: the lengths differ.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ShapeError(
            "ranks of two systems", expected="as many of each", got=[list(a.shape), list(b.shape)]
        )
    drawn: dict[str, list[NDArray[np.float64]]] = {}
    for rows, weights in _resamples(np.stack([a, b], axis=1), clusters, seed=seed, draws=draws):
        of_first = _metrics(rows[:, 0], weights, recall_at)
        for name, of_second in _metrics(rows[:, 1], weights, recall_at).items():
            drawn.setdefault(name, []).append(of_second - of_first[name])
    one = np.ones((1, len(a)))
    before, after = _metrics(a, one, recall_at), _metrics(b, one, recall_at)
    chances: dict[str, float | None] = {"MdR": None, "MnR": sign_flip(b - a, clusters=clusters, seed=seed)}
    for k in recall_at:
        chances[f"R@{k}"] = (
            mcnemar(a <= k, b <= k)
            if clusters is None
            else sign_flip((b <= k) * 1.0 - (a <= k), clusters=clusters, seed=seed)
        )
    result: dict[str, Difference] = {}
    for name, parts in drawn.items():
        low, high = _percentiles(np.concatenate(parts))
        value = float(after[name][0] - before[name][0])
        result[name] = Difference(value=value, low=low, high=high, p=chances[name], n=len(a))
    return result


def mcnemar(first: ArrayLike, second: ArrayLike) -> float:
    """Two-sided exact p of McNemar's test (1947): of the queries that one system alone answers, is either's share
    more than half?

    Args:
        first, second: which queries each system answers, bool ``[query]``.
    """
    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    only_first, only_second = int((a & ~b).sum()), int((b & ~a).sum())
    n, fewer = only_first + only_second, min(only_first, only_second)
    ways, total = 1, 0
    for i in range(fewer + 1):  # whole numbers, so that no count of queries rounds away
        total += ways
        ways = ways * (n - i) // (i + 1)
    return min(1.0, 2 * total / 2**n)


def sign_flip(differences: ArrayLike, *, clusters: ArrayLike | None = None, seed: int = 0) -> float:
    """Two-sided p of the mean difference under random signs (Fisher's randomization test).

    Exact for up to 12 differences that are not 0, else from 10,000 random patterns, of which the one that was
    observed counts as one.

    Args:
        differences: ``[query]``.
        clusters: as for :func:`bootstrap_interval`: the differences of a video change sign together.
    """
    d = np.asarray(differences, dtype=np.float64)
    if clusters is not None:
        d = np.bincount(_numbered(clusters, len(d)), weights=d)
    d = d[d != 0]
    observed = abs(d.sum())
    least = observed * (1 - 1e-12)  # sums of the same numbers in another order
    if len(d) <= EXACT_FLIPS:
        sums = [abs(float(np.dot(signs, d))) for signs in product((-1.0, 1.0), repeat=len(d))]
        return sum(value >= least for value in sums) / len(sums)
    generator = np.random.default_rng(seed)
    at_least = 1
    step = max(1, BLOCK // len(d))
    for start in range(0, FLIPS, step):
        size = (min(step, FLIPS - start), len(d))
        signs = generator.integers(0, 2, size=size, dtype=np.int8) * 2.0 - 1.0
        at_least += int((np.abs(signs @ d) >= least).sum())
    return at_least / (FLIPS + 1)


def _resamples(
    rows: NDArray[np.float64], clusters: ArrayLike | None, *, seed: int, draws: int
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Distinct rows, and how often each is drawn, ``[draw, row]``, in blocks of draws."""
    if not len(rows):
        raise InputError("there is nothing to resample; at least one query is needed")
    generator = np.random.default_rng(seed)
    if clusters is None:
        kinds, counts = np.unique(rows, axis=0, return_counts=True)
        step = max(1, BLOCK // len(kinds))
        for start in range(0, draws, step):
            size = min(step, draws - start)
            yield kinds, generator.multinomial(len(rows), counts / len(rows), size=size).astype(np.float64)
        return
    number = _numbered(clusters, len(rows))
    videos = int(number.max()) + 1
    step = max(1, BLOCK // len(rows))
    for start in range(0, draws, step):
        size = min(step, draws - start)
        drawn = generator.multinomial(videos, np.full(videos, 1 / videos), size=size)
        yield rows, drawn[:, number].astype(np.float64)


def _numbered(clusters: ArrayLike, length: int) -> NDArray[np.int64]:
    given = np.asarray(clusters)
    if given.shape != (length,):
        raise ShapeError("clusters", expected=f"one for each of {length} queries", got=list(given.shape))
    return np.unique(given, return_inverse=True)[1].astype(np.int64)


def _metrics(
    ranks: NDArray[np.float64], weights: NDArray[np.float64], recall_at: Sequence[int]
) -> dict[str, NDArray[np.float64]]:
    """Metrics of weighted ranks for every row of ``weights``, ``[draw, rank]``; weights are whole numbers."""
    total = weights.sum(axis=1)
    found = {f"R@{k}": 100 * (weights @ (ranks <= k)) / total for k in recall_at}
    order = np.argsort(ranks, kind="stable")
    places = weights[:, order].cumsum(axis=1)
    middles = [
        ranks[order][(places > place[:, None]).argmax(axis=1)] for place in ((total - 1) // 2, total // 2)
    ]
    found["MdR"] = (middles[0] + middles[1]) / 2
    found["MnR"] = weights @ ranks / total
    return found


def _percentiles(values: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def t_quantile(share: float, degrees: int) -> float:
    """The value that a t-distributed number stays below with probability ``share`` of at least one half.

    From the finite sums for whole degrees of freedom (Abramowitz and Stegun 26.7.3 and 26.7.4), by bisection.
    """
    if degrees < 1 or not 0.5 <= share < 1:
        raise InputError(
            f"t_quantile({share}, {degrees}): expected a share from 0.5 to 1, and 1 degree or more"
        )
    low, high = 0.0, math.pi / 2  # the angle whose tangent is t / sqrt(degrees)
    for _ in range(80):
        angle = (low + high) / 2
        if 0.5 + _t_between(angle, degrees) / 2 < share:
            low = angle
        else:
            high = angle
    return math.tan((low + high) / 2) * math.sqrt(degrees)


def _t_between(angle: float, degrees: int) -> float:
    """Probability that a t-distributed number lies within ``tan(angle) * sqrt(degrees)`` of 0."""
    cosine, sine = math.cos(angle), math.sin(angle)
    odd = degrees % 2
    term, total = (cosine if odd else 1.0), 0.0
    for power in range(1 + odd, degrees, 2):
        total += term
        term *= cosine * cosine * power / (power + 1)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
