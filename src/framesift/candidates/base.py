"""What proposes candidates: rows of a gallery by the dot product of unit vectors.

Everything behind it (matcher, reranker, merging) is the same whatever proposed the candidates. So an engine
is judged by one thing: how many of the rows that exact scoring puts first it proposes, for how much work.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["CandidateIndex", "Found", "Vectors"]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Found:
    """Rows that were proposed for every query.

    Attributes:
        rows: best first, ``[query, candidate]`` int64.
        scores: their dot products with the query, ``[query, candidate]`` float32.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"<Found {self.rows.shape[0]} queries x {self.rows.shape[1]} rows>"


class Vectors(ABC):
    """Unit vectors by row, wherever they lie; the source of truth of every engine."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Width of a vector."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of rows."""

    @abstractmethod
    def blocks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """All of them in order, without copies where that is possible: the first row of a block, and the block
        ``[row, dim]``."""

    @abstractmethod
    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Those rows, in that order, ``[row, dim]``."""


class CandidateIndex(ABC):
    """Proposes rows for queries. Any number of threads may search one at once."""

    name: ClassVar[str]

    @abstractmethod
    def __len__(self) -> int:
        """Number of rows."""

    @abstractmethod
    def search(
        self, queries: NDArray[np.float32], depth: int, *, allowed: NDArray[np.bool_] | None = None
    ) -> Found:
        """The ``depth`` most promising rows for every query.

        Args:
            queries: unit vectors, ``[query, dim]``.
            depth: how many; all that are allowed, where these are fewer. Never less than that.
            allowed: which rows may be proposed, ``[row]``; it acts before the cut, so that a filter which leaves three
                rows of a million still finds them. None: all.

        Raises:
            InputError: ``depth`` is less than 1, or a query is not finite or zero.
            ShapeError: ``queries`` or ``allowed`` do not fit.
        """
