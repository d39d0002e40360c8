"""CrossTVR's head trained in three ways: from cached tokens, from tokens computed again, with the encoder fine-tuned.

    python tests/benchmarks/bench_head_training.py --json results/bench-head-training.json

The same head, batches, negatives and noise at every step: ``cached``, tokens of the frozen encoder read from a
``TokenCache`` (float16); ``recomputed``, the frozen encoder run on the frames of every batch; ``fine-tuned``, the
encoder trained along with the head. First stage and encoder are the bundled storyboard-clip. Frames are in memory
before the clock starts, so that no way pays for decoding, which favours the latter two; filling the cache is a number
of its own.

Each way runs in a process of its own. Time is its CPU time (user + system), one thread, because other processes may
share the machine. Peak memory is the growth of the resident set (``VmHWM``) over what imports, data and weights need;
pages of the cache that are mapped count.

The paper (CrossTVR) names -91 % memory and -58 % time for frozen against fine-tuned, of ViT-G/14 on an
A100. Head and encoder are another size here, and so is the share of the encoder: the numbers stand beside one
another, not against one another.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from record import keep, machine
from torch.nn.utils.rnn import pad_sequence

import framesift as fs
from framesift.encoders.clip import ClipEncoder
from framesift.encoders.patches import ClipPatches
from framesift.evaluation.storyboard import frames_of
from framesift.features import VideoFeatures
from framesift.model import RetrievalModel
from framesift.rerankers import CrossTVR, CrossTVRConfig
from framesift.rerankers.qformer import QFormerConfig
from framesift.storyboard import standard
from framesift.training.fit import FitConfig
from framesift.training.rerank_fit import RerankData, fit_reranker
from framesift.training.token_cache import TokenCache

WAYS = ("cached", "recomputed", "fine-tuned")
VIDEOS, FRAMES, TOKENS, WIDTH, WORD_WIDTH = 64, 12, 37, 192, 256
HEAD = CrossTVRConfig(
    qformer=QFormerConfig(
        visual_width=WIDTH, hidden=128, num_layers=2, num_heads=4, ffn_width=512, num_queries=8, vocab_size=4
    ),
    word_width=WORD_WIDTH,
    selection_samples=100,
)
CURVE_TOLERANCE = 0.01  # of the loss, at any step: what tokens in float16 may change
PAPER = {"memory": -91.0, "time": -58.0}


def config(steps: int, batch_size: int) -> FitConfig:
    """The same schedule for all ways."""
    return FitConfig(
        steps=steps,
        batch_size=batch_size,
        lr=1e-3,
        warmup_steps=5,
        weight_decay=0.01,
        log_every=1,
        checkpoint_s=1e9,
    )


def train(way: str, steps: int, batch_size: int) -> dict[str, Any]:
    """Loss curve, seconds and memory of one way, measured in this process."""
    torch.set_num_threads(1)
    bundled = fs.load("storyboard-clip", device="cpu")
    encoder = bundled.encoder
    assert isinstance(encoder, ClipEncoder)
    gallery = standard(VIDEOS, split="val")
    clips = {str(i): frames_of(video, FRAMES) for i, video in enumerate(gallery.videos)}
    names = list(clips)
    text, video = encoder.encode_text(gallery.texts, words=True), encoder.encode_video(list(clips.values()))
    tower = ClipPatches(encoder.model.vision_model, encoder.preprocessing)
    tower.requires_grad_(way == "fine-tuned")

    def recomputed(rows: Sequence[int]) -> VideoFeatures:
        return tower.encode_video([clips[names[row]] for row in rows])

    def differentiable(rows: Sequence[int]) -> VideoFeatures:
        parts = [tower(tower.preprocessing(clips[names[row]].pixels)) for row in rows]
        patch = pad_sequence(parts, batch_first=True)
        mask = torch.arange(patch.shape[1]) < torch.tensor([len(part) for part in parts])[:, None]
        return VideoFeatures(frame=patch[:, :, 0], frame_mask=mask, patch=patch)

    with tempfile.TemporaryDirectory() as folder:
        cache = TokenCache(
            Path(folder) / "tokens",
            names,
            lambda few: tower.encode_video([clips[name] for name in few]),
            fingerprint=tower.fingerprint(),
            shape=(FRAMES, TOKENS, WIDTH),
            max_bytes=2**30,
        )
        started = time.process_time()
        if way == "cached":
            cache.fill()
        fill_s = time.process_time() - started
        tokens = {"cached": cache.features, "recomputed": recomputed, "fine-tuned": differentiable}[way]
        data = RerankData(
            texts=gallery.texts,
            owner=torch.arange(VIDEOS),
            text=text,
            video=video,
            tokens=tokens,
            relevance=torch.from_numpy(gallery.relevance),
        )

        def fit(steps: int, batch_size: int, name: str) -> list[dict[str, float | int]]:
            torch.manual_seed(0)
            model = RetrievalModel(encoder, bundled.temporal, bundled.matcher, CrossTVR(HEAD))
            return fit_reranker(
                model,
                data,
                config=config(steps, batch_size),
                folder=Path(folder) / name,
                image_encoder=tower if way == "fine-tuned" else None,
            )

        weights = {name: weight.clone() for name, weight in tower.state_dict().items()}
        fit(2, 2, "warm")  # libraries set themselves up
        tower.load_state_dict(weights)
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        started = time.process_time()
        log = fit(steps, batch_size, "run")
        seconds = time.process_time() - started
    status = Path("/proc/self/status").read_text().splitlines()
    high = next(line for line in status if line.startswith("VmHWM"))
    return {
        "loss": [entry["loss"] for entry in log],
        "cpu_s": seconds,
        "cpu_s_a_step": seconds / steps,
        "peak_bytes": int(high.split()[1]) * 1024 - pages * resource.getpagesize(),
        **({"fill_cpu_s": fill_s} if way == "cached" else {}),
    }


def measure(steps: int, batch_size: int) -> dict[str, Any]:
    """Everything that the file's docstring promises."""
    runs: dict[str, dict[str, Any]] = {}
    for way in WAYS:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            runs[way] = pool.apply(train, (way, steps, batch_size))
        print(
            f"{way}: {runs[way]['cpu_s']:.1f} s, {runs[way]['peak_bytes'] / 2**20:.0f} MiB", file=sys.stderr
        )

    def change(key: str, to: str, of: str) -> float:
        return 100 * (runs[to][key] / runs[of][key] - 1)

    gap = max(abs(a - b) for a, b in zip(runs["cached"]["loss"], runs["recomputed"]["loss"], strict=True))
    return {
        "case": {
            "steps": steps,
            "batch_size": batch_size,
            "videos": VIDEOS,
            "frames": FRAMES,
            "tokens": TOKENS,
            "encoder": "storyboard-clip: 5 layers of width 192, 96 px",
            "qformer": vars(HEAD.qformer),
            "selection_samples": HEAD.selection_samples,
        },
        "threads": 1,
        "runs": runs,
        "largest_difference_of_loss_cached_recomputed": gap,
        "same_curve": gap <= CURVE_TOLERANCE,
        "steps_until_the_cache_is_paid": runs["cached"]["fill_cpu_s"]
        / (runs["recomputed"]["cpu_s_a_step"] - runs["cached"]["cpu_s_a_step"]),
        "percent_change": {
            f"{to} against {of}": {
                "memory": change("peak_bytes", to, of),
                "time": change("cpu_s", to, of),
            }
            for to, of in (("cached", "recomputed"), ("cached", "fine-tuned"), ("recomputed", "fine-tuned"))
        },
        "paper_percent_change_frozen_against_fine_tuned": PAPER,
        "sizes_differ_from_the_paper": True,
        "machine": machine(),
    }


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where to keep the numbers")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=16)
    options = parser.parse_args()
    result = measure(options.steps, options.batch_size)
    keep(result, options.json)


if __name__ == "__main__":
    main()
