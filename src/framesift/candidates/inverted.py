"""Codes by list, packed as faiss' fast scan reads them: in memory, or in a file that is mapped and used as it lies.

A list is blocks of 32 codes, then the numbers of these as int64; the last block is filled up with zeros. faiss calls
that an inverted list on disk, and neither copies nor changes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ShapeError
from .quantizer import Quantizer

__all__ = ["BLOCK_ROWS", "NUMBER_BYTES", "InvertedFile", "Packed", "list_places", "lists_of", "packed"]

BLOCK_ROWS = 32  # rows that the scan compares at once
NUMBER_BYTES = 8
HALF = [0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15]  # faiss, pq4_fast_scan.cpp: perm0
ROW_ORDER = np.array([*HALF, *(16 + row for row in HALF)])
PACKED_AT_ONCE = 128  # blocks: 256 KiB of codes stay in the processor's cache


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Packed:
    """Codes that were packed before, and how they belong to the rows of a gallery.

    Attributes:
        memory: all lists, one after another, as :func:`list_places` says, ``[byte]``; it is read, not copied.
        list_of: the list of every packed code, ``[number]``.
        rows: the gallery's row of every code, ``[number]``, -1: none; None: a code's number is its row.
        whole: says of lists, ``[list]``, whether their memory is as it was written. It is asked before every scan, with
            the lists that this reads.
        unpacked: gives all codes, ``[coded, code_bytes]``, and their rows, ``[coded]``, from elsewhere. Asked when the
            memory was found to be damaged, which is not used any more then.
    """

    memory: NDArray[np.uint8]
    list_of: NDArray[np.uint16]
    rows: NDArray[np.int64] | None
    whole: Callable[[NDArray[np.int64]], bool]
    unpacked: Callable[[], tuple[NDArray[np.uint8], NDArray[np.int64]]]


class InvertedFile:
    """Codes by list, to be scanned. Threads may share it; made by :meth:`of_codes` or :meth:`of_packed`.

    Args:
        quantizer: made the codes.
        lists: faiss' inverted lists; None: empty ones.
        count: of codes.
        rows: row of every number that the lists hold, -1: none; None: they are rows.
        memory: where the lists lie, if that is not theirs.
    """

    def __init__(
        self,
        quantizer: Quantizer,
        lists: Any | None,
        count: int,
        *,
        rows: NDArray[np.int64] | None = None,
        memory: NDArray[np.uint8] | None = None,
    ) -> None:
        import faiss

        parts, _, width = quantizer.centroids.shape
        self._lists, self._memory = lists, memory
        if lists is not None and memory is not None:
            lists.ptr = faiss.swig_ptr(memory)
            lists.thisown = False  # see __del__
        self._count = count
        self._rows = rows
        self._gone = None if rows is None or (rows >= 0).all() else rows < 0
        self._origin = faiss.IndexFlatIP(parts * width)  # empty: which lists are read is not for faiss to say
        index: Any = faiss.IndexIVFPQFastScan(
            self._origin, parts * width, quantizer.num_lists, parts, 4, faiss.METRIC_INNER_PRODUCT
        )
        index.by_residual = False
        faiss.copy_array_to_vector(quantizer.centroids.reshape(-1), index.pq.centroids)
        index.is_trained = True
        index.ntotal = count
        if lists is not None:
            index.replace_invlists(lists, False)
        self._index = index

    def __len__(self) -> int:
        return self._count

    def __del__(self) -> None:
        # Lists on disk would give their memory back to the system when they go. And when the process ends, nothing
        # may be called in an order that nobody knows: then they stay.
        if getattr(self, "_lists", None) is not None:
            assert self._lists is not None
            self._lists.ptr = None
            self._lists.thisown = True

    @classmethod
    def of_codes(
        cls, quantizer: Quantizer, codes: NDArray[np.uint8], rows: NDArray[np.int64]
    ) -> InvertedFile:
        """Packs codes ``[coded, code_bytes]`` of rows ``[coded]``, in less than a second for five million."""
        import faiss

        made = cls(quantizer, None, len(rows))
        for number, ids, blocks in lists_of(quantizer, codes, rows):
            made._index.invlists.add_entries(number, len(ids), faiss.swig_ptr(ids), faiss.swig_ptr(blocks))
        return made

    @classmethod
    def of_packed(cls, quantizer: Quantizer, given: Packed) -> InvertedFile:
        """Takes them as they lie.

        Raises:
            ShapeError: the memory is not as large as these codes are.
            InputError: a code is of a list that there is not.
        """
        import faiss

        number = quantizer.num_lists
        width = quantizer.parts // 2
        sizes = np.bincount(given.list_of, minlength=number)
        if len(sizes) > number:
            raise InputError(
                f"a packed code is of list {len(sizes) - 1}, and there are {number}; pack them again"
            )
        offsets, num_blocks = list_places(sizes, width)
        expected = int(num_blocks.sum()) * BLOCK_ROWS * (width + NUMBER_BYTES)
        if given.memory.shape != (expected,):
            raise ShapeError("packed codes", expected=f"[{expected}]", got=list(given.memory.shape))
        table = np.stack([sizes, BLOCK_ROWS * num_blocks, offsets], axis=1).astype(np.uint64)
        lists: Any = faiss.OnDiskInvertedLists()
        lists.nlist, lists.code_size = number, width
        lists.read_only = True
        lists.lists.resize(number)
        faiss.memcpy(lists.lists.data(), faiss.swig_ptr(table), table.nbytes)  # size, capacity, offset
        return cls(quantizer, lists, len(given.list_of), rows=given.rows, memory=given.memory)

    def scan(
        self,
        rotated: NDArray[np.float32],
        depth: int,
        lists: NDArray[np.int64],
        allowed: NDArray[np.bool_] | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The ``depth`` rows of some lists with the best codes, ascending, and their scores by code.

        Args:
            rotated: a query as the quantizer codes it, ``[1, part x width]``.
            depth: how many; fewer where there are not so many.
            lists: which are read, ``[list]``.
            allowed: which rows may be found, ``[row]``; None: all.
        """
        import faiss

        parameters: Any = faiss.SearchParametersIVF()
        parameters.nprobe = len(lists)
        visible = self._visible(allowed)
        if visible is not None:
            bits = np.packbits(visible, bitorder="little")
            selector: Any = faiss.IDSelectorBitmap
            parameters.sel = kept = selector(bits)  # parameters only point to it
            assert kept
        count = max(1, min(depth, self._count))
        unused = np.zeros(
            len(lists), np.float32
        )  # scores of centroids: codes are not of differences from them
        scores, ids = np.empty(count, np.float32), np.empty(count, np.int64)
        # One query at a time: faiss starts OpenMP threads for several, beside those of whoever calls.
        self._index.search_preassigned_c(
            1,
            faiss.swig_ptr(rotated),
            count,
            faiss.swig_ptr(lists),
            faiss.swig_ptr(unused),
            faiss.swig_ptr(scores),
            faiss.swig_ptr(ids),
            False,
            parameters,
        )
        there = ids >= 0  # -1 stands for no more rows
        found = ids[there] if self._rows is None else self._rows[ids[there]]
        order = np.argsort(found)
        return found[order], scores[there][order]

    def _visible(self, allowed: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
        """Which numbers may be found; None: all."""
        if self._rows is None:
            return allowed
        if allowed is None:
            return None if self._gone is None else ~self._gone
        visible = allowed[self._rows]
        if self._gone is not None:
            visible[self._gone] = False
        return visible


def list_places(sizes: NDArray[np.int64], width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where lists of so many codes of ``width`` bytes begin, one after another, and how many blocks each has."""
    num_blocks = -(-sizes // BLOCK_ROWS)  # every list begins with a block of its own
    return (np.cumsum(num_blocks) - num_blocks) * BLOCK_ROWS * (width + NUMBER_BYTES), num_blocks


def lists_of(
    quantizer: Quantizer, codes: NDArray[np.uint8], rows: NDArray[np.int64]
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.uint8]]]:
    """Every list that has rows: its number, its rows, and their codes as :func:`packed`.

    Lists are packed some at a time, since each has but a few blocks.

    Args:
        quantizer: made the codes.
        codes: ``[coded, code_bytes]``.
        rows: what numbers them, ``[coded]``.
    """
    list_bytes = quantizer.list_bytes
    if not list_bytes:
        if len(rows):
            yield 0, rows, packed(codes)
        return
    whole = np.ascontiguousarray(codes).view(f"V{codes.shape[1]}")[:, 0]  # a row moves as one thing
    width = codes.shape[1] - list_bytes
    numbers = quantizer.list_of(codes)
    order = np.argsort(numbers, kind="stable")
    sizes = np.bincount(numbers)
    ends = np.cumsum(sizes)
    starts = ends - sizes
    num_blocks = -(-sizes // BLOCK_ROWS)  # every list begins with a block of its own
    block_ends = np.cumsum(num_blocks)
    block_starts = block_ends - num_blocks
    first = 0
    while first < len(sizes):
        fit = int(np.searchsorted(block_ends, block_starts[first] + PACKED_AT_ONCE, side="right"))
        some = slice(first, max(first + 1, fit))
        own = order[starts[first] : ends[some][-1]]
        block_start = block_starts[some] - block_starts[first]
        spaced = np.zeros((int(num_blocks[some].sum()) * BLOCK_ROWS, width), np.uint8)
        shift = np.repeat(BLOCK_ROWS * block_start - (starts[some] - starts[first]), sizes[some])
        moved = np.ascontiguousarray(whole[own].view(np.uint8).reshape(len(own), -1)[:, list_bytes:])
        spaced.view(f"V{width}")[np.arange(len(own)) + shift, 0] = moved.view(f"V{width}")[:, 0]
        blocks = packed(spaced)
        for number in range(some.start, some.stop):
            if sizes[number]:
                own_rows = np.ascontiguousarray(rows[order[starts[number] : ends[number]]])
                block = int(block_start[number - first])
                yield number, own_rows, blocks[block : block + int(num_blocks[number])]
        first = some.stop


def packed(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Codes in the order in which the scan reads them, ``[block, byte, 32]``.

    A block is 32 rows; in it, for each byte of a code, 16 bytes with the low and 16 with the high half of that byte,
    two rows a byte (faiss, pq4_fast_scan.cpp, pq4_pack_codes). faiss itself packs only what it has just encoded, and
    to encode a million vectors at every start would take seconds.

    Args:
        codes: ``[row, byte]``.
    """
    count, width = codes.shape
    blocks = np.zeros((-(-count // BLOCK_ROWS), width, BLOCK_ROWS), np.uint8)
    for start in range(0, len(blocks), PACKED_AT_ONCE):
        some = codes[start * BLOCK_ROWS : (start + PACKED_AT_ONCE) * BLOCK_ROWS]
        if len(some) % BLOCK_ROWS:
            some = np.pad(some, ((0, -len(some) % BLOCK_ROWS), (0, 0)))
        by_byte = some.reshape(-1, BLOCK_ROWS, width)[:, ROW_ORDER].transpose(0, 2, 1)
        first, second = by_byte[..., :16], by_byte[..., 16:]
        out = blocks[start : start + PACKED_AT_ONCE]
        out[..., :16] = (first & 0x0F) | (second << 4)
        out[..., 16:] = (first >> 4) | (second & 0xF0)
    return blocks
