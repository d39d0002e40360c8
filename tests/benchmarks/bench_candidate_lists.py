"""What a query costs as a gallery grows: all codes scanned, against those of the lists that promise something.

    ./run bench candidate-lists

Two galleries at several sizes: sampled from a trained model's distribution with captions as queries (see
growth_gallery.py), and a harder mixture, whose spectrum falls off slowly and whose queries lie around rows. At every
size both engines have the same codes and answer the same query in turn. Reported of each: CPU time of a query (user
and system), recall of the exact best 200, the share of all rows whose codes were read, how often a query scanned
again; what it took to train, to code, to assemble; the same with filters, of a random tenth of the rows and of the
tenth that is farthest from the query. At the end the slope of CPU time against rows, both as logarithms (1 is linear);
rows that are scored again are as many at every size and are part of that time.

One thread. The full run takes 8 to 10 minutes of one core, 3 GB of memory and 4 GB of disk in ``--folder`` (by default
a temporary one); 3 minutes more where scenes have to be rendered. ``--sizes 50000 100000 --mixture-sizes 50000
100000`` takes less than a minute.
"""

# ruff: noqa: E402
from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"  # before the libraries start their threads

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from bench_candidates import Floats, Timed, quartiles, recall, say, summary
from growth_gallery import GrowthGallery, Material, unit
from numpy.typing import NDArray
from record import keep, machine

from framesift.candidates import ArrayVectors, FaissCandidates, Quantizer
from framesift.candidates.lists import LISTS_FROM, LISTS_PER_ROOT

DIM = 512
DEPTH = 200
SAMPLE = 65_536  # rows that a quantizer learns from, as the cache of an index draws them
BLOCK = 16_384
ROWS_A_CLUSTER = 20
ALLOWED = 0.1  # share of the rows, with a filter


class Scanned(FaissCandidates):
    """Notes what it reads."""

    rows_read = 0
    scans = 0

    def _scan(
        self, query: Floats, depth: int, lists: NDArray[np.int64], allowed: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.int64], Floats]:
        self.rows_read += int(self._sizes[lists].sum())
        self.scans += 1
        return super()._scan(query, depth, lists, allowed)


def mixture(rows: int, queries: int) -> tuple[Iterator[Floats], Floats]:
    """As in bench_candidate_codes.py, block by block: clusters of twenty around a common mean; the variance of a
    direction falls off as one over its number. Queries lie around rows."""
    rng = np.random.default_rng(1)
    spread = ((1 + np.arange(DIM)) ** -0.5).astype(np.float32)
    common = np.linalg.norm(spread) / np.sqrt(DIM) * rng.standard_normal(DIM, dtype=np.float32)
    centres = rng.standard_normal((max(1, rows // ROWS_A_CLUSTER), DIM), dtype=np.float32)

    def some(count: int) -> Floats:
        noise = 0.7 * rng.standard_normal((count, DIM), dtype=np.float32)
        return (centres[rng.integers(len(centres), size=count)] + noise) * spread + common

    near = some(queries) + 1.5 * spread * rng.standard_normal((queries, DIM), dtype=np.float32)
    return (unit(some(min(BLOCK, rows - first))) for first in range(0, rows, BLOCK)), unit(near)


def sampled(rows: int, queries: int, material: Path) -> tuple[Iterator[Floats], Floats]:
    gallery = GrowthGallery(Material.of(material), moments=rows, dim=DIM)
    return gallery.vectors(), gallery.queries[:queries]


def measure(vectors: Floats, queries: Floats) -> dict[str, Any]:
    """Both engines over all vectors."""
    rows = len(vectors)
    drawn = np.sort(np.random.default_rng(0).permutation(rows)[:SAMPLE])
    count = round(LISTS_PER_ROOT * rows**0.5)
    with Timed() as training:
        listed = Quantizer.train(np.asarray(vectors[drawn]), lists=count)
    plain = Quantizer(mean=listed.mean, rotation=listed.rotation, centroids=listed.centroids)
    with Timed() as coding:
        codes = listed.encode(vectors)
    source, every = ArrayVectors(vectors), np.arange(rows)
    with Timed() as assembling:
        lists = Scanned(listed, codes, every, source)
    flat = Scanned(plain, np.ascontiguousarray(codes[:, listed.list_bytes :]), every, source)
    engines = {"all codes": flat, "lists": lists}
    result: dict[str, Any] = {
        "rows": rows,
        "lists": count,
        "train_cpu_s": training.cpu_s,
        "code_cpu_s": coding.cpu_s,
        "assemble_cpu_s": assembling.cpu_s,
        "list_rows": dict(
            zip(
                ("least", "median", "most"),
                np.percentile(np.bincount(listed.list_of(codes), minlength=count), [0, 50, 100]).tolist(),
                strict=True,
            )
        ),
        "engines": race(engines, vectors, queries, None),
    }
    rng = np.random.default_rng(3)
    allowed = rng.random(rows) < ALLOWED
    result["tenth_allowed"] = race(engines, vectors, queries, allowed)
    # Rows that the first query would never find.
    far = vectors @ queries[0]
    far = far <= np.quantile(far, ALLOWED)
    result["farthest_tenth_allowed"] = race(engines, vectors, queries[:1].repeat(5, axis=0), far)
    return result


def race(
    engines: dict[str, Scanned], vectors: Floats, queries: Floats, allowed: NDArray[np.bool_] | None
) -> dict[str, Any]:
    cpu: dict[str, list[float]] = {name: [] for name in engines}
    recalls: dict[str, list[float]] = {name: [] for name in engines}
    for one in engines.values():
        one.search(queries[:1], DEPTH, allowed=allowed)  # libraries set themselves up
        one.rows_read = one.scans = 0
    for query in queries:
        scores = vectors @ query
        if allowed is not None:
            scores[~allowed] = -np.inf
        for name, one in engines.items():
            with Timed() as timed:
                found = one.search(query[None], DEPTH, allowed=allowed).rows[0]
            cpu[name].append(timed.cpu_s)
            recalls[name].append(recall(found, scores, DEPTH))
    ratios = np.array(cpu["all codes"]) / np.array(cpu["lists"])
    return {
        "all_codes_over_lists": quartiles(ratios),
        **{
            name: {
                "cpu_ms": summary(cpu[name], 1e3),
                "recall_at_200": float(np.mean(recalls[name])),
                "least_recall_at_200": min(recalls[name]),
                "scans_a_query": one.scans / len(queries),
                "share_of_rows_read": one.rows_read / len(queries) / len(vectors),
            }
            for name, one in engines.items()
        },
    }


def slopes(measured: list[dict[str, Any]]) -> dict[str, float]:
    """Of CPU time against rows, as logarithms."""
    if len(measured) < 2:
        return {}
    rows = np.log([one["rows"] for one in measured])
    return {
        name: float(
            np.polyfit(rows, np.log([one["engines"][name]["cpu_ms"]["p50"] for one in measured]), 1)[0]
        )
        for name in ("all codes", "lists")
    }


def gallery(
    folder: Path, sizes: list[int], draw: Callable[[int], tuple[Iterator[Floats], Floats]]
) -> dict[str, Any]:
    measured: list[dict[str, Any]] = []
    path = folder / "vectors.npy"
    for rows in sizes:
        say(f"{rows} rows: drawing")
        blocks, queries = draw(rows)
        vectors: Floats = np.lib.format.open_memmap(path, "w+", np.float32, (rows, DIM))
        first = 0
        for block in blocks:
            vectors[first : first + len(block)] = block
            first += len(block)
        say(f"{rows} rows: measuring")
        measured.append(measure(vectors, queries))
        one = measured[-1]["engines"]
        for name in ("all codes", "lists"):
            one = measured[-1]["engines"][name]
            say(
                f"{name}: {one['cpu_ms']['p50']:.2f} ms, recall {one['recall_at_200']:.4f}, "
                f"{one['share_of_rows_read']:.3f} of the rows"
            )
        del vectors
        path.unlink()
    return {"sizes": measured, "log_log_slope_of_cpu": slopes(measured)}


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where to keep the numbers")
    parser.add_argument("--folder", type=Path, help="where the vectors lie while it runs (4 GB)")
    parser.add_argument("--material", type=Path, help="where rendered scenes are kept from run to run")
    parser.add_argument("--sizes", type=int, nargs="*", default=[250_000, 500_000, 1_000_000])
    parser.add_argument(
        "--mixture-sizes", type=int, nargs="*", default=[250_000, 500_000, 1_000_000, 2_000_000]
    )
    parser.add_argument("--queries", type=int, default=60)
    options = parser.parse_args()
    faiss.omp_set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        material = options.material or folder
        result = {
            "dim": DIM,
            "depth": DEPTH,
            "queries": options.queries,
            "lists_from_rows": LISTS_FROM,
            "sampled from a model's distribution": gallery(
                folder, options.sizes, lambda rows: sampled(rows, options.queries, material)
            ),
            "mixture": gallery(folder, options.mixture_sizes, lambda rows: mixture(rows, options.queries)),
            "machine": machine(),
        }
    keep(result, options.json)


if __name__ == "__main__":
    main()
