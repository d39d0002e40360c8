"""X-CLIP, all pairs: the folded form against the published formulation, in one run.

    python tests/benchmarks/bench_xclip.py --json results/bench-xclip.json

Three ways to the same matrix: ``published``, the released formulas on the scores of all pairs at once, vectorised;
``definition``, our ``MultiGrained.forward`` in blocks; ``fast``, ``similarity_matrix`` as everyone calls it, folding of
the gallery included. Padding counts, as published, so that all of them do the same work; a fourth number is the fast
way with padding left out, on texts of a caption's lengths.

Time is CPU time of this process (user + system), one thread each, because other processes may share the machine and
because threads that wait for work would count; the ways take turns, and the ratio of each round is kept. Peak memory
is the growth of the resident set over what imports and features need, each in a process of its own.
"""

from __future__ import annotations

import argparse
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

from framesift.features import TextFeatures, VideoFeatures, masked_mean
from framesift.matchers import MultiGrained, MultiGrainedConfig
from framesift.matchers.multi_grained import AOSM_TEMPERATURE
from framesift.metrics import ranks
from framesift.similarity import similarity_matrix

DIM, WORDS, FRAMES = 512, 32, 12
CAPTION_WORDS = (12.0, 4.0)  # mean and deviation of a caption's tokens, marks included
NOISE = 8.0  # of texts and words, against a frame of length 1.2 in each direction: a few texts go wrong
Way = Callable[[MultiGrained, TextFeatures, VideoFeatures], Tensor]


def published(head: MultiGrained, text: TextFeatures, video: VideoFeatures) -> Tensor:
    """X-CLIP as published: one tensor ``[text, video, word, frame]``, and another of its size for every step."""

    def normalised(x: Tensor) -> Tensor:
        return x / x.norm(dim=-1, keepdim=True)

    def attend(scores: Tensor, matrix: Tensor) -> Tensor:
        return ((torch.softmax(scores / AOSM_TEMPERATURE, dim=-1) @ matrix) * scores).sum(dim=-1)

    assert text.word is not None
    sentence, word, frame = (normalised(x) for x in (text.sentence, text.word, video.frame))
    whole = masked_mean(video.frame, video.frame_mask)
    video_sentence = sentence @ head.global_mat_weight @ whole.T
    video_word = attend((word @ whole.T).mT, head.word_logit_weight)
    sentence_frame = attend((frame @ sentence.T).permute(2, 0, 1), head.frame_logit_weight)
    flat = (word @ head.local_mat_weight).flatten(0, 1) @ frame.flatten(0, 1).T
    grid = flat.view(len(text), word.shape[1], len(video), frame.shape[1]).transpose(1, 2)
    by_frame = attend(grid.mT, head.word_mat_weight)
    by_word = attend(grid, head.frame_mat_weight)
    frame_word = (attend(by_frame, head.frame_mat_weight2) + attend(by_word, head.word_mat_weight2)) / 2
    return (video_sentence + video_word + sentence_frame + frame_word) / 4


def definition(head: MultiGrained, text: TextFeatures, video: VideoFeatures) -> Tensor:
    """``forward`` in blocks."""
    return similarity_matrix(head, text, video, fast=False)


def fast(head: MultiGrained, text: TextFeatures, video: VideoFeatures) -> Tensor:
    """What the library does by itself."""
    return similarity_matrix(head, text, video)


WAYS: dict[str, Way] = {"published": published, "definition": definition, "fast": fast}


def case(
    texts: int, videos: int, *, mask_padding: bool = False
) -> tuple[MultiGrained, TextFeatures, VideoFeatures]:
    """A head with every matrix off its initial value, and pairs that can be told apart, though not always.

    Frames of a video scatter around two scenes; a text and its words lie near one frame of its video.
    """
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    config = MultiGrainedConfig(dim=DIM, max_words=WORDS, max_frames=FRAMES, mask_padding=mask_padding)
    head = MultiGrained(config).eval()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter += 0.02 * noise(*parameter.shape)
    frame = noise(videos, 2, DIM).repeat_interleave(FRAMES // 2, dim=1) + 0.7 * noise(videos, FRAMES, DIM)
    meant = frame[torch.arange(texts) % videos, 3]
    sentence, word = meant + NOISE * noise(texts, DIM), meant[:, None] + NOISE * noise(texts, WORDS, DIM)
    lengths = (CAPTION_WORDS[0] + CAPTION_WORDS[1] * noise(texts, 1)).round().clamp(4, WORDS)
    word_mask = (torch.arange(WORDS) < lengths) | (not mask_padding)
    frame_mask = torch.ones(videos, FRAMES, dtype=torch.bool)
    text = TextFeatures(sentence=sentence, word=word, word_mask=word_mask)
    return head, text, VideoFeatures(frame=frame, frame_mask=frame_mask)


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
    status = Path("/proc/self/status").read_text().splitlines()
    high = next(line for line in status if line.startswith("VmHWM"))
    return int(high.split()[1]) * 1024 - pages * resource.getpagesize()


def measure(texts: int, videos: int, rounds: int) -> dict[str, Any]:
    """Everything that the file's docstring promises."""
    torch.set_num_threads(1)
    head, text, video = case(texts, videos)
    masked = case(texts, videos, mask_padding=True)
    seconds: dict[str, list[float]] = {name: [] for name in (*WAYS, "fast, padding left out")}
    results: dict[str, Tensor] = {}
    runs = {
        **{name: (way, (head, text, video)) for name, way in WAYS.items()},
        "fast, padding left out": (fast, masked),
    }
    with torch.no_grad():
        for way, (head_, text_, video_) in runs.values():
            way(head_, text_[:8], video_[:8])
        for number in range(rounds):
            for name, (way, given) in runs.items():
                started = time.process_time()
                results[name] = way(*given)
                seconds[name].append(time.process_time() - started)
                print(f"round {number + 1}: {name} {seconds[name][-1]:.2f} s", file=sys.stderr, flush=True)
        few = slice(0, 100)
        exact = published(
            head.double(), text[few].to(dtype=torch.float64), video[few].to(dtype=torch.float64)
        )
    peak = {name: peak_bytes(name, texts, videos) for name in WAYS}
    relevance = torch.arange(texts)[:, None] % videos == torch.arange(videos)
    order = {name: ranks(results[name], relevance) for name in WAYS}
    slow, quick = results["published"], results["fast"]

    def ratios(name: str, over: str = "fast") -> dict[str, float]:
        each = [a / b for a, b in zip(seconds[name], seconds[over], strict=True)]
        return {"median": statistics.median(each), "lowest": min(each), "highest": max(each)}

    return {
        "case": {
            "texts": texts,
            "videos": videos,
            "words": WORDS,
            "frames": FRAMES,
            "dim": DIM,
            "rounds": rounds,
        },
        "threads": 1,
        "cpu_s": seconds,
        "published_over_fast": ratios("published"),
        "definition_over_fast": ratios("definition"),
        "published_over_fast_with_padding_left_out": ratios("published", "fast, padding left out"),
        "peak_bytes": peak,
        "fast_share_of_published_peak": peak["fast"] / peak["published"],
        "largest_difference": float((slow - quick).abs().max()),
        "difference_from_float64": {
            name: float((results[name][few, few].double() - exact).abs().max()) for name in WAYS
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
