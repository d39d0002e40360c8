"""Short codes for unit vectors, so that a million of them can be scanned in a few milliseconds.

A vector less the mean is rotated, cut into parts, and each part replaced by the nearest of 16 centroids (product
quantisation: Jégou, Douze and Schmid, 2011): half a byte a part. A dot product with a query is then a sum over parts of
entries of a table, which the processor looks up 32 rows at a time (André, Kermarrec and Le Scouarnec, 2015).

Three things make the codes of a text-video model's embeddings better for the same bytes, so that fewer rows have to be
scored again; tests/benchmarks/bench_candidate_codes.py measures them:

- The mean goes. Such embeddings share a large one, which codes would spend their precision on, and a constant does not
  change the order of dot products.
- What is left lies mostly in fewer directions than there are dimensions. The leading ones (PCA) are kept, as many as
  give the least error in that many bytes; the exact vectors make up for the rest.
- The kept ones are mixed by a random rotation. Queries have most of their length where rows vary most: there an error
  would cost most, so it is spread evenly. (Dealing the directions out to parts of equal variance instead, as optimised
  product quantisation does, was better than a rotation alone and worse than this.)

A quantizer may also know lists of similar rows (see :mod:`.lists`); then a code begins with the number of its row's
list, so that whoever keeps codes need not know of them.

RaBitQ with fast scan (one bit a dimension, 72 bytes) needs more rows and nearly three times the CPU time of a scan.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ShapeError
from .lists import Lists

__all__ = ["Quantizer"]

MAGIC = b"framesift codes 1\n"
CENTROIDS = 16  # what 4 bits can name
LEAST_PARTS = 128  # 64 bytes a code: narrower vectors get them too, as far as they have dimensions
LIST_BYTES = 2
WIDEST_PART = 4  # dimensions; performance.md: PQ128x4 for 512
TRAINED_ON = 16_384  # rows: 1,000 a centroid; faiss's k-means takes a quarter of them
TESTED_ON = 4_096
CODED_AT_ONCE = 16_384  # rows rotated at once: 32 MiB at 512


class Quantizer:
    """Turns unit vectors into short codes; made by :meth:`train` or :meth:`from_bytes`.

    Attributes:
        dim: width of the vectors.
        parts: half-bytes of a code; even.
        code_bytes: bytes of a code; its first :attr:`list_bytes` are the number of a list, little-endian.
        list_bytes: 2 with lists, 0 without.
        lists: which lists of rows there are; None: none.
        num_lists: how many; without lists, all rows are in one.
        mean: what is subtracted first, ``[dim]``.
        rotation: into what is coded, ``[dim, parts x width]``; its columns are orthonormal, or its rows where these are
            fewer.
        centroids: ``[part, 16, width]``.
        digest: identifies it: codes of one quantizer mean nothing to another.
    """

    def __init__(
        self,
        *,
        mean: NDArray[np.float32],
        rotation: NDArray[np.float32],
        centroids: NDArray[np.float32],
        lists: Lists | None = None,
    ) -> None:
        self.mean = mean
        self.rotation = rotation
        self.centroids = centroids
        self.dim = len(mean)
        self.parts = len(centroids)
        self.lists = lists
        self.list_bytes = LIST_BYTES if lists else 0
        self.num_lists = len(lists) if lists else 1
        self.code_bytes = self.list_bytes + self.parts // 2
        self.digest = hashlib.sha256(self.to_bytes()).hexdigest()[:16]

    def __repr__(self) -> str:
        listed = f", {len(self.lists)} lists" if self.lists else ""
        return f"<Quantizer {self.dim} -> {self.code_bytes} bytes{listed}, {self.digest}>"

    @classmethod
    def train(cls, sample: NDArray[np.float32], *, lists: int = 0, seed: int = 0) -> Self:
        """Learns from a sample of the vectors, which takes some CPU seconds at 512.

        Args:
            sample: ``[row, dim]``, drawn at random; 20,000 rows are enough, or 16 a list, where that is more.
            lists: how many to learn, as :func:`.lists_for` advises; 0: none.
            seed: of the rotation and the clustering.

        Raises:
            ShapeError: ``sample`` is not ``[row, dim]``.
            InputError: it has fewer than 16 rows, or fewer rows than lists, or values that are not finite; or there
                cannot be so many lists.
        """
        if sample.ndim != 2 or not sample.shape[1]:
            raise ShapeError("sample", expected="[row, dim]", got=list(sample.shape))
        if len(sample) < CENTROIDS:
            raise InputError(
                f"a quantizer learns from at least {CENTROIDS} vectors, not {len(sample)}; score so few exactly"
            )
        if not np.isfinite(sample).all():
            row = int(np.argmin(np.isfinite(sample).all(axis=1)))
            raise InputError(f"a quantizer learns from finite vectors; row {row} of the sample is not finite")
        rng = np.random.default_rng(seed)
        chosen = np.asarray(sample[rng.permutation(len(sample))[: TRAINED_ON + TESTED_ON]], np.float32)
        mean = chosen.mean(axis=0, dtype=np.float64).astype(np.float32)
        centred = chosen - mean
        # Few rows are trained and tested on alike: what is compared are widths, on the same rows.
        seen, held = centred[:TRAINED_ON], centred[TRAINED_ON:] if len(centred) > TRAINED_ON else centred
        directions = np.linalg.eigh(centred.T.astype(np.float64) @ centred)[1][:, ::-1]  # leading ones first
        tried: list[tuple[float, Self]] = []
        for width in _widths(sample.shape[1]):
            parts = _parts(sample.shape[1])
            rotation = _rotation(directions, parts * width, rng)
            centroids = _centroids(seen @ rotation, parts, seed)
            one = cls(mean=mean, rotation=rotation, centroids=centroids)
            error = held - one.decode(one.encode(held + mean)) + mean
            tried.append((float(np.square(error).mean()), one))
        plain = min(tried, key=lambda pair: pair[0])[1]
        if not lists:
            return plain
        return cls(
            mean=mean,
            rotation=plain.rotation,
            centroids=plain.centroids,
            lists=Lists.train(np.asarray(sample, np.float32) - mean, directions, lists, seed=seed),
        )

    def encode(self, vectors: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Codes, ``[row, code_bytes]``, of vectors ``[row, dim]``.

        Raises:
            ShapeError: the vectors are of another width.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise ShapeError("vectors", expected=f"[row, {self.dim}]", got=list(vectors.shape))
        codes = np.empty((len(vectors), self.code_bytes), np.uint8)
        quantizer = _product_quantizer(self.centroids)
        for start in range(0, len(vectors), CODED_AT_ONCE):
            some = slice(start, start + CODED_AT_ONCE)
            centred = vectors[some] - self.mean
            codes[some, self.list_bytes :] = quantizer.compute_codes(centred @ self.rotation)
            if self.lists is not None:
                numbers = self.lists.numbers(centred).astype("<u2")
                codes[some, : self.list_bytes] = numbers[:, None].view(np.uint8)
        return codes

    def list_of(self, codes: NDArray[np.uint8]) -> NDArray[np.uint16]:
        """The list of every row, ``[row]``, by codes ``[row, code_bytes]``; 0 without lists."""
        if self.lists is None:
            return np.zeros(len(codes), np.uint16)
        return np.ascontiguousarray(codes[:, : self.list_bytes]).view("<u2")[:, 0].astype(np.uint16)

    def decode(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What codes ``[row, code_bytes]`` stand for, ``[row, dim]``."""
        short = np.ascontiguousarray(codes[:, self.list_bytes :])
        return _product_quantizer(self.centroids).decode(short) @ self.rotation.T + self.mean

    def to_bytes(self) -> bytes:
        """For a file; :meth:`from_bytes` reads it."""
        arrays = [self.mean, self.rotation, self.centroids]
        if self.lists is not None:
            arrays += [self.lists.directions, self.lists.centroids, self.lists.spread]
        head = json.dumps([list(array.shape) for array in arrays]).encode()
        body = (
            struct.pack("<I", len(head)) + head + b"".join(array.astype("<f4").tobytes() for array in arrays)
        )
        return MAGIC + hashlib.sha256(body).digest() + body

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The quantizer that :meth:`to_bytes` wrote.

        Raises:
            InputError: the bytes are not such, or damaged.
        """
        start = len(MAGIC) + hashlib.sha256().digest_size
        if data[: len(MAGIC)] != MAGIC:
            raise InputError(
                f"not a quantizer: it begins with {data[: len(MAGIC)]!r}, not with {MAGIC!r}; train it again"
            )
        body = data[start:]
        if hashlib.sha256(body).digest() != data[len(MAGIC) : start]:
            raise InputError(
                f"the quantizer is damaged: the checksum of its {len(data)} bytes differs; train it again"
            )
        (length,) = struct.unpack_from("<I", body)
        shapes = json.loads(body[4 : 4 + length])
        place = 4 + length
        arrays: list[NDArray[np.float32]] = []
        for shape in shapes:
            count = int(np.prod(shape))
            arrays.append(np.frombuffer(body, "<f4", count, place).astype(np.float32).reshape(shape))
            place += 4 * count
        mean, rotation, centroids, *of_lists = arrays
        lists = None
        if of_lists:
            directions, list_centroids, spread = of_lists
            lists = Lists(directions=directions, centroids=list_centroids, spread=spread)
        return cls(mean=mean, rotation=rotation, centroids=centroids, lists=lists)


def _parts(dim: int) -> int:
    parts = max(-(-dim // WIDEST_PART), min(dim, LEAST_PARTS))
    return parts + parts % 2  # two to a byte


def _widths(dim: int) -> range:
    """Widths of a part that may be best: from the leading directions alone to all of them."""
    return range(1, -(-dim // _parts(dim)) + 1)


def _rotation(directions: NDArray[np.float64], width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """The leading ``width`` directions ``[dim, direction]``, mixed; all of them, spread, where these are fewer."""
    mixed = np.linalg.qr(rng.standard_normal((width, width)))[0]
    kept = min(width, directions.shape[1])
    return np.ascontiguousarray(directions[:, :kept] @ mixed[:kept], np.float32)


def _centroids(rotated: NDArray[np.float32], parts: int, seed: int) -> NDArray[np.float32]:
    import faiss

    quantizer: Any = faiss.ProductQuantizer(rotated.shape[1], parts, 4)
    quantizer.cp.seed = seed
    quantizer.cp.min_points_per_centroid = 1  # few rows are no reason for a message on the terminal
    quantizer.train(rotated)
    return faiss.vector_to_array(quantizer.centroids).reshape(parts, CENTROIDS, -1)


def _product_quantizer(centroids: NDArray[np.float32]) -> Any:
    import faiss  # here, and not above: it takes a tenth of a second, and small galleries never need it

    parts, _, width = centroids.shape
    quantizer: Any = faiss.ProductQuantizer(parts * width, parts, 4)
    faiss.copy_array_to_vector(centroids.reshape(-1), quantizer.centroids)
    return quantizer
