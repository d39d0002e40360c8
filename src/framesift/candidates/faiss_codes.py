"""Candidates from short codes: they are scanned with faiss, and the best scored again from their exact vectors.

Without lists (see :mod:`.lists`) all codes are scanned, with them those of some lists.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ShapeError
from .asking import checked_queries
from .base import CandidateIndex, Found, Vectors
from .best import best, stacked
from .exact import TAKEN_AT_ONCE, TAKEN_SHARE, ExactCandidates, dot_products, score_rows
from .lists import Probing
from .quantizer import Quantizer

__all__ = ["FaissCandidates", "Quantizer", "packed"]

RESCORED_PER_ROW = 4  # at least so many rows are scored again for each that is wanted
MARGIN = 3.0  # standard deviations of a code's error that lie between the last row found and the last one scored again
MOST_RESCORED = 8
"""Times what is scored again at first, without a filter; past that, scores are so dense that rows differ by little. A
filter may leave nothing but such rows: under one, as many are scored as it takes, all of them in the end."""
LEAST_STEP = 1e-9  # between scores of copies
MOST_DOUBLINGS = 32.0  # more rows than there are
MORE = 1.5  # times as many rows at least when a query scans again, so that it does not scan often
SCANNED_PER_TAKEN = 256  # codes that are scanned in the time in which one scattered row is taken and scored
BLOCK_ROWS = 32  # rows that the scan compares at once
HALF = [0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15]  # faiss, pq4_fast_scan.cpp: perm0
ROW_ORDER = np.array([*HALF, *(16 + row for row in HALF)])
ONE_LIST = np.zeros(1, np.int64)
PACKED_AT_ONCE = 128  # blocks: 256 KiB of codes stay in the processor's cache


class FaissCandidates(CandidateIndex):
    """Scans codes, then scores the best rows from their vectors.

    The codes lie in an inverted file, of one list where the quantizer has none, because faiss's flat fast scan knows no
    filter and this one does. A filter acts within the scan: it costs next to nothing and the rows scored again are all
    allowed ones.

    Args:
        quantizer: made the codes.
        codes: ``[coded, code_bytes]``; copied into another order, in less than a second a million.
        coded_rows: the row of each code, ``[coded]`` ascending. Rows without a code are scored exactly.
        vectors: of all rows.
        rescored: how many rows are scored again at first, but at least four times the depth; more where scores leave
            doubt, and under a filter all that it allows where that is less work.
        probes: how many lists are read for a query; None: as many as it takes to find what reading all would find.
            Without lists it has no effect.

    Raises:
        ShapeError: the arguments do not fit one another.
        InputError: ``coded_rows`` do not ascend, or are not rows of ``vectors``; a code is of a list that there is not.
    """

    name: ClassVar[str] = "faiss"

    def __init__(
        self,
        quantizer: Quantizer,
        codes: NDArray[np.uint8],
        coded_rows: NDArray[np.int64],
        vectors: Vectors,
        rescored: int = 1000,
        probes: int | None = None,
    ) -> None:
        if codes.shape != (len(coded_rows), quantizer.code_bytes):
            expected = f"[{len(coded_rows)}, {quantizer.code_bytes}]"
            raise ShapeError("codes", expected=expected, got=list(codes.shape))
        if vectors.dim != quantizer.dim:
            raise ShapeError("vectors", expected=f"[row, {quantizer.dim}]", got=[len(vectors), vectors.dim])
        rows = np.ascontiguousarray(coded_rows, np.int64)
        if len(rows) and not (rows[0] >= 0 and rows[-1] < len(vectors) and (np.diff(rows) > 0).all()):
            raise InputError(
                f"coded_rows must ascend from 0 to at most {len(vectors) - 1}, each row once; "
                f"they go from {rows.min()} to {rows.max()}"
            )
        self._quantizer = quantizer
        self._vectors = vectors
        self._exact = ExactCandidates(vectors)
        self._rescored = rescored
        self._probes = probes
        coded = np.zeros(len(vectors), np.bool_)
        coded[rows] = True
        self._fresh = np.flatnonzero(~coded)
        self._coded = len(rows)
        numbers = quantizer.list_of(codes)
        self._count = 1 if quantizer.lists is None else len(quantizer.lists)
        if len(numbers) and numbers.max() >= self._count:
            raise InputError(
                f"a code is of list {numbers.max()}, and there are {self._count}; the codes are damaged or another "
                "quantizer's: encode the vectors again"
            )
        self._sizes = np.bincount(numbers, minlength=self._count)
        self._list_of = np.full(len(vectors), self._count, np.uint16)  # rows without a code are in none
        self._list_of[rows] = numbers
        self._codes, self._keep = _inverted_file(quantizer, codes, rows, numbers)

    def __len__(self) -> int:
        return len(self._vectors)

    def __repr__(self) -> str:
        return f"<FaissCandidates {len(self)} rows, {self._coded} of them coded, {self._quantizer!r}>"

    def search(
        self, queries: NDArray[np.float32], depth: int, *, allowed: NDArray[np.bool_] | None = None
    ) -> Found:
        queries = checked_queries(queries, depth, allowed, rows=len(self), dim=self._vectors.dim)
        count = len(self) if allowed is None else int(np.count_nonzero(allowed))
        depth = min(depth, count)
        scanned = max(self._rescored, RESCORED_PER_ROW * depth)
        if not depth or count <= max(2 * scanned, scanned + len(self) // SCANNED_PER_TAKEN):
            return self._exact.search(queries, max(1, depth), allowed=allowed)
        most = (
            min(self._coded, MOST_RESCORED * scanned)
            if allowed is None
            else min(count, len(self) // TAKEN_SHARE)  # reading all in order costs no more than these
        )
        fresh = self._fresh if allowed is None else self._fresh[allowed[self._fresh]]
        new = score_rows(self._vectors, queries, fresh, depth)
        sizes = self._sizes
        if allowed is not None and self._count > 1:
            sizes = np.bincount(self._list_of[allowed], minlength=self._count + 1)[:-1]
        return stacked(
            [
                self._best(query, depth, scanned, most, allowed, sizes, one)
                for query, one in zip(queries, new, strict=True)
            ],
            depth,
        )

    def _best(
        self,
        query: NDArray[np.float32],
        depth: int,
        scanned: int,
        most: int,
        allowed: NDArray[np.bool_] | None,
        sizes: NDArray[np.int64],
        new: tuple[NDArray[np.int64], NDArray[np.float32]],
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The best rows for one query, ``new`` ones without a code among them.

        Rows that were scored again say how far codes are off. Where a row that was not might well be better than the
        last one found, more are scored: after a filter that leaves none of the rows near the query, for instance. And
        the last one found says how many better ones can be expected in lists that were not read. Where more than
        ``most`` would have to be scored again under a filter, all that it allows are scored.
        """
        by_mean = float(query @ self._quantizer.mean)  # the same for all rows
        probing: Probing | None = None
        if self._quantizer.lists is not None:
            prospect = self._quantizer.lists.prospect(query, sizes)
            probing = Probing(prospect, depth=depth, least=scanned, probes=self._probes)
        rows, scores = np.empty(0, np.int64), np.empty(0, np.float32)
        while True:
            known = rows, scores
            rows, by_code = self._scan(query, scanned, probing.lists if probing else ONE_LIST, allowed)
            scores = self._scored(query, rows, known)
            found = best(np.concatenate([rows, new[0]]), np.concatenate([scores, new[1]]), depth)
            enough = len(found[0]) == depth
            if probing is not None and probing.more(float(found[1][-1]) - by_mean if enough else None):
                continue
            if not enough:
                # The scan leaves out rows whose code is the worst one possible. It takes a gallery of copies of one
                # moment to notice, but a promise is a promise.
                break
            error = scores - by_code  # and ``by_mean``
            if len(rows) < scanned:
                return found
            doubtful = float(found[1][-1] - error.mean() - MARGIN * error.std())
            wanted = _rows_above(doubtful, by_code)
            if wanted <= scanned:
                return found
            if wanted >= most and allowed is not None:
                break
            if scanned >= most:
                return found
            scanned = min(max(int(MORE * scanned), wanted), most)
        exact = self._exact.search(query[None], depth, allowed=allowed)
        return exact.rows[0], exact.scores[0]

    def _scored(
        self,
        query: NDArray[np.float32],
        rows: NDArray[np.int64],
        known: tuple[NDArray[np.int64], NDArray[np.float32]],
    ) -> NDArray[np.float32]:
        """Dot products with some rows ``[row]``, ascending; of those that are ``known``, no vector is fetched again."""
        scores = np.empty(len(rows), np.float32)
        shared, here, there = np.intersect1d(rows, known[0], assume_unique=True, return_indices=True)
        missing = np.ones(len(rows), np.bool_)
        if len(shared):
            scores[here] = known[1][there]
            missing[here] = False
        unknown = np.flatnonzero(missing)
        for start in range(0, len(unknown), TAKEN_AT_ONCE):
            some = unknown[start : start + TAKEN_AT_ONCE]
            scores[some] = dot_products(query[None], self._vectors.take(rows[some]))[0]
        return scores

    def _scan(
        self,
        query: NDArray[np.float32],
        depth: int,
        lists: NDArray[np.int64],
        allowed: NDArray[np.bool_] | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The ``depth`` allowed rows of some lists with the best codes, ascending as they lie in memory, and their
        scores by code."""
        import faiss

        parameters: Any = faiss.SearchParametersIVF()
        parameters.nprobe = len(lists)
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")
            selector: Any = faiss.IDSelectorBitmap
            parameters.sel = kept = selector(bits)  # parameters only point to it
            assert kept
        rotated = query[None] @ self._quantizer.rotation
        count = max(1, min(depth, self._coded))
        unused = np.zeros(
            len(lists), np.float32
        )  # scores of centroids: codes are not of differences from them
        scores, ids = np.empty(count, np.float32), np.empty(count, np.int64)
        # One query at a time: faiss starts OpenMP threads for several, beside those of whoever calls.
        self._codes.search_preassigned_c(
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
        order = np.argsort(ids)[np.count_nonzero(ids < 0) :]  # -1 stands for no more rows
        return ids[order], scores[order]


def _rows_above(score: float, best: NDArray[np.float32]) -> int:
    """How many rows have a score by code above some value, as far as the best ones tell.

    Half of these lie above a score in their midst. Below the last one, rows are taken to double in number as often as
    that is apart from the last; the further from the best, the slower they do, so that this is rather too many.
    """
    half = len(best) // 2
    middle, last = np.partition(best, half)[half], best.min()
    if score >= last:
        return len(best)
    doublings = (last - score) / max(middle - last, LEAST_STEP)
    return int(len(best) * 2 ** min(float(doublings), MOST_DOUBLINGS))


def _inverted_file(
    quantizer: Quantizer, codes: NDArray[np.uint8], rows: NDArray[np.int64], numbers: NDArray[np.uint16]
) -> tuple[Any, Any]:
    """The index that is scanned, and what has to live as long as it."""
    import faiss

    parts, _, width = quantizer.centroids.shape
    dim = parts * width
    count = 1 if quantizer.lists is None else len(quantizer.lists)
    origin = faiss.IndexFlatIP(dim)  # empty: which lists are read is not for faiss to say
    index: Any = faiss.IndexIVFPQFastScan(origin, dim, count, parts, 4, faiss.METRIC_INNER_PRODUCT)
    index.by_residual = False
    faiss.copy_array_to_vector(quantizer.centroids.reshape(-1), index.pq.centroids)
    index.is_trained = True
    index.ntotal = len(rows)
    for number, ids, blocks in _lists(codes, rows, numbers, quantizer.list_bytes):
        index.invlists.add_entries(number, len(ids), faiss.swig_ptr(ids), faiss.swig_ptr(blocks))
    return index, origin


def _lists(
    codes: NDArray[np.uint8], rows: NDArray[np.int64], numbers: NDArray[np.uint16], list_bytes: int
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.uint8]]]:
    """Every list that has rows: its number, its rows, and their codes as :func:`packed`.

    Lists are packed some at a time, since each has but a few blocks.
    """
    if not list_bytes:
        if len(rows):
            yield 0, rows, packed(codes)
        return
    whole = np.ascontiguousarray(codes).view(f"V{codes.shape[1]}")[:, 0]  # a row moves as one thing
    width = codes.shape[1] - list_bytes
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
                yield number, own_rows, blocks[block_start[number - first] :]
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
