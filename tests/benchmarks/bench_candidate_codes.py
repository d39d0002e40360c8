"""Which short codes put the best rows first: how many rows have to be scored again, and what a scan costs.

    ./run bench candidate-codes

Every coding scans its codes for the same queries; reported is the share of the exact best 100 among the first 100 to
4000 rows by code, and CPU time of a scan. On two galleries: sampled from a trained model's distribution (see
growth_gallery.py), and a mixture whose spectrum falls off slowly, where queries lie between rows.

- ``PQ``: 4-bit product quantisation with fast scan, 64 bytes, of the vectors as they are.
- ``PQ, centred, rotated``: less the mean, and randomly rotated.
- ``PQ, centred, balanced PCA``: principal directions dealt out to parts of equal product of variances, which is what
  optimised product quantisation starts from (Ge et al., 2013).
- ``ours``: :class:`framesift.candidates.Quantizer`.
- ``RaBitQ``: one bit a dimension with fast scan, 72 bytes, centred and rotated.

One thread; 200,000 rows take some 3 minutes of one core and 2 GB (rendering the scenes, once, 3 minutes more).
"""
# ruff: noqa: E402

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"  # before the libraries start their threads

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from growth_gallery import GrowthGallery, Material, unit
from numpy.typing import NDArray
from record import keep, machine

from framesift.candidates import Quantizer

Floats = NDArray[np.float32]
Scan = Callable[[Floats, int], NDArray[np.int64]]
DIM, PARTS = 512, 128
BEST = 100
FIRST = (100, 200, 300, 500, 1000, 2000, 4000)
SAMPLE = 20_000


def product_quantiser(vectors: Floats, sample: Floats, rotation: Floats) -> Scan:
    """faiss's own, of rotated vectors."""
    index = faiss.IndexPQFastScan(rotation.shape[1], PARTS, 4, faiss.METRIC_INNER_PRODUCT)
    index.train(sample @ rotation)
    index.add(vectors @ rotation)
    return lambda query, count: index.search(query[None] @ rotation, count)[1][0]


def as_is(vectors: Floats, sample: Floats) -> Scan:
    return product_quantiser(vectors, sample, np.eye(DIM, dtype=np.float32))


def rotated(vectors: Floats, sample: Floats) -> Scan:
    mean = sample.mean(axis=0)
    return product_quantiser(vectors - mean, sample - mean, random_rotation())


def balanced(vectors: Floats, sample: Floats) -> Scan:
    mean = sample.mean(axis=0)
    variances, directions = np.linalg.eigh(np.cov((sample - mean).T))
    load, members = np.zeros(PARTS), [[] for _ in range(PARTS)]
    for direction in np.argsort(-variances):
        open_parts = [part for part in range(PARTS) if len(members[part]) < DIM // PARTS]
        part = min(open_parts, key=lambda part: load[part])
        members[part].append(direction)
        load[part] += np.log(max(variances[direction], 1e-12)) - np.log(1e-12)
    rotation = directions[:, np.concatenate(members)].astype(np.float32)
    return product_quantiser(vectors - mean, sample - mean, np.ascontiguousarray(rotation))


def ours(vectors: Floats, sample: Floats) -> Scan:
    quantizer = Quantizer.train(sample)
    parts, _, width = quantizer.centroids.shape
    index = faiss.IndexPQFastScan(parts * width, parts, 4, faiss.METRIC_INNER_PRODUCT)
    faiss.copy_array_to_vector(quantizer.centroids.reshape(-1), index.pq.centroids)
    index.is_trained = True
    index.add((vectors - quantizer.mean) @ quantizer.rotation)
    return lambda query, count: index.search(query[None] @ quantizer.rotation, count)[1][0]


def rabitq(vectors: Floats, sample: Floats) -> Scan:
    mean, rotation = sample.mean(axis=0), random_rotation()
    index = faiss.IndexRaBitQFastScan(DIM, faiss.METRIC_INNER_PRODUCT)
    index.train((sample - mean) @ rotation)
    index.add((vectors - mean) @ rotation)
    return lambda query, count: index.search(query[None] @ rotation, count)[1][0]


CODINGS: dict[str, Callable[[Floats, Floats], Scan]] = {
    "PQ": as_is,
    "PQ, centred, rotated": rotated,
    "PQ, centred, balanced PCA": balanced,
    "ours": ours,
    "RaBitQ": rabitq,
}


def random_rotation() -> Floats:
    return np.linalg.qr(np.random.default_rng(0).standard_normal((DIM, DIM)))[0].astype(np.float32)


def sampled(rows: int, queries: int, folder: Path) -> tuple[Floats, Floats]:
    gallery = GrowthGallery(Material.of(folder), moments=rows, dim=DIM)
    return np.concatenate(list(gallery.vectors())), gallery.queries[:queries]


def mixture(rows: int, queries: int, folder: Path) -> tuple[Floats, Floats]:
    """Clusters of twenty around a common mean; the variance of a direction falls off as one over its number."""
    rng = np.random.default_rng(1)
    spread = ((1 + np.arange(DIM)) ** -0.5).astype(np.float32)
    centres = rng.standard_normal((max(1, rows // 20), DIM), dtype=np.float32)
    raw = centres[rng.integers(len(centres), size=rows)]
    raw += 0.7 * rng.standard_normal((rows, DIM), dtype=np.float32)
    raw *= spread
    raw += np.linalg.norm(spread) / np.sqrt(DIM) * rng.standard_normal(DIM, dtype=np.float32)
    vectors = unit(raw)
    size = np.linalg.norm(vectors[0] - vectors.mean(axis=0)) / np.linalg.norm(spread)
    noise = 1.5 * size * spread * rng.standard_normal((queries, DIM), dtype=np.float32)
    return vectors, unit(vectors[:queries] + noise)


def compare(vectors: Floats, queries: Floats) -> dict[str, Any]:
    rows = np.random.default_rng(0).permutation(len(vectors))[:SAMPLE]
    exact = [np.argpartition(-(vectors @ query), BEST)[:BEST] for query in queries]
    scans: dict[str, Scan] = {}
    for name, build in CODINGS.items():
        print(f"building {name}", file=sys.stderr, flush=True)
        scans[name] = build(vectors, vectors[rows])
    shares = {name: {first: [] for first in FIRST} for name in scans}
    cpu: dict[str, list[float]] = {name: [] for name in scans}
    for query, best in zip(queries, exact, strict=True):
        for name, scan in scans.items():
            started = time.process_time()
            scan(query, 1000)
            cpu[name].append(time.process_time() - started)
            found = scan(query, FIRST[-1])
            for first, values in shares[name].items():
                values.append(len(np.intersect1d(found[:first], best)) / BEST)
    return {
        name: {
            "share_of_best_100_in_first": {str(first): float(np.mean(each)) for first, each in one.items()},
            "scan_for_1000_cpu_ms": {
                "p50": float(np.median(cpu[name])) * 1e3,
                "over_ours": float(np.median(np.array(cpu[name]) / np.array(cpu["ours"]))),
            },
        }
        for name, one in shares.items()
    }


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where to keep the numbers")
    parser.add_argument("--material", type=Path, help="where rendered scenes are kept from run to run")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--queries", type=int, default=100)
    options = parser.parse_args()
    faiss.omp_set_num_threads(1)
    result: dict[str, Any] = {"rows": options.rows, "dim": DIM, "queries": options.queries}
    with tempfile.TemporaryDirectory() as folder:
        for name, draw in (("sampled from a model's distribution", sampled), ("mixture", mixture)):
            result[name] = compare(*draw(options.rows, options.queries, options.material or Path(folder)))
    result["machine"] = machine()
    keep(result, options.json)


if __name__ == "__main__":
    main()
