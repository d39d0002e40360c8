"""Candidates by scoring every row: the definition that the other engines are measured against, and the fastest
way through a small gallery."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .asking import checked_queries
from .base import CandidateIndex, Found, Vectors
from .best import best, stacked

__all__ = ["ExactCandidates", "dot_products", "score_rows"]

ROWS_AT_ONCE = (
    1 << 16
)  # so that what is already found lets most rows of all later blocks go with one comparison
SCORES_AT_ONCE = 1 << 22  # 16 MiB, however many queries there are
TAKEN_AT_ONCE = 1 << 14  # scattered rows copied at once: 32 MiB at 512
TAKEN_SHARE = 8  # a scattered row costs some 8 times one that is read in order (512 floats, not in the cache)
FEW_QUERIES = (
    5  # up to so many, a dot product a row beats OpenBLAS's matrix products, 2.3 times for one query
)


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
            depth = min(depth, len(self))
            return stacked(self._scan(queries, depth, None), depth)
        count = int(np.count_nonzero(allowed))
        depth = min(depth, count)
        if count * TAKEN_SHARE <= len(self):
            return stacked(score_rows(self._vectors, queries, np.flatnonzero(allowed), depth), depth)
        return stacked(self._scan(queries, depth, allowed), depth)

    def _scan(
        self, queries: NDArray[np.float32], depth: int, allowed: NDArray[np.bool_] | None
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        pools = [_Pool(depth) for _ in queries]
        step = max(1, min(ROWS_AT_ONCE, SCORES_AT_ONCE // max(1, len(queries))))
        for first, block in self._vectors.blocks():
            for start in range(0, len(block), step):
                scores = dot_products(queries, block[start : start + step])
                rows = np.arange(first + start, first + start + scores.shape[1])
                if allowed is not None:
                    kept = np.flatnonzero(allowed[rows[0] : rows[-1] + 1])
                    rows, scores = rows[kept], scores[:, kept]
                for pool, line in zip(pools, scores, strict=True):
                    pool.offer(rows, line)
        return [pool.best() for pool in pools]


def dot_products(queries: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """``[query, row]`` of queries ``[query, dim]`` and vectors ``[row, dim]``."""
    if len(queries) > FEW_QUERIES:
        return (vectors @ queries.T).T
    scores = np.empty((len(queries), len(vectors)), np.float32)
    for query, line in zip(queries, scores, strict=True):
        np.vecdot(vectors, query, out=line)
    return scores


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
        for pool, line in zip(pools, dot_products(queries, vectors.take(some)), strict=True):
            pool.offer(some, line)
    return [pool.best() for pool in pools]


class _Pool:
    """The best rows of all that were offered for one query."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._rows = np.empty(0, np.int64)
        self._scores = np.empty(0, np.float32)

    def offer(self, rows: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        """Rows come in ascending order, so that one which ties with the last of a full pool belongs behind it."""
        if self._depth and len(self._scores) == self._depth:
            better = np.flatnonzero(scores > self._scores[-1])
            rows, scores = rows[better], scores[better]
        if len(rows):
            self._rows, self._scores = best(
                np.concatenate([self._rows, rows]), np.concatenate([self._scores, scores]), self._depth
            )

    def best(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        return self._rows, self._scores
