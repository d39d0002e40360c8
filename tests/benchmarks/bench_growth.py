"""How build time, disk, memory and queries grow with the index: 10 k, 100 k and 1 M sampled moments.

    python tests/benchmarks/bench_growth.py --json results/bench-growth.json

A gallery (growth_gallery.py) of each size is written into a real index (growth_index.py), its cache is made, and each
engine opens it and is asked the captions of the planted videos: ``auto``, which finds moments by scenes and pairs of
scenes for X-Pool, ``faiss`` and ``exact`` by the mean of frames, and up to ``--frames-up-to`` moments ``faiss`` by
their best frame, which is twelve times as many vectors. Every step runs in a process of its own on one thread; times
are CPU time (user + system), so that other processes on the machine count little. The files have just been written, so
that they are in the page cache as far as they fit into memory. Memory is the proportional set size after imports and
model, after opening and after the queries; ``file`` is what is mapped from the index, which the system takes back when
it needs it.
A query's time has no text tower in it (bench_query.py has).

Sizes need about 37 GB of disk for a million moments, which is given back after each.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

WORK = HERE.parents[2] / "runs" / "growth"
BY_FRAME = "faiss by frame"
ENGINES = {
    "auto": ("auto", "auto"),
    "exact by mean": ("exact", "mean"),
    "faiss by mean": ("faiss", "mean"),
    BY_FRAME: ("faiss", "frame"),
}
COMPARED = ("exact by mean", "faiss by mean")  # the same candidates, but for what codes lose
KEPT = {  # what the cache holds after each step
    "segments": {"codes": False, "frame_codes": False, "scenes": False},
    "scenes": {"scenes": True},
    "codes": {"codes": True},
    "frame_codes": {"frame_codes": True},
}
BUILT = ("segments", "scenes", "codes")  # without frames' codes, as an index does by itself
DEPTH_COMPARED = 100
WARM_UP = 20
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1"
)


# ---- the steps, each the inside of a process


def write(work: Path, index: Path, moments: int) -> dict[str, Any]:
    """Both tables."""
    from growth_index import write_tables

    gallery, model = asked(work, moments)
    taken = write_tables(index, gallery, model)
    return {**taken, "bytes": size_of(index)}


def cache(work: Path, index: Path, moments: int, frames: bool) -> dict[str, Any]:
    """The cache: segments first, then scenes, codes of both, and those of frames where they are wanted."""
    from framesift.index import Index

    _, model = asked(work, moments)
    result: dict[str, Any] = {}
    with Index.open(index, model=model) as opened:
        before = size_of(index)
        for name in KEPT if frames else BUILT:
            started = time.process_time(), time.monotonic()
            report = opened.refresh_cache(**KEPT[name])
            assert report.problem is None, report.problem
            taken = {"cpu_s": time.process_time() - started[0], "wall_s": time.monotonic() - started[1]}
            size = size_of(index)
            result[name] = {**taken, "bytes": size - before}
            before = size
    return result


def ask(
    work: Path, index: Path, moments: int, engine: str, queries: int, depth: int | None
) -> dict[str, Any]:
    """Open, ask, answer."""
    import torch
    from growth_index import captions

    from framesift.candidates import CandidateConfig
    from framesift.features import TextFeatures
    from framesift.index import Index
    from framesift.index.hits import hits_of
    from framesift.ranking import rank

    gallery, model = asked(work, moments)
    embeddings = list(captions(gallery).values())[: queries + WARM_UP]
    texts = [TextFeatures(sentence=embedding[None]) for embedding in embeddings]
    memory = {"imports_and_model": proportional_set()}
    started = time.process_time(), time.monotonic()
    kind, by = ENGINES[engine]
    with Index.open(index, model=model, candidates=CandidateConfig(kind=kind, by=by)) as opened:
        stored = opened.gallery()
        stored.candidates(texts[0], 1)
        opening = {"cpu_s": time.process_time() - started[0], "wall_s": time.monotonic() - started[1]}
        memory["opened"] = proportional_set()
        seen = min(depth or stored.default_depth, moments)

        def proposed(text: TextFeatures) -> torch.Tensor:
            return stored.candidates(text, seen)

        def answered(text: TextFeatures) -> Any:
            with torch.inference_mode():
                ranking = rank(text, stored, model.matcher, depth=seen)
            return hits_of(text, ranking, stored, model, k=10, unit="moment")

        candidates, whole = timed(proposed, texts), timed(answered, texts)
        memory["asked"] = proportional_set()
        rows = np.stack([stored.candidates(text, DEPTH_COMPARED)[0].numpy() for text in texts])
    np.save(work / f"rows-{engine}.npy", rows)
    return {
        "depth": seen,
        "opening": opening,
        "memory_bytes": memory,
        "candidates_cpu_ms": candidates,
        "query_cpu_ms": whole,
    }


def asked(work: Path, moments: int) -> tuple[Any, Any]:
    """The gallery, and a model that knows its captions."""
    import torch
    from growth_gallery import GrowthGallery, Material
    from growth_index import PlantedModel, captions, load_tower

    torch.set_num_threads(1)
    gallery = GrowthGallery(Material.of(work), moments=moments)
    return gallery, PlantedModel(load_tower(work), captions(gallery))


def timed(function: Callable[[Any], Any], arguments: list[Any]) -> dict[str, float]:
    """CPU milliseconds of calls with different arguments, the first ones to warm up."""
    taken: list[float] = []
    for argument in arguments:
        before = time.process_time()
        function(argument)
        taken.append(1000 * (time.process_time() - before))
    return quantiles(taken[WARM_UP:])


def quantiles(milliseconds: list[float]) -> dict[str, float]:
    """Median, 99th percentile and mean."""
    p50, p99 = np.quantile(milliseconds, (0.5, 0.99))
    return {"p50": float(p50), "p99": float(p99), "mean": float(np.mean(milliseconds))}


def proportional_set() -> dict[str, int]:
    """This process's memory in bytes: its own, and its share of mapped files."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    held = {line.split(":")[0]: 1024 * int(line.split()[1]) for line in lines}
    return {"total": held["Pss"], "own": held["Pss_Anon"], "file": held["Pss_File"]}


def size_of(folder: Path) -> int:
    """Bytes of the files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


STEPS: dict[str, Callable[..., dict[str, Any]]] = {"write": write, "cache": cache, "ask": ask}


# ---- around them


def step(name: str, work: Path, index: Path, moments: int, *more: Any) -> dict[str, Any]:
    """Run a step in a process of its own."""
    arguments = json.dumps([name, str(work), str(index), moments, *more])
    done = subprocess.run(
        [sys.executable, str(HERE), "--step", arguments],
        env=os.environ | ONE_THREAD,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    result = json.loads(done.stdout.splitlines()[-1])
    print(f"{moments:,} moments: {name} {more or ''} {json.dumps(result)}", file=sys.stderr, flush=True)
    return result


def measure(
    work: Path, moments: int, queries: int, depth: int | None, *, frames: bool, keep: bool
) -> dict[str, Any]:
    """All of one size; candidates by frame where they are wanted."""
    index = work / f"index-{moments}"
    shutil.rmtree(index, ignore_errors=True)
    try:
        result: dict[str, Any] = {"moments": moments, "tables": step("write", work, index, moments)}
        result |= step("cache", work, index, moments, frames)
        result["engines"] = {
            engine: step("ask", work, index, moments, engine, queries, depth)
            for engine in ENGINES
            if frames or engine != BY_FRAME
        }
    finally:
        if not keep:
            shutil.rmtree(index, ignore_errors=True)
    exact, coded = (np.load(work / f"rows-{engine}.npy") for engine in COMPARED)
    found = [np.isin(own, theirs).mean() for own, theirs in zip(exact, coded, strict=True)]
    result["engines"][COMPARED[1]][f"recall_at_{DEPTH_COMPARED}"] = float(np.mean(found))
    return result


def slopes(sizes: list[dict[str, Any]]) -> dict[str, float]:
    """Exponents of power laws fitted to the sizes: 1 is growth in proportion, 0 none."""
    quantities: dict[str, Callable[[dict[str, Any]], float]] = {
        "tables: CPU time": lambda size: size["tables"]["cpu_s"],
        "tables: disk": lambda size: size["tables"]["bytes"],
        "cache: CPU time": lambda size: sum(size[part]["cpu_s"] for part in BUILT),
        "cache: disk": lambda size: sum(size[part]["bytes"] for part in BUILT),
    }
    for engine in ENGINES:
        quantities |= {
            f"{engine}: opening, CPU time": lambda size, engine=engine: size["engines"][engine]["opening"][
                "cpu_s"
            ],
            f"{engine}: candidates": lambda size, engine=engine: size["engines"][engine]["candidates_cpu_ms"][
                "p50"
            ],
            f"{engine}: query": lambda size, engine=engine: size["engines"][engine]["query_cpu_ms"]["p50"],
        }
    return {name: slope for name, of in quantities.items() if (slope := exponent(sizes, of)) is not None}


def exponent(sizes: list[dict[str, Any]], of: Callable[[dict[str, Any]], float]) -> float | None:
    """The exponent of one quantity; None if fewer than two sizes have it."""
    points: list[tuple[float, float]] = []
    for size in sizes:
        with suppress(KeyError):  # an engine that was left out
            points.append((math.log(size["moments"]), math.log(max(of(size), 1e-9))))
    return float(np.polyfit(*zip(*points, strict=True), 1)[0]) if len(points) > 1 else None


def of_index(engine: dict[str, Any], kind: str) -> int:
    """Bytes that opening and asking added to what imports and model need."""
    held = engine["memory_bytes"]
    return held["asked"][kind] - held["imports_and_model"][kind]


def plot(sizes: list[dict[str, Any]], path: Path) -> None:
    """Four pictures of growth, all on logarithmic axes."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(13, 7.5), layout="constrained")
    moments = [size["moments"] for size in sizes]  # ascending: what was left out was so from some size on

    def draw(axis: Any, title: str, unit: str, lines: dict[str, list[float]], *, each: int = 1) -> None:
        """``each``: lines that belong together, of one colour."""
        for number, (name, values) in enumerate(lines.items()):
            style = ("o-", "s--", "^:")[number % (3 if each == 1 else each)]
            color = f"C{number // each}"
            axis.plot(moments[: len(values)], values, style, color=color, label=name, markersize=4)
        axis.set(xscale="log", yscale="log", xlabel="moments", ylabel=unit, title=title)
        axis.grid(alpha=0.3, which="both")
        axis.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))

    parts = {"tables": "tables", "cache": "segments", "scenes": "scenes", "codes": "codes"}
    draw(
        axes[0][0],
        "Build, without decoding and encoding",
        "CPU seconds",
        {name: [size[key]["cpu_s"] for size in sizes] for name, key in parts.items()},
    )
    draw(
        axes[0][1],
        "Disk",
        "GB",
        {name: [size[key]["bytes"] / 1e9 for size in sizes] for name, key in parts.items()},
    )
    latency: dict[str, list[float]] = {}
    held: dict[str, list[float]] = {}
    for engine in ENGINES:
        told = [size["engines"][engine] for size in sizes if engine in size["engines"]]
        latency[f"{engine}: candidates"] = [one["candidates_cpu_ms"]["p50"] for one in told]
        latency[f"{engine}: query, p50"] = [one["query_cpu_ms"]["p50"] for one in told]
        latency[f"{engine}: query, p99"] = [one["query_cpu_ms"]["p99"] for one in told]
        held[f"{engine}: its own"] = [of_index(one, "own") / 1e9 for one in told]
        held[f"{engine}: with mapped files"] = [of_index(one, "total") / 1e9 for one in told]
    draw(axes[1][0], "A query, without the text tower", "CPU ms", latency, each=3)
    draw(axes[1][1], "Memory that the index took, after the queries", "GB", held, each=2)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where to keep the numbers, and the plot beside them")
    parser.add_argument("--sizes", default="10000,100000,1000000", help="moments of the indexes")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument(
        "--frames-up-to", type=int, default=100_000, help="moments up to which candidates by frame are tried"
    )
    parser.add_argument("--depth", type=int, help="candidates that X-Pool sees; default: as the index has it")
    parser.add_argument("--work", type=Path, default=WORK, help="where indexes are made")
    parser.add_argument(
        "--keep", action="store_true", help="leave the largest index there, for bench_query.py"
    )
    parser.add_argument("--step", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        name, work, index, *more = json.loads(options.step)
        print(json.dumps(STEPS[name](Path(work), Path(index), *more)))
        return
    from growth_gallery import Material
    from growth_index import text_tower
    from record import keep, machine

    Material.of(options.work)  # once, and not in a measured process
    text_tower(options.work)
    wanted = sorted(map(int, options.sizes.split(",")))
    sizes = [
        measure(
            options.work,
            size,
            options.queries,
            options.depth,
            frames=size <= options.frames_up_to,
            keep=options.keep and size == wanted[-1],
        )
        for size in wanted
    ]
    result = {
        "dim": 512,
        "frames": 12,
        "queries": options.queries,
        "sizes": sizes,
        "slopes": slopes(sizes),
        "machine": machine(),
    }
    keep(result, options.json)
    if options.json is not None:
        plot(sizes, options.json.with_suffix(".png"))


if __name__ == "__main__":
    main()
