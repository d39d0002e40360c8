"""Several ranked lists into one, by places alone: scores of different kinds cannot be compared."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

from ..errors import InputError

__all__ = ["RRF_K", "reciprocal_rank"]

RRF_K = 60
"""Cormack, Clarke and Buettcher 2009, section 1: found in a pilot and not tuned; so large that the first place of one
list does not outweigh the agreement of two."""

T = TypeVar("T", bound=Hashable)


def reciprocal_rank(lists: Sequence[Sequence[T]], *, k: float = RRF_K) -> list[tuple[T, float]]:
    """Reciprocal rank fusion: what is in a list at rank r gets 1 / (k + r), summed over the lists; best first.

    Source: G. V. Cormack, C. L. A. Clarke and S. Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and
    individual Rank Learning Methods", SIGIR 2009.

    Args:
        lists: each best first, without repeats.
        k: at least 0; the larger it is, the less the first places of a list count.

    Returns:
        Every entry with its fused score; equals in the order in which they are first met, list by list.

    Raises:
        InputError: ``k`` is negative, or a list holds something twice.
    """
    if not k >= 0:
        raise InputError(f"k is {k}; it must be at least 0")
    fused: dict[T, float] = {}
    for ranked in lists:
        if len(set(ranked)) != len(ranked):
            raise InputError("a ranked list holds something twice")
        for rank, entry in enumerate(ranked, start=1):
            fused[entry] = fused.get(entry, 0.0) + 1.0 / (k + rank)
    return sorted(fused.items(), key=lambda pair: -pair[1])
