"""Vectors that lie in one array, in memory or mapped from a file."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from .base import Vectors

__all__ = ["ArrayVectors"]


class ArrayVectors(Vectors):
    """An array ``[row, dim]`` of float32 unit vectors; it is not copied.

    Raises:
        ShapeError: it has not two dimensions.
    """

    def __init__(self, array: NDArray[np.float32]) -> None:
        if array.ndim != 2:
            raise ShapeError("vectors", expected="[row, dim]", got=list(array.shape))
        self._array = array

    @property
    def dim(self) -> int:
        return self._array.shape[1]

    def __len__(self) -> int:
        return len(self._array)

    def blocks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        if len(self._array):
            yield 0, self._array

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._array[rows]
