"""The codes of a gallery's vectors, whatever these are: packed ones as they lie, and those of segments beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...candidates.inverted import Packed
from .codes import By, Codebook, as_coded, codes_crc32, stored_vectors
from .packed import PackedCodes
from .rows import MomentRows
from .sealed import Damaged
from .segment import Segment

__all__ = ["Coded", "Stored", "coded", "places_of_runs"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Stored:
    """Vectors of a gallery that a segment holds.

    Attributes:
        part: of the table.
        first: of them in the gallery, where they follow one another.
        count: how many they are.
        place: which of the segment's vectors they are, ``[vector]`` ascending; None: all.
    """

    part: int
    first: int
    count: int
    place: NDArray[np.int64] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Coded:
    """What codes a gallery's vectors have.

    Attributes:
        codes: that are not packed, ``[coded, code_bytes]``.
        rows: whose these are, ``[coded]`` ascending.
        packed: the others, if there are any.
    """

    codes: NDArray[np.uint8]
    rows: NDArray[np.int64]
    packed: Packed | None


def coded(rows: MomentRows, by: By, codebook: Codebook, held: Sequence[Stored]) -> Coded:
    """The codes of vectors that segments hold.

    Args:
        rows: of the table.
        by: what the vectors are.
        codebook: made the codes.
        held: the vectors, ascending.
    """
    packed = rows.cache.packed(codebook)
    within: list[tuple[int, Stored]] = []  # first number
    beside: list[Stored] = []
    for one in held:
        start = None if packed is None else _first_number(rows, codebook, packed, one)
        if start is None:
            beside.append(one)
        else:
            within.append((start, one))
    codes, whose = _read(rows, by, codebook, beside)
    if packed is None or not within:
        return Coded(codes=codes, rows=whose, packed=None)

    def unpacked() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        rows.cache.forget_packed(codebook, "they have changed since they were written")
        return _read(rows, by, codebook, [one for _, one in within], always=True)

    return Coded(
        codes=codes,
        rows=whose,
        packed=Packed(
            memory=packed.memory,
            list_of=packed.list_of,
            rows=_rows_of_numbers(len(packed), within),
            whole=packed.whole,
            unpacked=unpacked,
        ),
    )


def places_of_runs(first: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers from each ``first`` on, as many as ``lengths`` says, one run after another."""
    return np.repeat(first - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())


def _first_number(rows: MomentRows, codebook: Codebook, packed: PackedCodes, one: Stored) -> int | None:
    """Where the packed codes of a segment begin; None if they are others than its own, or none."""
    segment = _segment(rows, one)
    try:
        crc32 = codes_crc32(segment, codebook.quantizer)
    except Damaged:  # which whoever reads the codes tells
        return None
    found = None if crc32 is None else packed.sources.get((segment.path.name, crc32))
    return None if found is None else found[0]


def _rows_of_numbers(count: int, within: Sequence[tuple[int, Stored]]) -> NDArray[np.int64] | None:
    """The gallery's row of every packed code; None where they are the same."""
    if all(start == one.first and one.place is None for start, one in within):
        end = 0
        for start, one in within:
            if start != end:
                break
            end += one.count
        if end == count:
            return None
    found = np.full(count, -1, np.int64)
    for start, one in within:
        place = slice(start, start + one.count) if one.place is None else start + one.place
        found[place] = np.arange(one.first, one.first + one.count)
    return found


def _read(
    rows: MomentRows, by: By, codebook: Codebook, held: Sequence[Stored], *, always: bool = False
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Codes of segments; with ``always``, those that cannot be read are made from what they stand for."""
    quantizer = codebook.quantizer
    codes: list[NDArray[np.uint8]] = [np.zeros((0, quantizer.code_bytes), np.uint8)]
    numbers: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    for one in held:
        own = rows.codes(one.part, by, codebook)
        if own is None and always:
            own = quantizer.encode(as_coded(stored_vectors(_segment(rows, one), by), by))
        if own is not None:
            codes.append(own if one.place is None else own[one.place])
            numbers.append(np.arange(one.first, one.first + one.count))
    return np.concatenate(codes), np.concatenate(numbers)


def _segment(rows: MomentRows, one: Stored) -> Segment:
    segment = rows.parts[one.part].segment
    assert segment is not None
    return segment
