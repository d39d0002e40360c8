"""How many candidates does X-Pool have to see, so that its own best ten of the whole gallery are among them?

    python tests/benchmarks/bench_candidate_depth.py --json results/bench-candidate-depth.json

Sampled galleries (growth_gallery.py) in the model's own 256 dimensions, the trained head of ``storyboard-xpool`` and
real captions. X-Pool scores every moment of the gallery for every caption; then each engine proposes candidates, and
what counts is the share of X-Pool's best ten that is among the first ``depth``, by exact scores or faiss codes, where
a moment is found by

- ``mean``: the mean of its frames;
- ``frame``: its best frame;
- ``single scene``: its best scene, a run of successive frames that look alike, by the scene's mean;
- ``scene``: the best of its scenes and pairs of scenes, which is how an index finds moments
  (:func:`framesift.candidates.scenes_of`).

The curves of exact scores are the ranks of the best ten by those scores; those of faiss are searches at each depth. All
vectors are in memory here, and faiss is left out where there are more than ``MOST_VECTORS`` of a kind.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from growth_gallery import FRAMES, MODEL, Floats, GrowthGallery, Material, unit
from numpy.typing import NDArray
from record import keep, machine

import framesift as fs
from framesift.candidates.base import CandidateIndex, Vectors
from framesift.candidates.by_frame import FRAMES_A_ROW, ByFrame
from framesift.candidates.faiss_codes import FaissCandidates, Quantizer
from framesift.candidates.scenes import scenes_of, single_scenes
from framesift.features import TextFeatures, VideoFeatures
from framesift.index.engine import SCENES_A_ROW
from framesift.storyboard.slices import standard

WORK = Path(__file__).resolve().parents[2] / "runs" / "growth"
DEPTHS = (10, 20, 50, 100, 200, 300, 500, 1000, 1500, 2000, 3000, 5000)
FAISS_DEPTHS = (50, 200, 1000, 2000)
GOALS = (0.9, 0.95, 0.98, 0.99)
TOP = 10
MOST_VECTORS = 6_000_000  # 3.1 GB as float16: scenes and pairs of a million moments
VECTORS_A_MOMENT = {"mean": 1, "frame": FRAMES, "scene": 6, "single scene": 3}  # at most, on average
KINDS = tuple(VECTORS_A_MOMENT)
SEARCHED = ("mean", "frame", "scene")  # by faiss, too
SAMPLE = 50_000  # rows that a codebook learns from
CONVERTED = 1 << 16  # rows that become float32 at once: 64 MB
TIMED = 50  # queries of which the engines' CPU time is taken


class Best:
    """The ten best rows of all that were offered, for every query: ``rows`` ``[query, ten]`` in any order."""

    def __init__(self, queries: int) -> None:
        self.scores = np.empty((queries, 0), np.float32)
        self.rows = np.empty((queries, 0), np.int64)

    def offer(self, first: int, scores: Floats) -> None:
        """Rows ``first`` and on, ``[query, row]``."""
        rows = np.broadcast_to(np.arange(first, first + scores.shape[1]), scores.shape)
        scores, rows = np.concatenate([self.scores, scores], 1), np.concatenate([self.rows, rows], 1)
        kept = np.argpartition(-scores, min(TOP, scores.shape[1]) - 1, axis=1)[:, :TOP]
        self.scores = np.take_along_axis(scores, kept, axis=1)
        self.rows = np.take_along_axis(rows, kept, axis=1)


class HalfVectors(Vectors):
    """Vectors kept as float16, which rounds scores by some 1e-4: a million scenes fit into memory so."""

    def __init__(self, array: NDArray[np.float16]) -> None:
        self._array = array

    @property
    def dim(self) -> int:
        return self._array.shape[1]

    def __len__(self) -> int:
        return len(self._array)

    def blocks(self) -> Iterator[tuple[int, Floats]]:
        for first in range(0, len(self), CONVERTED):
            yield first, self._array[first : first + CONVERTED].astype(np.float32)

    def take(self, rows: NDArray[np.int64]) -> Floats:
        return self._array[rows].astype(np.float32)


class Kept:
    """Vectors of one kind of all moments, as far as they fit.

    Attributes:
        owner: the moment of each vector.
    """

    def __init__(self, most: int, dim: int) -> None:
        self.array = np.empty((most, dim), np.float16)
        self.owner = np.empty(most, np.int64)
        self.count = 0
        self.whole = True

    def keep(self, vectors: Floats, owner: NDArray[np.int64]) -> None:
        """More of them."""
        end = self.count + len(vectors)
        if self.whole and end <= len(self.array):
            self.array[self.count : end] = vectors
            self.owner[self.count : end] = owner
        else:
            self.whole = False
        self.count = end

    def engine(self, kind: str) -> CandidateIndex:
        """faiss over them."""
        vectors = HalfVectors(self.array[: self.count])
        found = faiss_over(vectors)
        if kind == "mean":
            return found
        fetched = SCENES_A_ROW if kind == "scene" else FRAMES_A_ROW
        return ByFrame(found, self.owner[: self.count], fetched=fetched)


@torch.inference_mode()
def measured(material: Material, moments: int, queries: int, work: Path) -> dict[str, Any]:
    """One gallery."""
    head = fs.load(MODEL, device="cpu").matcher.eval()
    gallery = GrowthGallery(material, moments=moments, dim=material.scenes.shape[2])
    queries = min(queries, len(gallery.texts))
    chosen = np.linspace(0, len(gallery.texts) - 1, queries).astype(int)
    text = TextFeatures(sentence=torch.from_numpy(gallery.texts[chosen]))
    asked = gallery.queries[chosen]
    started = time.process_time()
    best = Best(queries)
    file = tempfile.NamedTemporaryFile(dir=work)  # noqa: SIM115 (it goes with the array)
    scores = np.memmap(file, np.float32, "w+", shape=(len(KINDS), queries, moments))
    most = {kind: moments * VECTORS_A_MOMENT[kind] for kind in SEARCHED}
    kept = {kind: Kept(most[kind], gallery.dim) for kind in SEARCHED if most[kind] <= MOST_VECTORS}
    counts = dict.fromkeys(KINDS, 0)
    scoring = 0.0
    for block in gallery.blocks():
        raw = block.frames.astype(np.float32)
        video = VideoFeatures(
            frame=torch.from_numpy(raw), frame_mask=torch.ones(raw.shape[:2], dtype=torch.bool)
        )
        before = time.process_time()
        matched = head.scorer(video)(text).numpy()
        scoring += time.process_time() - before
        best.offer(block.first, matched)
        for number, kind in enumerate(KINDS):
            vectors, owner = found_by(kind, block.vectors, raw)
            counts[kind] += len(vectors)
            first = np.searchsorted(owner, np.arange(len(raw)))
            here = scores[number, :, block.first : block.first + len(raw)]
            np.maximum.reduceat(asked @ vectors.T, first, axis=1, out=here)
            if kind in kept:
                kept[kind].keep(vectors, block.first + owner)
    ranks = {f"exact, {kind}": ranked(own, best.rows) for kind, own in zip(KINDS, scores, strict=True)}
    del scores
    file.close()
    curves = {
        name: {str(depth): float((found <= depth).mean()) for depth in DEPTHS}
        for name, found in ranks.items()
    }
    needed = {
        name: {str(goal): int(np.quantile(found, goal, method="higher")) for goal in GOALS}
        for name, found in ranks.items()
    }
    one = np.array([len(caption.claims) == 1 for caption in standard(len(gallery.texts)).captions])[chosen]
    taken: dict[str, float] = {}
    for kind in [kind for kind, held in kept.items() if held.whole]:
        engine, name = kept[kind].engine(kind), f"faiss, {kind}"
        curves[name] = {str(depth): recall(engine, asked, best.rows, depth) for depth in FAISS_DEPTHS}
        taken[name] = timed(engine, asked[:TIMED], 1000)
        del kept[kind], engine
    own = gallery.owners[chosen]
    return {
        "moments": moments,
        "queries": queries,
        "vectors_a_moment": {kind: count / moments for kind, count in counts.items()},
        "recall_of_best_ten": curves,
        "depth_for_recall": needed,
        "by_what_the_caption_tells": {
            "one scene": told(ranks, one),
            "several scenes": told(ranks, ~one),
        },
        "own_video_among_best_ten": float((best.rows == own[:, None]).any(axis=1).mean()),
        "cpu_ms_a_query_at_depth_1000": taken,
        "xpool_all_pairs_cpu_s": scoring,
        "cpu_s": time.process_time() - started,
    }


def found_by(kind: str, means: Floats, frames: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Unit vectors that moments are found by, and the moment of each, ascending.

    Args:
        kind: one of ``KINDS``.
        means: ``[moment, dim]``.
        frames: raw, ``[moment, frame, dim]``.
    """
    moments = np.arange(len(means))
    if kind == "mean":
        return means, moments
    flat = unit(frames)
    if kind == "frame":
        return flat.reshape(-1, flat.shape[2]), np.repeat(moments, flat.shape[1])
    of = {"scene": scenes_of, "single scene": single_scenes}[kind]
    return of(frames.reshape(-1, frames.shape[2]), np.full(len(frames), frames.shape[1]))


def faiss_over(vectors: Vectors) -> FaissCandidates:
    """faiss with codes of all rows."""
    rng = np.random.default_rng(0)
    sample = rng.choice(len(vectors), size=min(SAMPLE, len(vectors)), replace=False)
    quantizer = Quantizer.train(vectors.take(np.sort(sample)))
    codes = np.concatenate([quantizer.encode(block) for _, block in vectors.blocks()])
    return FaissCandidates(quantizer, codes, np.arange(len(vectors)), vectors)


def recall(engine: CandidateIndex, queries: Floats, wanted: NDArray[np.int64], depth: int) -> float:
    """The share of the wanted rows that an engine proposes."""
    depth = min(depth, len(engine))
    found = [engine.search(query[None], depth).rows[0] for query in queries]
    return float(np.mean([np.isin(own, rows).mean() for own, rows in zip(wanted, found, strict=True)]))


def ranked(scores: Floats, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ranks of some rows of every query by their scores, ``[query, row]``; equal ones share the best rank."""
    return np.stack(
        [1 + (line > line[own][:, None]).sum(axis=1) for line, own in zip(scores, rows, strict=True)]
    )


def told(ranks: dict[str, NDArray[np.int64]], chosen: NDArray[np.bool_]) -> dict[str, Any]:
    """What some of the captions need: their share among 200, and the depth for each goal."""
    return {"captions": int(chosen.sum())} | {
        name: {
            "among_200": float((found[chosen] <= 200).mean()),
            "depth_for_recall": {
                str(goal): int(np.quantile(found[chosen], goal, method="higher")) for goal in GOALS
            },
        }
        for name, found in ranks.items()
    }


def timed(engine: CandidateIndex, queries: Floats, depth: int) -> float:
    """CPU milliseconds of a query, the median."""
    depth = min(depth, len(engine))
    engine.search(queries[:1], depth)
    taken: list[float] = []
    for query in queries:
        before = time.process_time()
        engine.search(query[None], depth)
        taken.append(time.process_time() - before)
    return 1000 * float(np.median(taken))


def plot(sizes: list[dict[str, Any]], path: Path) -> None:
    """The curves; a colour a size, a line style a kind of candidates."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(10, 5), layout="constrained")
    styles = {"mean": "-", "frame": "--", "scene": "-.", "single scene": ":"}
    for number, size in enumerate(sizes):
        for name, curve in size["recall_of_best_ten"].items():
            engine, kind = name.split(", ")
            depths, shares = [int(depth) for depth in curve], list(curve.values())
            if engine == "exact":
                axes.plot(
                    depths, shares, styles[kind], color=f"C{number}", label=f"{size['moments']:,}, by {kind}"
                )
            else:
                axes.plot(depths, shares, "o", color=f"C{number}", markersize=3, fillstyle="none")
    axes.plot([], [], "ko", markersize=3, fillstyle="none", label="the same by faiss codes")
    axes.axhline(0.98, color="grey", linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set_xlabel("candidate depth")
    axes.set_ylabel("share of X-Pool's best ten among the candidates")
    axes.set_title("Candidates that X-Pool has to see, by moments in the gallery")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where to keep the numbers, and the plot beside them")
    parser.add_argument("--sizes", default="10000,100000,1000000", help="moments of the galleries")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument(
        "--work", type=Path, default=WORK, help="where encoded scenes and all scores are kept"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    material = Material.of(options.work)
    sizes = [
        measured(material, int(size), options.queries, options.work) for size in options.sizes.split(",")
    ]
    keep({"model": MODEL, "sizes": sizes, "machine": machine()}, options.json)
    if options.json is not None:
        plot(sizes, options.json.with_suffix(".png"))


if __name__ == "__main__":
    main()
