"""Candidates from short codes: they are scanned with faiss, and the best scored again from their exact vectors.

Without lists (see :mod:`.lists`) all codes are scanned, with them those of some lists.
"""

from __future__ import annotations

import threading
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ShapeError
from .asking import checked_queries
from .base import CandidateIndex, Found, Vectors
from .best import best, stacked
from .exact import TAKEN_AT_ONCE, TAKEN_SHARE, ExactCandidates, dot_products, score_rows
from .inverted import InvertedFile, Packed
from .lists import Probing
from .quantizer import Quantizer

__all__ = ["FaissCandidates", "Quantizer"]

RESCORED_PER_ROW = 4  # at least so many rows are scored again for each that is wanted
MARGIN = 3.0  # standard deviations of a code's error that lie between the last row found and the last one scored again
MOST_RESCORED = 8
"""Times what is scored again at first, without a filter; past that, scores are so dense that rows differ by little. A
filter may leave nothing but such rows: under one, as many are scored as it takes, all of them in the end."""
LEAST_STEP = 1e-9  # between scores of copies
MOST_DOUBLINGS = 32.0  # more rows than there are
MORE = 1.5  # times as many rows at least when a query scans again, so that it does not scan often
SCANNED_PER_TAKEN = 256  # codes that are scanned in the time in which one scattered row is taken and scored
ONE_LIST = np.zeros(1, np.int64)


class FaissCandidates(CandidateIndex):
    """Scans codes, then scores the best rows from their vectors.

    The codes lie in an inverted file, of one list where the quantizer has none, because faiss's flat fast scan knows no
    filter and this one does. A filter acts within the scan: it costs next to nothing and the rows scored again are all
    allowed ones.

    Args:
        quantizer: made the codes.
        codes: ``[coded, code_bytes]``; copied into another order, in less than a second for five million.
        coded_rows: the row of each code, ``[coded]`` ascending. Rows without a code are scored exactly.
        vectors: of all rows.
        rescored: how many rows are scored again at first, but at least four times the depth; more where scores leave
            doubt, and under a filter all that it allows where that is less work.
        probes: how many lists are read for a query; None: as many as it takes to find what reading all would find.
            Without lists it has no effect.
        packed: codes of other rows, by the same quantizer, that were brought into that order before.

    Raises:
        ShapeError: the arguments do not fit one another.
        InputError: ``coded_rows`` do not ascend, or are not rows of ``vectors``, or have packed codes, too; a code is
            of a list that there is not.
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
        *,
        packed: Packed | None = None,
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
        numbers = quantizer.list_of(codes)
        self._count = quantizer.num_lists
        if len(numbers) and numbers.max() >= self._count:
            raise InputError(
                f"a code is of list {numbers.max()}, and there are {self._count}; the codes are damaged or another "
                "quantizer's: encode the vectors again"
            )
        self._list_of = np.full(len(vectors), self._count, np.uint16)  # rows without a code are in none
        self._coded = len(rows)
        self._files: list[InvertedFile] = []
        self._packed = packed
        self._lock = threading.Lock()
        if packed is not None:
            self._files.append(InvertedFile.of_packed(quantizer, packed))
            self._coded += self._place(packed)
        if len(rows) or packed is None:
            if (self._list_of[rows] < self._count).any():
                raise InputError("a row has a packed code and another one; give each row one code")
            self._files.append(InvertedFile.of_codes(quantizer, codes, rows))
        self._list_of[rows] = numbers
        self._sizes = np.bincount(self._list_of, minlength=self._count + 1)[:-1]
        self._fresh = np.flatnonzero(self._list_of == self._count)

    def _place(self, packed: Packed) -> int:
        """Note the lists of packed codes; how many rows have one."""
        rows, numbers = packed.rows, packed.list_of
        if rows is None:
            self._list_of[: len(numbers)] = numbers
            return len(numbers)
        there = rows >= 0
        self._list_of[rows[there]] = numbers[there]
        return int(np.count_nonzero(there))

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
        rotated = query[None] @ self._quantizer.rotation
        depth = max(1, min(depth, self._coded))
        files = self._sound(lists)
        found = [file.scan(rotated, depth, lists, allowed) for file in files]
        if len(found) == 1:
            return found[0]
        rows, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
        rows, scores = best(rows, scores, depth)
        order = np.argsort(rows)
        return rows[order], scores[order]

    def _sound(self, lists: NDArray[np.int64]) -> list[InvertedFile]:
        """What is scanned; packed codes that are found to be damaged are replaced by others first."""
        if (packed := self._packed) is None or packed.whole(lists):
            return self._files
        with self._lock:
            if self._packed is packed:
                codes, rows = packed.unpacked()
                again = InvertedFile.of_codes(self._quantizer, codes, np.ascontiguousarray(rows, np.int64))
                self._files = [again, *self._files[1:]]
                self._packed = None
            return self._files


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
