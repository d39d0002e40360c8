"""Candidates from short codes: 4-bit product quantisation scanned with faiss, and the best scored again from their
exact vectors."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ShapeError
from .asking import checked_queries
from .base import CandidateIndex, Found, Vectors
from .best import best, stacked
from .exact import ExactCandidates, score_rows

if TYPE_CHECKING:
    import faiss

__all__ = ["FaissCandidates", "Quantizer"]

MAGIC = b"framesift codes 1\n"
FEW_ALLOWED = 20_000  # rows: so many are scored exactly in about the time in which all codes are scanned
RESCORED_PER_ROW = 4  # at least so many rows are scored again for each that is wanted

HALF = np.array([0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15])  # faiss, pq4_pack_codes: perm0
ROW_ORDER = np.concatenate([HALF, HALF + 16])
PACKED_AT_ONCE = 128  # blocks: 256 KiB of codes stay in the processor's cache


class Quantizer:
    """Turns unit vectors into short codes; made by :meth:`train` or :meth:`from_bytes`.

    Attributes:
        dim: width of the vectors.
        code_bytes: bytes of a code.
        digest: identifies it: codes of one quantizer mean nothing to another.
    """

    def __init__(self, mean: NDArray[np.float32], centroids: NDArray[np.float32]) -> None:
        self._mean = mean  # [dim]
        self._centroids = centroids  # [part, 16, width]
        self.dim = len(mean)
        self.parts = len(centroids)
        self.code_bytes = (self.parts + 1) // 2
        self.digest = hashlib.sha256(self.to_bytes()).hexdigest()[:16]

    def __repr__(self) -> str:
        return f"<Quantizer {self.dim} -> {self.code_bytes} bytes, {self.digest}>"

    @property
    def padded(self) -> int:
        """Width of what is coded: ``dim``, filled up with zeros to whole parts."""
        return self.parts * self._centroids.shape[2]

    @property
    def centroids(self) -> NDArray[np.float32]:
        """``[part, 16, width]``."""
        return self._centroids

    @classmethod
    def train(cls, sample: NDArray[np.float32], *, seed: int = 0) -> Self:
        """Learns from a sample of the vectors.

        Args:
            sample: ``[row, dim]``; 10,000 to 100,000 rows, drawn at random, are enough.
            seed: of the clustering; the same sample and seed give the same quantizer.

        Raises:
            InputError: fewer than 16 rows, or a value is not finite.
        """
        import faiss

        if sample.ndim != 2 or len(sample) < 16:
            raise InputError(
                f"a quantizer learns from at least 16 vectors [row, dim], not {list(sample.shape)}"
            )
        if not np.isfinite(sample).all():
            raise InputError("the vectors that a quantizer learns from hold values that are not finite")
        mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
        width = 4 if sample.shape[1] >= 256 else 2 if sample.shape[1] >= 128 else 1
        parts = -(-sample.shape[1] // width)
        quantizer = faiss.ProductQuantizer(parts * width, parts, 4)
        quantizer.cp.seed = seed
        quantizer.cp.min_points_per_centroid = 1
        quantizer.train(_padded(sample - mean, parts * width))
        centroids = faiss.vector_to_array(quantizer.centroids).reshape(parts, 16, width)
        return cls(mean, centroids)

    def encode(self, vectors: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Codes, ``[row, code_bytes]``, of vectors ``[row, dim]``.

        Raises:
            ShapeError: the vectors are of another width.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise ShapeError("vectors", expected=f"[row, {self.dim}]", got=list(vectors.shape))
        return self._faiss().compute_codes(_padded(vectors - self._mean, self.padded))

    def to_bytes(self) -> bytes:
        """For a file; :meth:`from_bytes` reads it."""
        head = json.dumps({"dim": self.dim, "centroids": list(self._centroids.shape)}).encode()
        body = struct.pack("<I", len(head)) + head + self._mean.tobytes() + self._centroids.tobytes()
        return MAGIC + hashlib.sha256(body).digest() + body

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The quantizer that :meth:`to_bytes` wrote.

        Raises:
            InputError: the bytes are not such, or damaged.
        """
        start = len(MAGIC) + 32
        if data[: len(MAGIC)] != MAGIC:
            raise InputError(
                f"not a quantizer: it begins with {data[:20]!r} and not with {MAGIC!r}; build it again"
            )
        body = data[start:]
        if hashlib.sha256(body).digest() != data[len(MAGIC) : start]:
            raise InputError("the quantizer is damaged: its checksum differs; build it again")
        (length,) = struct.unpack_from("<I", body)
        head = json.loads(body[4 : 4 + length])
        numbers = np.frombuffer(body[4 + length :], np.float32)
        return cls(numbers[: head["dim"]], numbers[head["dim"] :].reshape(head["centroids"]))

    def _faiss(self) -> faiss.ProductQuantizer:
        import faiss

        quantizer = faiss.ProductQuantizer(self.padded, self.parts, 4)
        faiss.copy_array_to_vector(self._centroids.reshape(-1), quantizer.centroids)
        return quantizer


class FaissCandidates(CandidateIndex):
    """Scans codes, then scores the best rows from their vectors.

    Args:
        quantizer: made the codes.
        codes: ``[coded, code_bytes]``.
        coded_rows: the row of each code, ``[coded]`` ascending. Rows without a code are scored exactly.
        vectors: of all rows.
        rescored: how many rows are scored again; at least four times the depth.

    Raises:
        ShapeError: the arguments do not fit one another.
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
        import faiss

        if codes.shape != (len(coded_rows), quantizer.code_bytes):
            raise ShapeError(
                "codes", expected=f"[{len(coded_rows)}, {quantizer.code_bytes}]", got=list(codes.shape)
            )
        if vectors.dim != quantizer.dim:
            raise ShapeError("vectors", expected=f"[row, {quantizer.dim}]", got=[len(vectors), vectors.dim])
        self._quantizer = quantizer
        self._vectors = vectors
        self._exact = ExactCandidates(vectors)
        self._rescored = rescored
        coded = np.zeros(len(vectors), np.bool_)
        coded[coded_rows] = True
        self._fresh = np.flatnonzero(~coded)
        self._coded = len(coded_rows)
        coarse = faiss.IndexFlatIP(quantizer.padded)
        coarse.add(np.zeros((1, quantizer.padded), np.float32))
        index = faiss.IndexIVFPQFastScan(
            coarse, quantizer.padded, 1, quantizer.parts, 4, faiss.METRIC_INNER_PRODUCT
        )
        index.by_residual = False
        faiss.copy_array_to_vector(quantizer.centroids.reshape(-1), index.pq.centroids)
        index.is_trained = True
        codes = _blocks_of_32(codes)
        ids = np.ascontiguousarray(coded_rows, np.int64)
        if len(ids):
            index.invlists.add_entries(0, len(ids), faiss.swig_ptr(ids), faiss.swig_ptr(codes))
        index.ntotal = len(ids)
        self._index = index
        self._coarse = coarse  # the index only points to it

    def __len__(self) -> int:
        return len(self._vectors)

    def __repr__(self) -> str:
        return f"<FaissCandidates {len(self)} rows, {self._coded} of them coded, {self._quantizer!r}>"

    def search(
        self, queries: NDArray[np.float32], depth: int, *, allowed: NDArray[np.bool_] | None = None
    ) -> Found:
        import faiss

        queries = checked_queries(queries, depth, allowed, rows=len(self), dim=self._vectors.dim)
        count = len(self) if allowed is None else int(np.count_nonzero(allowed))
        depth = min(depth, count)
        scanned = max(self._rescored, RESCORED_PER_ROW * depth)
        if count <= max(FEW_ALLOWED, 2 * scanned):
            return self._exact.search(queries, max(1, depth), allowed=allowed)
        fresh = self._fresh if allowed is None else self._fresh[allowed[self._fresh]]
        parameters = faiss.SearchParametersIVF(nprobe=1)
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")
            parameters = faiss.SearchParametersIVF(nprobe=1, sel=faiss.IDSelectorBitmap(bits))
        new = score_rows(self._vectors, queries, fresh, depth)
        found: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
        for query, (new_rows, new_scores) in zip(queries, new, strict=True):
            _, ids = self._index.search(
                _padded(query[None], self._quantizer.padded), min(scanned, self._coded), params=parameters
            )
            rows = np.sort(ids[0][ids[0] >= 0])
            scores = self._vectors.take(rows) @ query
            found.append(best(np.concatenate([rows, new_rows]), np.concatenate([scores, new_scores]), depth))
        return stacked(found)


def _blocks_of_32(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Codes in the order in which the scan reads them (faiss, pq4_fast_scan.cpp, pq4_pack_codes): a block is 32 rows; in
    it, for each byte of a code, 16 bytes with the low and 16 with the high halves, two rows a byte.
    faiss packs only what it has encoded itself, and would encode all vectors again at every start."""
    count, width = codes.shape
    packed = np.zeros((-(-count // 32), width, 2, 16), np.uint8)
    for start in range(0, len(packed), PACKED_AT_ONCE):
        some = codes[start * 32 : (start + PACKED_AT_ONCE) * 32]
        if len(some) % 32:
            some = np.pad(some, ((0, -len(some) % 32), (0, 0)))
        column = some.reshape(-1, 32, width)[:, ROW_ORDER].transpose(0, 2, 1)  # [block, byte, row]
        first, second = column[..., :16], column[..., 16:]
        out = packed[start : start + PACKED_AT_ONCE]
        out[:, :, 0] = (first & 15) | (second << 4)
        out[:, :, 1] = (first >> 4) | (second & 240)
    return packed


def _padded(vectors: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    if vectors.shape[1] == width:
        return np.ascontiguousarray(vectors, np.float32)
    return np.pad(vectors, ((0, 0), (0, width - vectors.shape[1]))).astype(np.float32)
