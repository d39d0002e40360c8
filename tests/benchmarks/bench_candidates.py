"""Candidates among a million moments: framesift's engines against numpy, torch and LanceDB, in one run.

    ./run bench candidates

Vectors are sampled from a trained model's distribution and queries are captions through its text tower (see
growth_gallery.py). All engines answer the same query before any answers the next. What is reported of each: CPU time
(user and system, of all threads of the process), wall time, recall of the exact best 10 and 100, bytes that it
searches. Then the same of ours for filters that allow a share of the rows: ``random`` ones; those of ``another topic``,
nearest to the row that scores worst, of which a search that filters what it has found would find none; the ``worst``
for the query, whose best lie where scores are densest, so that thousands differ by less than codes can tell, and have
to be scored again (by how much the last score falls short is reported, too). Then a gallery in which a moment is found
by its best frame.

One thread each. The full run takes some 10 minutes of one core, 9 GB of memory at most, and 7 GB of disk in
``--folder`` (by default a temporary one), where the rendered scenes are kept, too; 3 minutes more when
these have to be rendered. ``--moments 50000 --frame-moments 5000`` takes less than a minute.
"""

# ruff: noqa: E402
from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[variable] = "1"  # before the libraries start their threads

import argparse
import gc
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from candidate_peers import PEERS, Peer
from growth_gallery import FRAMES, GrowthGallery, Material, unit
from numpy.typing import NDArray
from record import keep, machine

from framesift.candidates import (
    ArrayVectors,
    ByFrame,
    CandidateIndex,
    ExactCandidates,
    FaissCandidates,
    Quantizer,
)

Floats = NDArray[np.float32]
DEPTH = 100
FEW = 10
TIE = 1e-6  # of a dot product: engines add up in different orders
FILTERS = (0.5, 0.1, 0.01, 0.0001)
ROW_BYTES = 8  # a code's row, beside it
SAMPLE = 20_000  # vectors that a quantizer learns from


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Timed:
    """CPU and wall seconds of what happens in its ``with`` block."""

    def __enter__(self) -> Timed:
        self._cpu, self._wall = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu_s, self.wall_s = time.process_time() - self._cpu, time.perf_counter() - self._wall


def framesift_peer(engine: CandidateIndex) -> Peer:
    return lambda query, depth: engine.search(query[None], depth).rows[0]


def recall(found: NDArray[np.int64], scores: Floats, depth: int) -> float:
    """Share of the exact best ``depth`` that was found; any of those that tie with the last will do."""
    depth = min(depth, int(np.isfinite(scores).sum()))
    least = np.partition(scores, len(scores) - depth)[len(scores) - depth]
    return float((scores[found[:depth]] >= least - TIE).sum()) / depth


def summary(values: list[float], scale: float = 1.0) -> dict[str, float]:
    p50, p99 = np.percentile(values, [50, 99]) * scale
    return {"p50": float(p50), "p99": float(p99), "mean": float(np.mean(values)) * scale, "n": len(values)}


def coded(vectors: Floats) -> tuple[FaissCandidates, dict[str, float]]:
    """Our approximate engine, and what it took to build."""
    rows = np.random.default_rng(0).permutation(len(vectors))[:SAMPLE]
    with Timed() as training:
        quantizer = Quantizer.train(np.asarray(vectors[np.sort(rows)]))
    with Timed() as encoding:
        codes = quantizer.encode(vectors)
    with Timed() as assembling:
        engine = FaissCandidates(quantizer, codes, np.arange(len(codes)), ArrayVectors(vectors))
    took = {
        "train_cpu_s": training.cpu_s,
        "encode_cpu_s": encoding.cpu_s,
        "assemble_cpu_s": assembling.cpu_s,
        "assemble_wall_s": assembling.wall_s,
        "code_bytes": quantizer.code_bytes,
        "coded_dimensions": quantizer.rotation.shape[1],
    }
    return engine, took


def race(engines: dict[str, tuple[Peer, int]], vectors: Floats, queries: Floats, few: int) -> dict[str, Any]:
    """Every engine with every query in turn; LanceDB only with the first ``few``."""
    cpu: dict[str, list[float]] = {name: [] for name in engines}
    wall: dict[str, list[float]] = {name: [] for name in engines}
    recalls: dict[str, list[tuple[float, float]]] = {name: [] for name in engines}
    for number, query in enumerate(queries):
        scores = vectors @ query
        for name, (search, _) in engines.items():
            if name == "LanceDB flat" and number >= few:
                continue
            if number == 0:
                search(query, DEPTH)  # libraries set themselves up
            with Timed() as timed:
                found = search(query, DEPTH)
            cpu[name].append(timed.cpu_s)
            wall[name].append(timed.wall_s)
            recalls[name].append((recall(found, scores, FEW), recall(found, scores, DEPTH)))
    ours = np.array(cpu["framesift faiss"])
    return {
        name: {
            "cpu_ms": summary(cpu[name], 1e3),
            "wall_ms": summary(wall[name], 1e3),
            "recall_at": dict(zip(("10", "100"), np.mean(recalls[name], axis=0).tolist(), strict=True)),
            "least_recall_at_100": min(one for _, one in recalls[name]),
            "bytes": size,
            "cpu_over_framesift_faiss": quartiles(np.array(cpu[name]) / ours[: len(cpu[name])]),
        }
        for name, (_, size) in engines.items()
    }


def quartiles(ratios: NDArray[np.float64]) -> dict[str, float]:
    low, median, high = np.percentile(ratios, [25, 50, 75])
    return {"median": float(median), "lower_quartile": float(low), "upper_quartile": float(high)}


def filtered(engines: dict[str, CandidateIndex], vectors: Floats, queries: Floats) -> list[dict[str, Any]]:
    """Ours with filters that allow a share of the rows."""
    rng = np.random.default_rng(0)
    results: list[dict[str, Any]] = []
    for share in FILTERS:
        count = max(1, round(share * len(vectors)))
        for kind in ("random", "another topic", "worst"):
            seen: dict[str, dict[str, list[float]]] = {
                name: {"cpu": [], "recall": [], "short": []} for name in engines
            }
            for query in queries:
                scores = vectors @ query
                allowed = np.zeros(len(scores), np.bool_)
                allowed[chosen(kind, vectors, scores, count, rng)] = True
                scores[~allowed] = -np.inf
                last = np.sort(scores)[-min(DEPTH, count)]
                for name, engine in engines.items():
                    with Timed() as timed:
                        found = engine.search(query[None], DEPTH, allowed=allowed)
                    if found.rows.shape[1] != min(DEPTH, count) or not allowed[found.rows].all():
                        raise SystemExit(f"{name} broke its promise with {kind} filters of {share}")
                    seen[name]["cpu"].append(timed.cpu_s)
                    seen[name]["recall"].append(recall(found.rows[0], scores, DEPTH))
                    seen[name]["short"].append(max(0.0, float(last - scores[found.rows[0, -1]])))
            for name, one in seen.items():
                results.append(
                    {
                        "engine": name,
                        "allowed_share": share,
                        "filter": kind,
                        "cpu_ms": summary(one["cpu"], 1e3),
                        "recall_at_100": float(np.mean(one["recall"])),
                        "least_recall_at_100": min(one["recall"]),
                        "last_score_short_by": max(one["short"]),
                    }
                )
    return results


def chosen(
    kind: str, vectors: Floats, scores: Floats, count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """The ``count`` rows that a filter allows."""
    if kind == "random":
        return rng.permutation(len(scores))[:count]
    if kind == "another topic":
        return np.argsort(-(vectors @ vectors[int(np.argmin(scores))]))[:count]
    return np.argsort(scores)[:count]


def by_frame(gallery: GrowthGallery, folder: Path, queries: Floats) -> dict[str, Any]:
    """Moments found by their best frame, exactly and by codes."""
    count = gallery.moments * FRAMES
    shape = (count, gallery.dim)
    frames: Floats = np.lib.format.open_memmap(folder / "frames.npy", "w+", np.float32, shape)
    for block in gallery.blocks():
        some = block.frames.astype(np.float32).reshape(-1, gallery.dim)
        frames[block.first * FRAMES : block.first * FRAMES + len(some)] = unit(some)
    engine, took = coded(frames)
    owner = np.repeat(np.arange(gallery.moments), FRAMES)
    engines = {
        "exact": ByFrame(ExactCandidates(ArrayVectors(frames)), owner),
        "faiss": ByFrame(engine, owner),
    }
    cpu: dict[str, list[float]] = {name: [] for name in engines}
    recalls: list[float] = []
    for query in queries:
        found: dict[str, NDArray[np.int64]] = {}
        for name, one in engines.items():
            with Timed() as timed:
                found[name] = one.search(query[None], DEPTH).rows[0]
            cpu[name].append(timed.cpu_s)
        recalls.append(len(np.intersect1d(found["exact"], found["faiss"])) / len(found["exact"]))
    return {
        "moments": gallery.moments,
        "frames": count,
        "cpu_ms": {name: summary(values, 1e3) for name, values in cpu.items()},
        "recall_at_100": float(np.mean(recalls)),
        "least_recall_at_100": min(recalls),
        "bytes": {"exact": frames.nbytes, "faiss": count * (int(took["code_bytes"]) + ROW_BYTES)},
        "build": took,
    }


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything that the file's docstring promises."""
    torch.set_num_threads(1)
    material = Material.of(options.material or folder)
    gallery = GrowthGallery(material, moments=options.moments)
    say(f"sampling {options.moments} moments")
    shape = (gallery.moments, gallery.dim)
    vectors: Floats = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, shape)
    for block in gallery.blocks():
        vectors[block.first : block.first + len(block.vectors)] = block.vectors
    queries = gallery.queries[: options.queries]
    say("building our codes")
    faiss, took = coded(vectors)
    exact = ExactCandidates(ArrayVectors(vectors))
    engines: dict[str, tuple[Peer, int]] = {
        "framesift exact": (framesift_peer(exact), vectors.nbytes),
        "framesift faiss": (framesift_peer(faiss), len(vectors) * (int(took["code_bytes"]) + ROW_BYTES)),
    }
    for name, build in PEERS.items():
        say(f"building {name}")
        engines[name] = build(vectors, folder)
    say(f"{len(queries)} queries to each of {len(engines)} engines")
    raced = race(engines, vectors, queries, options.lance_queries)
    engines.clear()
    gc.collect()
    say("filters")
    ours: dict[str, CandidateIndex] = {"exact": exact, "faiss": faiss}
    filters = filtered(ours, vectors, queries[: options.filter_queries])
    say(f"{options.frame_moments} moments by their frames")
    frames = GrowthGallery(material, moments=options.frame_moments)
    found_by_frame = by_frame(frames, folder, frames.queries[: options.filter_queries])
    return {
        "case": {
            "moments": options.moments,
            "dim": gallery.dim,
            "queries": len(queries),
            "lance_queries": options.lance_queries,
            "depth": DEPTH,
            "vectors": "sampled from storyboard-xpool's (growth_gallery.py)",
        },
        "threads": 1,
        "engines": raced,
        "build": took,
        "filters": filters,
        "by_frame": found_by_frame,
        "machine": machine(),
    }


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where to keep the numbers")
    parser.add_argument("--folder", type=Path, help="where the vectors lie while it runs (7 GB)")
    parser.add_argument("--material", type=Path, help="where rendered scenes are kept from run to run")
    parser.add_argument("--moments", type=int, default=1_000_000)
    parser.add_argument("--frame-moments", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--lance-queries", type=int, default=10)
    parser.add_argument("--filter-queries", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        result = measure(options, Path(folder))
    keep(result, options.json)


if __name__ == "__main__":
    main()
