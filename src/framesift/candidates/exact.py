"""Candidates by scoring every row: the definition that the other engines are measured against, and the fastest
way through a small gallery."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .asking import checked_queries
from .base import CandidateIndex, Found, Vectors
from .best import best, stacked

__all__ = ["ExactCandidates", "score_rows"]

SCORES_AT_ONCE = 1 << 22  # 16 MiB of scores, however many queries there are
TAKEN_AT_ONCE = 1 << 14  # rows copied out of their places at once: 32 MiB at 512
TAKEN_SHARE = 8  # copying scattered rows costs some 8 times what reading all in order does, for each


class ExactCandidates(CandidateIndex):
    """Dot products with all rows, block by block.

    Args:
        vectors: what is searched; read where it lies.
    """

    name: ClassVar[str] = "exact"

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors

    def __len__(self) -> int:
        return len(self._vectors)

    def __repr__(self) -> str:
        return f"<ExactCandidates {len(self)} rows x {self._vectors.dim}>"

    def search(
        self, queries: NDArray[np.float32], depth: int, *, allowed: NDArray[np.bool_] | None = None
    ) -> Found:
        queries = checked_queries(queries, depth, allowed, rows=len(self), dim=self._vectors.dim)
        if allowed is None:
            return stacked(self._scan(queries, depth, None))
        count = int(np.count_nonzero(allowed))
        depth = min(depth, count)
        if count * TAKEN_SHARE <= len(self):
            return stacked(score_rows(self._vectors, queries, np.flatnonzero(allowed), depth))
        return stacked(self._scan(queries, depth, allowed))

    def _scan(
        self, queries: NDArray[np.float32], depth: int, allowed: NDArray[np.bool_] | None
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        pools = [_Pool(depth) for _ in queries]
        step = max(1, SCORES_AT_ONCE // max(1, len(queries)))
        for first, block in self._vectors.blocks():
            for start in range(0, len(block), step):
                scores = queries @ block[start : start + step].T
                begin = first + start
                rows = np.arange(begin, begin + scores.shape[1])
                if allowed is not None:
                    kept = np.flatnonzero(allowed[begin : begin + scores.shape[1]])
                    rows, scores = rows[kept], scores[:, kept]
                for pool, line in zip(pools, scores, strict=True):
                    pool.offer(rows, line)
        return [pool.best() for pool in pools]


def score_rows(
    vectors: Vectors, queries: NDArray[np.float32], rows: NDArray[np.int64], depth: int
) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """The ``depth`` best of some rows for every query, as rows and scores, best first.

    Args:
        vectors: where the rows lie.
        queries: ``[query, dim]``.
        rows: row numbers, ``[row]``, ascending.
        depth: how many; all of ``rows``, where these are fewer.
    """
    pools = [_Pool(depth) for _ in queries]
    for start in range(0, len(rows), TAKEN_AT_ONCE):
        some = rows[start : start + TAKEN_AT_ONCE]
        for pool, line in zip(pools, queries @ vectors.take(some).T, strict=True):
            pool.offer(some, line)
    return [pool.best() for pool in pools]


class _Pool:
    """The best rows of all that were offered for one query."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._rows = np.empty(0, np.int64)
        self._scores = np.empty(0, np.float32)

    def offer(self, rows: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        if self._depth and len(self._scores) == self._depth:
            better = np.flatnonzero(
                scores > self._scores[-1]
            )  # rows come in ascending order: ties stay behind
            rows, scores = rows[better], scores[better]
        self._rows, self._scores = best(
            np.concatenate([self._rows, rows]), np.concatenate([self._scores, scores]), self._depth
        )

    def best(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        return self._rows, self._scores
