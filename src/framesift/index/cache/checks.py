"""Checksums that tell a flipped bit: one number a row, cheap enough to be compared whenever a row is read.

A row is a list of 32-bit words, and its check the sum of their products with 64-bit weights, modulo 2^64: multilinear
hashing. The weights are odd, so that every change of a single word is noticed. They are drawn at random, so that a
change of several is missed once in 2^32 times at most; wider words would be faster, but two flips of their highest bits
would cancel each other. Twelve KiB cost two microseconds, less than scoring them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["padded", "row_checks"]

GOLDEN = (
    0x9E3779B97F4A7C15  # 2^64 / golden ratio; this and the following two: SplitMix64 (Steele et al., 2014)
)
MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def row_checks(rows: NDArray[np.generic], *, of: int) -> NDArray[np.uint64]:
    """The check of every row, ``[row]``. Zeros at the end of a row do not count, so that it may be padded or not.

    Args:
        rows: numbers, ``[row, ..., number]``, contiguous. The last axis decides how wide the words are, and must be the
            same whenever checks are compared, but for a multiple of four bytes.
        of: what the rows are: checks of different things can be added up, and a mix-up changes the sum.
    """
    if not rows.size:
        return np.zeros(len(rows), np.uint64)
    size = 4 if rows.shape[-1] * rows.itemsize % 4 == 0 else 2
    words = rows.reshape(len(rows), -1).view(f"<u{size}")
    return np.einsum("rw,w->r", words, _weights(words.shape[1], of))


def padded(flat: NDArray[Any], counts: NDArray[np.int64]) -> NDArray[Any]:
    """Lists that lie one after another, ``[item, ...]``, as rows filled up with zeros, ``[row, item, ...]``."""
    longest = int(counts.max(initial=0))
    rows = np.zeros((len(counts), longest, *flat.shape[1:]), flat.dtype)
    rows[np.arange(longest) < counts[:, None]] = flat
    return rows


@lru_cache(maxsize=64)
def _weights(count: int, of: int) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        x = (np.arange(1, count + 1, dtype=np.uint64) + np.uint64(of << 40)) * np.uint64(GOLDEN)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(MIX[0])
        x = (x ^ (x >> np.uint64(27))) * np.uint64(MIX[1])
        weights = (x ^ (x >> np.uint64(31))) | np.uint64(1)
    weights.flags.writeable = False
    return weights
