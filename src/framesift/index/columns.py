"""Arrow columns of lists as arrays of numbers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

__all__ = ["list_lengths", "list_values"]


def list_lengths(column: pa.ChunkedArray) -> np.ndarray:
    """How many numbers each list of a column holds."""
    return np.concatenate(
        [np.zeros(0, np.int64), *(chunk.value_lengths().to_numpy() for chunk in column.chunks)]
    )


def list_values(column: pa.ChunkedArray) -> np.ndarray:
    """All numbers of a column of lists, one after another."""
    return np.concatenate(
        [
            np.zeros(0, np.float16),
            *(chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks),
        ]
    )
