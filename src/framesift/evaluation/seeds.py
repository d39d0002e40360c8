"""Several runs that differ in their seed: mean, spread and interval of every metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import Any

from ..errors import DatasetError, InputError
from .significance import t_quantile

__all__ = ["OverSeeds", "summarise_seeds"]


@dataclass(frozen=True, kw_only=True)
class OverSeeds:
    """A metric over runs.

    Attributes:
        mean: over runs.
        sd: standard deviation with n - 1; None of a single run.
        low, high: 95 % interval of the mean by Student's t, which for two or three runs is wide, as it should be; None
            of a single run.
        n: runs.
    """

    mean: float
    sd: float | None
    low: float | None
    high: float | None
    n: int

    def __str__(self) -> str:
        if self.sd is None or self.low is None or self.high is None:
            return f"{self.mean:.2f} (single seed)"
        return (
            f"{self.mean:.2f} ± {self.sd:.2f} (mean of {self.n} seeds in {self.low:.2f} to {self.high:.2f})"
        )

    def to_dict(self) -> dict[str, float | int | None]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def of(cls, values: Sequence[float]) -> OverSeeds:
        """The summary of one value a run."""
        n, middle = len(values), mean(values)
        if n == 1:
            return cls(mean=middle, sd=None, low=None, high=None, n=1)
        sd = stdev(values)
        half = t_quantile(0.975, n - 1) * sd / math.sqrt(n)
        return cls(mean=middle, sd=sd, low=middle - half, high=middle + half, n=n)


def summarise_seeds(results: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, OverSeeds]]:
    """Direction -> ``R@k``, ``MdR``, ``MnR`` -> summary over runs.

    Args:
        results: result documents of one split, each with ``split.content_hash``, ``t2v`` and ``v2t``.

    Raises:
        InputError: there is no result, one lacks its metrics, or they rank ties by different rules.
        DatasetError: they are of different splits.
    """
    if not results:
        raise InputError("there is no result to summarise; give one file for each seed")
    hashes = {_hash(result) for result in results}
    if len(hashes) > 1:
        raise DatasetError(
            f"results of different splits cannot be averaged: content hashes {', '.join(sorted(hashes))}"
        )
    summary: dict[str, dict[str, OverSeeds]] = {}
    for way in ("t2v", "v2t"):
        rows = [_metrics(result, way) for result in results]
        rules = {result[way].get("ties") for result in results}
        if len(rules) > 1:
            raise InputError(
                f"results that rank ties by different rules cannot be averaged: {sorted(map(str, rules))}"
            )
        shared = [name for name in rows[0] if all(name in row for row in rows)]
        summary[way] = {name: OverSeeds.of([row[name] for row in rows]) for name in shared}
    return summary


def _hash(result: Mapping[str, Any]) -> str:
    split = result.get("split")
    found = split.get("content_hash") if isinstance(split, Mapping) else None
    if not found:
        raise InputError(
            "a result does not say which split it is of (split.content_hash), so it cannot be averaged with others"
        )
    return str(found)


def _metrics(result: Mapping[str, Any], way: str) -> dict[str, float]:
    try:
        row = result[way]
        recall = {f"R@{k}": float(value) for k, value in row["recall_at"].items()}
        return {**recall, "MdR": float(row["median_rank"]), "MnR": float(row["mean_rank"])}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"a result lacks the metrics of {way}: {error!r}") from None
