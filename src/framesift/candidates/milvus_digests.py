"""64-bit digests of moments: what Milvus holds is compared with a gallery without sending ids or vectors about.

They are the same on every machine and in every version of framesift that reads ``milvus_server.FORMAT``: sums of the
words of a text or vector, each times an odd number of its own, modulo 2^64, as in multilinear hashing. Two different
moments share one with a chance of some 2^-60; what that would cost is said where it matters.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["MomentRows", "held_in", "moment_digests", "text_digests"]

AT_ONCE = 1 << 14  # rows: what is in between stays in the processor's cache


def text_digests(texts: Sequence[str]) -> NDArray[np.uint64]:
    """A digest of each text, ``[text]``."""
    digests = np.empty(len(texts), np.uint64)
    for first in range(0, len(texts), AT_ONCE):
        encoded = np.array([text.encode() for text in texts[first : first + AT_ONCE]], dtype=np.bytes_)
        letters = encoded.view(np.uint8).reshape(len(encoded), encoded.dtype.itemsize)
        digests[first : first + AT_ONCE] = _sums(letters.astype(np.uint64))
    return digests


def moment_digests(moment_ids: Sequence[str], vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    """A digest of each moment's id and vector, ``[moment]``, as Milvus stores it.

    Vectors are rounded to float16 for it, so that it does not matter whether they come from the tables or from a cache
    that holds them so.

    Args:
        moment_ids: one a moment.
        vectors: unit vectors, ``[moment, dim]``.
    """
    digests = text_digests(moment_ids)
    words = -(-vectors.shape[1] // 4)  # four numbers of 16 bits each
    for first in range(0, len(vectors), AT_ONCE):
        some = vectors[first : first + AT_ONCE]
        halves = np.zeros((len(some), 4 * words), np.float16)
        halves[:, : some.shape[1]] = some
        digests[first : first + AT_ONCE] ^= _mixed(_sums(_mixed(halves.view(np.uint64))))
    return digests.view(np.int64)


def held_in(digests: NDArray[np.int64], held: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of ``digests`` are among ``held``, which is sorted, ``[digest]``."""
    if not len(held):
        return np.zeros(len(digests), dtype=bool)
    return held[np.minimum(np.searchsorted(held, digests), len(held) - 1)] == digests


class MomentRows:
    """Finds the rows of a gallery by moment id: 16 bytes a row, whatever the ids' length.

    Args:
        moment_ids: of all rows, in their order.

    Attributes:
        ambiguous: rows whose digest another row has, too, ``[row]`` ascending: they cannot be found.
    """

    def __init__(self, moment_ids: Sequence[str]) -> None:
        digests = text_digests(moment_ids)
        self._order = np.argsort(digests)
        self._digests = digests[self._order]
        same = self._digests[1:] == self._digests[:-1]
        twice = np.concatenate([same, [False]]) | np.concatenate([[False], same])
        self.ambiguous: NDArray[np.int64] = np.sort(self._order[twice[: len(digests)]])

    def __len__(self) -> int:
        return len(self._digests)

    def find(self, moment_ids: Sequence[str]) -> NDArray[np.int64]:
        """The row of each id, ``[id]``; -1 for those that the gallery does not have.

        A foreign id that shares its digest with one of the gallery's is taken for it: a row too many is proposed then.
        """
        if not len(self) or not len(moment_ids):
            return np.full(len(moment_ids), -1, np.int64)
        wanted = text_digests(moment_ids)
        places = np.minimum(np.searchsorted(self._digests, wanted), len(self) - 1)
        return np.where(self._digests[places] == wanted, self._order[places], -1)


def _sums(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The sum of each row's words, each times an odd number that depends on its place."""
    places = np.arange(1, words.shape[1] + 1, dtype=np.uint64)
    return words @ (_mixed(places) | np.uint64(1))


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every bit of a word depends on every other: the output function of SplitMix64 (Steele et al., 2014)."""
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
