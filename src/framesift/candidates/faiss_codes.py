"""Candidates from short codes: all are scanned with faiss, and the best scored again from their exact vectors."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ShapeError
from .asking import checked_queries
from .base import CandidateIndex, Found, Vectors
from .best import best, stacked
from .exact import ExactCandidates, dot_products, score_rows
from .quantizer import Quantizer

__all__ = ["FaissCandidates", "Quantizer", "packed"]

RESCORED_PER_ROW = 4  # at least so many rows are scored again for each that is wanted
MARGIN = 3.0  # standard deviations of a code's error that lie between the last row found and the last one scored again
MOST_RESCORED = (
    8  # times what is scored again at first; past that, scores are so dense that rows differ by little
)
SCANNED_PER_TAKEN = 256  # codes that are scanned in the time in which one scattered row is taken and scored
BLOCK_ROWS = 32  # rows that the scan compares at once
HALF = [0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15]  # faiss, pq4_fast_scan.cpp: perm0
ROW_ORDER = np.array([*HALF, *(16 + row for row in HALF)])
PACKED_AT_ONCE = 128  # blocks: 256 KiB of codes stay in the processor's cache


class FaissCandidates(CandidateIndex):
    """Scans codes, then scores the best rows from their vectors.

    The codes lie in an inverted file of one list, because faiss's flat fast scan knows no filter and this one does. A
    filter acts within the scan: it costs next to nothing and the rows scored again are all allowed ones.

    Args:
        quantizer: made the codes.
        codes: ``[coded, code_bytes]``; copied into another order, in some 0.2 s a million.
        coded_rows: the row of each code, ``[coded]`` ascending. Rows without a code are scored exactly.
        vectors: of all rows.
        rescored: how many rows are scored again at first, but at least four times the depth; more where scores leave
            doubt.

    Raises:
        ShapeError: the arguments do not fit one another.
        InputError: ``coded_rows`` do not ascend, or are not rows of ``vectors``.
    """

    name: ClassVar[str] = "faiss"

    def __init__(
        self,
        quantizer: Quantizer,
        codes: NDArray[np.uint8],
        coded_rows: NDArray[np.int64],
        vectors: Vectors,
        rescored: int = 1000,
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
        coded = np.zeros(len(vectors), np.bool_)
        coded[rows] = True
        self._fresh = np.flatnonzero(~coded)
        self._coded = len(rows)
        self._codes, self._keep = _one_list(quantizer, codes, rows)

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
        fresh = self._fresh if allowed is None else self._fresh[allowed[self._fresh]]
        new = score_rows(self._vectors, queries, fresh, depth)
        return stacked(
            [
                self._best(query, depth, scanned, allowed, one)
                for query, one in zip(queries, new, strict=True)
            ],
            depth,
        )

    def _best(
        self,
        query: NDArray[np.float32],
        depth: int,
        scanned: int,
        allowed: NDArray[np.bool_] | None,
        new: tuple[NDArray[np.int64], NDArray[np.float32]],
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The best rows for one query, ``new`` ones without a code among them.

        Rows that were scored again say how far codes are off. Where a row that was not might well be better than the
        last one found, more are scored: after a filter that leaves none of the rows near the query, for instance.
        """
        most = min(self._coded, MOST_RESCORED * scanned)
        while True:
            rows, by_code = self._scan(query, scanned, allowed)
            scores = dot_products(query[None], self._vectors.take(rows))[0]
            found = best(np.concatenate([rows, new[0]]), np.concatenate([scores, new[1]]), depth)
            if len(found[0]) < depth:
                # The scan leaves out rows whose code is the worst one possible. It takes a gallery of copies of one
                # moment to notice, but a promise is a promise.
                exact = self._exact.search(query[None], depth, allowed=allowed)
                return exact.rows[0], exact.scores[0]
            error = scores - by_code  # and the query's product with the mean, the same for all rows
            if scanned >= most or len(rows) < scanned:
                return found
            if found[1][-1] >= by_code.min() + error.mean() + MARGIN * error.std():
                return found
            scanned = min(2 * scanned, most)

    def _scan(
        self, query: NDArray[np.float32], depth: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The ``depth`` allowed rows with the best codes, ascending as they lie in memory, and their scores by code."""
        import faiss

        parameters: Any = faiss.SearchParametersIVF()
        parameters.nprobe = 1
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")
            selector: Any = faiss.IDSelectorBitmap
            parameters.sel = kept = selector(bits)  # parameters only point to it
            assert kept
        rotated = query[None] @ self._quantizer.rotation
        # One query at a time: faiss starts OpenMP threads for several, beside those of whoever calls.
        scores, ids = self._codes.search(rotated, max(1, min(depth, self._coded)), params=parameters)
        order = np.argsort(ids[0])[np.count_nonzero(ids[0] < 0) :]  # -1 stands for no more rows
        return ids[0, order], scores[0, order]


def _one_list(quantizer: Quantizer, codes: NDArray[np.uint8], rows: NDArray[np.int64]) -> tuple[Any, Any]:
    """The index that is scanned, and what has to live as long as it."""
    import faiss

    parts, _, width = quantizer.centroids.shape
    dim = parts * width
    origin = faiss.IndexFlatIP(dim)
    origin.add(np.zeros((1, dim), np.float32))
    index: Any = faiss.IndexIVFPQFastScan(origin, dim, 1, parts, 4, faiss.METRIC_INNER_PRODUCT)
    index.by_residual = False
    faiss.copy_array_to_vector(quantizer.centroids.reshape(-1), index.pq.centroids)
    index.is_trained = True
    if len(rows):
        blocks = packed(codes)  # named, since a pointer does not keep it alive
        index.invlists.add_entries(0, len(rows), faiss.swig_ptr(rows), faiss.swig_ptr(blocks))
    index.ntotal = len(rows)
    return index, origin


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
