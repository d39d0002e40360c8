"""What a model costs: seconds of encoding, matching and reranking, and bytes of what is kept of a video."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice

import torch

from ...features import VideoFeatures
from .bench import Bench

__all__ = ["best_of", "encode_seconds", "kept_bytes", "match_seconds", "rerank_seconds", "text_seconds"]

REPEATS = 3
HALF_BYTES = 2  # an index keeps features as float16
GALLERY = 1000  # videos that a text is compared with


def best_of(work: Callable[[], object], *, repeats: int = REPEATS, device: str = "cpu") -> float:
    """Least wall-clock seconds of some runs after one that warms up: other processes only ever add."""
    seconds: list[float] = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        work()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])


def encode_seconds(bench: Bench, name: str, num_frames: int | None = None, *, videos: int = 8) -> float:
    """Seconds of turning a video's frames into features, preprocessing included and decoding not."""
    model = bench.models[name]
    clips = list(islice(iter(bench.benchmark.clips(num_frames or model.num_frames)), videos))
    return best_of(lambda: model.encode_video(clips), device=model.device.type) / len(clips)


def text_seconds(bench: Bench, name: str) -> float:
    """Seconds of encoding one text."""
    model = bench.models[name]
    return best_of(lambda: model.encode_text(bench.benchmark.texts[:1]), device=model.device.type)


@torch.inference_mode()
def match_seconds(bench: Bench, name: str) -> float:
    """Seconds of comparing one text with 1,000 videos, as a search does; the benchmark's videos come again and again
    where it has fewer."""
    model, video = bench.models[name], bench.video(name)
    gallery = video[torch.arange(GALLERY) % len(video)]
    text = bench.text(name)[:1]
    return best_of(lambda: model.matcher.query_scorer(text)(gallery), device=model.device.type)


@torch.inference_mode()
def rerank_seconds(bench: Bench, name: str, depth: int) -> float:
    """Seconds of reranking ``depth`` candidates of one text, whose tokens are at hand; 0 without a reranker."""
    model = bench.models[name]
    if model.reranker is None:
        return 0.0
    text, video = bench.reranked(name)
    rows = torch.arange(depth) % len(video)
    reranker, few = model.reranker, video[rows].to(model.device, torch.float32)
    pairs = torch.stack([torch.zeros(depth, dtype=torch.long), torch.arange(depth)], dim=1).to(model.device)
    return best_of(lambda: reranker(text[:1], few, pairs), device=model.device.type)


def kept_bytes(video: VideoFeatures) -> int:
    """Bytes of what is kept of a video, in float16: real frames and the video's embedding."""
    frames = float(video.frame_mask.sum()) / max(1, len(video))
    numbers = frames * video.frame.shape[2] + (0 if video.video is None else video.video.shape[1])
    return round(HALF_BYTES * numbers)
