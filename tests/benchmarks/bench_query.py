"""One warm text query over a million moments on one core: where its time goes.

    python tests/benchmarks/bench_query.py --json results/bench-query.json

All of what :meth:`framesift.Index.search` does for a sentence, by stage: the text tower, candidates, the stored frames
of these, X-Pool on them, and merging moments to results with their frames' attention. The index holds a sampled gallery
(growth_gallery.py, growth_index.py); every query is another caption of a planted video. The text tower has ViT-B/32's
size and random weights; it reads the caption, and the embedding that the gallery has for that caption takes the place
of its answer. X-Pool's head is 512 wide and untrained, which costs what a trained one does.

Three towers are measured, each in a process of its own: OpenVINO's in fp32, the default on a CPU, and in bf16, and
torch's, the reference. Each is asked captions, which are long for queries, and then ``short``: five successive words of
the same captions, with these captions' embeddings, so that only the tower has less to do.

The process has one core (its affinity) and one thread. Stages are CPU time (user + system); the wall time of the whole
query is told as well, which other processes on the machine lengthen. Warm means: some queries were answered before, a
text of every length was read, since OpenVINO prepares what it runs once for each, and the pages of the index that the
query reads are in memory and mapped. What it takes the first time is told beside it: how much that is more depends on
how much memory the system has left for the index's pages.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

from bench_growth import ONE_THREAD, WORK, quantiles, step  # noqa: E402

if TYPE_CHECKING:
    from framesift.candidates import CandidateIndex
    from framesift.index import Index
    from framesift.ranking import Hit

TARGET_MS, GOAL_MS = 40.0, 25.0
STAGES = ("text", "candidates", "frames", "xpool", "results")
TOWERS = {  # name -> backend and precision of the text tower
    "openvino": ("openvino", "fp32"),
    "openvino bf16": ("openvino", "bf16"),
    "torch": ("torch", "fp32"),
}
SHORT_WORDS = 5
WARM_UP = 30
READ_QUERIES = 50  # after the others, of which is noted what they read
T = TypeVar("T")


class Clock:
    """CPU milliseconds by stage."""

    def __init__(self) -> None:
        self.taken: dict[str, float] = {}

    def __call__(self, stage: str, function: Callable[[], T]) -> T:
        before = time.process_time()
        result = function()
        self.taken[stage] = self.taken.get(stage, 0.0) + 1000 * (time.process_time() - before)
        return result


def ask(work: Path, index: Path, moments: int, queries: int, options: dict[str, Any]) -> dict[str, Any]:
    """The inside of the measured process."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import torch
    from growth_gallery import GrowthGallery, Material
    from growth_index import PlantedModel, captions, load_tower

    from framesift.candidates import ByFrame, CandidateConfig
    from framesift.index import Index

    torch.set_num_threads(1)
    gallery = GrowthGallery(Material.of(work), moments=moments)
    long = captions(gallery)
    short = shortened(long)
    backend, precision = TOWERS[options["tower"]]
    # forced: what a precision changes is measured elsewhere, on weights that mean something
    tower = load_tower(work, backend=backend, dtype=precision, force=True)
    model = PlantedModel(tower, long | short)
    started = time.process_time(), time.monotonic()
    config = CandidateConfig(kind=options["engine"], by=options["by"])
    with Index.open(index, model=model, candidates=config) as opened:
        stored = opened.gallery()
        depth = min(options["depth"] or stored.default_depth, moments)
        engine = stored.engine
        opening = {"cpu_s": time.process_time() - started[0], "wall_s": time.monotonic() - started[1]}
        opened.search(next(iter(long)), depth=depth)
        answering = time.monotonic() - started[1]
        searched = engine.frames if isinstance(engine, ByFrame) else engine
        asked = {
            kind: measured(opened, list(texts)[: queries + WARM_UP], depth)
            for kind, texts in (("long", long), ("short", short))
        }
        read = read_for(opened, searched, list(long)[:READ_QUERIES], depth)
    total = asked["long"]["query_cpu_ms"]
    return {
        "moments": moments,
        "depth": depth,
        "engine": options["engine"],
        "engine_used": searched.name,
        "vectors": len(searched),
        "read_a_query": read,
        "by": options["by"],
        "backend": backend,
        "precision": precision,
        "opening": opening,
        "open_and_first_query_wall_s": answering,
        **asked["long"],
        "short": asked["short"],
        "target": {
            "p50_ms": TARGET_MS,
            "met": total["p50"] <= TARGET_MS,
            "goal_ms": GOAL_MS,
            "goal_met": total["p50"] <= GOAL_MS,
        },
    }


def read_for(
    opened: Index, searched: CandidateIndex, texts: Sequence[str], depth: int
) -> dict[str, float] | None:
    """What the engine reads for a query: bytes of codes, and vectors that are scored exactly; None: everything."""
    from framesift.candidates import FaissCandidates

    if not isinstance(searched, FaissCandidates):
        return None
    code_bytes, sizes = searched._quantizer.code_bytes, searched._sizes
    scan, score = searched._scan, searched._scored
    codes = vectors = 0

    def scanning(query: Any, count: int, lists: Any, allowed: Any) -> Any:
        nonlocal codes
        codes += int(sizes[lists].sum())
        return scan(query, count, lists, allowed)

    def scoring(query: Any, rows: Any, known: Any) -> Any:
        nonlocal vectors
        vectors += len(rows) - len(np.intersect1d(rows, known[0]))
        return score(query, rows, known)

    vars(searched).update(_scan=scanning, _scored=scoring)
    for text in texts:
        opened.gallery().candidates(opened.model.encode_text([text]), depth)
    del searched._scan, searched._scored
    return {"code_bytes": code_bytes * codes / len(texts), "vectors": vectors / len(texts)}


def shortened(captions: Mapping[str, Any]) -> dict[str, Any]:
    """A few successive words of every caption that no earlier one gave, with its embedding."""
    found: dict[str, Any] = {}
    for caption, embedding in captions.items():
        words = caption.split()
        phrases = (" ".join(words[i : i + SHORT_WORDS]) for i in range(len(words) - SHORT_WORDS + 1))
        phrase = next((phrase for phrase in phrases if phrase not in found and phrase not in captions), None)
        if phrase is not None:
            found[phrase] = embedding
    return found


def measured(opened: Index, texts: Sequence[str], depth: int) -> dict[str, Any]:
    """What queries take, as a whole and by stage; the first ones are not counted."""
    encoder = opened.model.encoder
    of_length = {len(encoder.tokenize([text])[0][0]): text for text in texts}
    for text in of_length.values():
        opened.model.encode_text([text])
    staged: list[dict[str, float]] = []
    cpu: dict[str, list[float]] = {"first": [], "warm": []}
    wall: dict[str, list[float]] = {"first": [], "warm": []}

    def answered(text: str, time_of: str) -> list[Hit]:
        before = time.process_time(), time.monotonic()
        found = opened.search(text, depth=depth)
        cpu[time_of].append(1000 * (time.process_time() - before[0]))
        wall[time_of].append(1000 * (time.monotonic() - before[1]))
        return found

    for text in texts:
        answered(text, "first")
        hits, stages = by_stage(opened, text, depth)
        staged.append(stages)
        found = answered(text, "warm")
        assert [hit.to_dict() for hit in found] == [hit.to_dict() for hit in hits]
    kept = staged[WARM_UP:]
    mean = {stage: float(np.mean([one[stage] for one in kept])) for stage in STAGES}
    return {
        "queries": len(kept),
        "different_queries": len(set(texts[WARM_UP:])),
        "words_a_query": float(np.mean([len(text.split()) for text in texts])),
        "query_cpu_ms": quantiles(cpu["warm"][WARM_UP:]),
        "query_wall_ms": quantiles(wall["warm"][WARM_UP:]),
        "first_time_cpu_ms": quantiles(cpu["first"][WARM_UP:]),
        "first_time_wall_ms": quantiles(wall["first"][WARM_UP:]),
        "stages_cpu_ms": {stage: quantiles([one[stage] for one in kept]) for stage in STAGES},
        "share_of_stages": {stage: value / sum(mean.values()) for stage, value in mean.items()},
    }


def by_stage(index: Index, query: str, depth: int) -> tuple[list[Hit], dict[str, float]]:
    """The steps of a search one by one: its results, and what each took."""
    import torch

    from framesift.index.hits import hits_of
    from framesift.ranking import Gallery, rank

    clock = Clock()
    model, stored = index.model, index.gallery()
    text = clock("text", lambda: model.encode_text([query]))
    rows = clock("candidates", lambda: stored.candidates(text, depth))
    features = clock("frames", lambda: stored.features(rows[0]))

    class Fetched(Gallery):
        """What was fetched already, so that ranking it is X-Pool and sorting alone."""

        def __len__(self) -> int:
            return len(stored)

        def candidates(self, text: Any, depth: int | None) -> torch.Tensor:
            return rows

        def features(self, rows: torch.Tensor) -> Any:
            return features

    ranking = clock("xpool", lambda: rank(text, Fetched(), model.matcher, depth=depth))
    hits = clock("results", lambda: hits_of(text, ranking, stored, model, k=10, unit="moment"))
    return hits, clock.taken


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where to keep the numbers")
    parser.add_argument("--moments", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--depth", type=int, help="candidates that X-Pool sees; default: as the index has it")
    parser.add_argument("--engine", default="auto", help="what proposes candidates")
    parser.add_argument("--by", default="auto", help="what moments are found by")
    parser.add_argument(
        "--tower", action="append", choices=TOWERS, help="whose text tower is measured; default: all"
    )
    parser.add_argument(
        "--work", type=Path, default=WORK, help="where the index is made; needs 37 GB for a million"
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the index there, and use one that is there"
    )
    parser.add_argument("--ask", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        work, index, *more = json.loads(options.ask)
        print(json.dumps(ask(Path(work), Path(index), *more)))
        return
    from growth_gallery import Material
    from growth_index import text_tower
    from record import keep, machine

    Material.of(options.work)
    text_tower(options.work)
    index = options.work / f"index-{options.moments}"
    try:
        if not (options.keep and index.exists()):
            shutil.rmtree(index, ignore_errors=True)
            step("write", options.work, index, options.moments)
            step("cache", options.work, index, options.moments, options.by == "frame")
        result = {tower: in_process(options, index, tower) for tower in options.tower or TOWERS}
    finally:
        if not options.keep:
            shutil.rmtree(index, ignore_errors=True)
    keep({**result, "machine": machine()}, options.json)


def in_process(options: argparse.Namespace, index: Path, tower: str) -> dict[str, Any]:
    """Ask in a process of its own."""
    told = {"tower": tower, "engine": options.engine, "by": options.by, "depth": options.depth}
    arguments = json.dumps([str(options.work), str(index), options.moments, options.queries, told])
    done = subprocess.run(
        [sys.executable, str(HERE), "--ask", arguments],
        env=os.environ | ONE_THREAD,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
