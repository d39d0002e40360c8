"""X-Pool, all pairs: the fast form against the published formulation, in one run.

    python tests/benchmarks/bench_xpool.py --json results/bench-xpool.json

Three ways to the same matrix: ``published``, the formulas as the paper's code applies them (pooled vectors of all
pairs at once); ``definition``, our ``XPool.forward`` in blocks; ``fast``, ``similarity_matrix`` as everyone calls it,
folding of the gallery included.

Time is CPU time of this process (user + system), one thread each, because other processes may share the machine and
because threads that wait for work would count; the ways take turns, and the ratio of each round is kept. Peak memory
is the growth of the resident set (``ru_maxrss``) over what imports and features need, each in a process of its own.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from record import keep, machine
from torch import Tensor

from framesift.features import TextFeatures, VideoFeatures
from framesift.matchers import XPool, XPoolConfig
from framesift.metrics import ranks
from framesift.similarity import similarity_matrix

DIM, FRAMES = 512, 12
Way = Callable[[XPool, TextFeatures, VideoFeatures], Tensor]


def published(head: XPool, text: TextFeatures, video: VideoFeatures) -> Tensor:
    """X-Pool as published, for one head: every step on the pooled vectors of all pairs."""
    attn = head.cross_attn
    sentence, frame = head.layer_norm1(text.sentence), head.layer_norm1(video.frame)
    q, k, v = attn.q_proj(sentence), attn.k_proj(frame), attn.v_proj(frame)
    weights = torch.softmax(k @ q.T / math.sqrt(q.shape[1]), dim=1)  # [video, frame, text]
    attended = head.layer_norm2(attn.out_proj((v.mT @ weights).mT))  # [video, text, dim]
    pooled = head.layer_norm3(attended + head.dropout(head.linear_proj(attended)))
    pooled = pooled / pooled.norm(dim=-1, keepdim=True)
    sentence = text.sentence / text.sentence.norm(dim=-1, keepdim=True)
    return torch.einsum("td,vtd->tv", sentence, pooled)


def definition(head: XPool, text: TextFeatures, video: VideoFeatures) -> Tensor:
    """``forward`` in blocks."""
    return similarity_matrix(head, text, video, fast=False)


def fast(head: XPool, text: TextFeatures, video: VideoFeatures) -> Tensor:
    """What the library does by itself."""
    return similarity_matrix(head, text, video)


WAYS: dict[str, Way] = {"published": published, "definition": definition, "fast": fast}


def case(texts: int, videos: int) -> tuple[XPool, TextFeatures, VideoFeatures]:
    """A head with every weight off its initial value, and pairs that can be told apart, though not always.

    Frames of a video scatter around two scenes; a text lies near one frame of its video.
    """
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    head = XPool(XPoolConfig(dim=DIM)).eval()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter += 0.02 * noise(*parameter.shape)
    scenes = noise(videos, 2, DIM).repeat_interleave(FRAMES // 2, dim=1)
    frame = scenes + 0.7 * noise(videos, FRAMES, DIM)
    sentence = frame[torch.arange(texts) % videos, 3] + 6.0 * noise(texts, DIM)
    mask = torch.ones(videos, FRAMES, dtype=torch.bool)
    return head, TextFeatures(sentence=3 * sentence), VideoFeatures(frame=3 * frame, frame_mask=mask)


def peak_bytes(name: str, texts: int, videos: int) -> int:
    """Growth of the resident set during one call, in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_peak_here, (name, texts, videos))


def _peak_here(name: str, texts: int, videos: int) -> int:
    torch.set_num_threads(1)
    head, text, video = case(texts, videos)
    with torch.no_grad():
        WAYS[name](head, text[:8], video[:8])  # libraries set themselves up
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    with torch.no_grad():
        WAYS[name](head, text, video)
    high = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    return int(high.split()[1]) * 1024 - pages * resource.getpagesize()


def measure(texts: int, videos: int, rounds: int) -> dict[str, Any]:
    """Everything that the file's docstring promises."""
    torch.set_num_threads(1)
    head, text, video = case(texts, videos)
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    results: dict[str, Tensor] = {}
    with torch.no_grad():
        for way in WAYS.values():
            way(head, text[:8], video[:8])
        for number in range(rounds):
            for name, way in WAYS.items():
                started = time.process_time()
                results[name] = way(head, text, video)
                seconds[name].append(time.process_time() - started)
                print(f"round {number + 1}: {name} {seconds[name][-1]:.2f} s", file=sys.stderr, flush=True)
        few = slice(0, 200)
        exact = published(
            head.double(),
            text[few].to(dtype=torch.float64),
            video[few].to(dtype=torch.float64),
        )
    peak = {name: peak_bytes(name, texts, videos) for name in WAYS}
    relevance = torch.arange(texts)[:, None] % videos == torch.arange(videos)
    order = {name: ranks(result, relevance) for name, result in results.items()}
    slow, quick = results["published"], results["fast"]

    def ratios(name: str) -> dict[str, float]:
        each = [a / b for a, b in zip(seconds[name], seconds["fast"], strict=True)]
        return {"median": statistics.median(each), "lowest": min(each), "highest": max(each)}

    return {
        "case": {
            "texts": texts,
            "videos": videos,
            "frames": FRAMES,
            "dim": DIM,
            "heads": 1,
            "rounds": rounds,
        },
        "threads": 1,
        "cpu_s": seconds,
        "published_over_fast": ratios("published"),
        "definition_over_fast": ratios("definition"),
        "peak_bytes": peak,
        "fast_share_of_published_peak": peak["fast"] / peak["published"],
        "largest_difference": float((slow - quick).abs().max()),
        "difference_from_float64": {
            name: float((result[few, few].double() - exact).abs().max()) for name, result in results.items()
        },
        "ranks_that_differ": int((order["published"] != order["fast"]).sum()),
        "recall_at_1": float((order["fast"] == 1).double().mean() * 100),
        "machine": machine(),
    }


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where to keep the numbers")
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--videos", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    result = measure(options.texts, options.videos, options.rounds)
    keep(result, options.json)


if __name__ == "__main__":
    main()
