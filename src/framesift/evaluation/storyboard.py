"""Measure the bundled models on Storyboard: ``python -m framesift.evaluation.storyboard --output results``.

Writes ``storyboard-standard.json`` (1,000 real mp4 files, written and decoded again) and ``storyboard-diversity.json``
(foreign scenes in every video, the protocol of X-Pool's Figure 4) with its plot.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..encoders import Encoder
from ..features import VideoFeatures
from ..hub import load
from ..matchers import Matcher, MeanPool, SoftmaxPool, SoftmaxPoolConfig, TopK
from ..metrics import ranks, summarise
from ..similarity import similarity_matrix
from ..storyboard import FPS, Storyboard, content_hash, diversity, render_frame, standard, write_split
from ..video import Frames, Uniform, available_cores, load_videos
from .evaluate import evaluate_similarity
from .plots import plot_diversity
from .results import write_result
from .significance import bootstrap_interval

__all__ = [
    "bootstrap_interval",
    "encode_storyboards",
    "frame_numbers",
    "frames_of",
    "measure_diversity",
    "measure_standard",
]

MODEL = "storyboard-xpool"
CHUNK = 32


def frame_numbers(
    video: Storyboard, num_frames: int = 12, *, start_s: float = 0.0, end_s: float | None = None
) -> np.ndarray:
    """Numbers of the frames that uniform sampling takes from the video's file, or from a moment of it, ascending,
    int64."""
    times = Uniform(num_frames=num_frames).times(start_s, video.duration_s if end_s is None else end_s)
    # The frame on display at a time; a time that is exactly a frame's start may be a hair early in floating point.
    return np.unique(np.minimum(np.floor(times * FPS + 1e-6).astype(int), video.num_frames - 1))


def frames_of(
    video: Storyboard, num_frames: int = 12, *, start_s: float = 0.0, end_s: float | None = None
) -> Frames:
    """The frames that uniform sampling takes from the video's file, or a moment of it, rendered without the file."""
    numbers = frame_numbers(video, num_frames, start_s=start_s, end_s=end_s)
    pixels = np.stack([render_frame(video, int(number)) for number in numbers])
    return Frames(pixels=pixels, times_s=numbers / FPS, path=f"storyboard:{video.seed}")


def encode_storyboards(
    encoder: Encoder, videos: Iterable[Storyboard], *, patches: bool = False
) -> VideoFeatures:
    """Frame embeddings of videos, and patch tokens where asked for, rendered and encoded a few at a time."""
    return _encode(encoder, (frames_of(video) for video in videos), patches=patches)


def measure_standard(count: int, folder: Path) -> dict[str, Any]:
    """Every matcher on the ``standard`` slice, through real mp4 files in ``folder``."""
    model = load(MODEL, device="cpu")
    gallery = standard(count)
    paths = write_split(gallery.videos, folder)
    decoded = load_videos(paths, Uniform(num_frames=model.num_frames), workers=available_cores())

    def good() -> Iterable[Frames]:
        for frames in decoded:
            if not isinstance(frames, Frames):
                raise frames
            yield frames

    video = _encode(model.encoder, good())
    text = model.encode_text(gallery.texts)
    relevance = torch.from_numpy(gallery.relevance)
    rows: dict[str, Any] = {}
    by_scenes: dict[str, dict[str, float]] = {}
    scenes = torch.tensor([len(board.scenes) for board in gallery.videos])
    for name, matcher in _matchers(model.matcher).items():
        similarity = similarity_matrix(matcher, text, video)
        rows[name] = evaluate_similarity(similarity, relevance=relevance).to_dict()
        first = ranks(similarity, relevance) <= 1
        rows[name]["t2v"]["r1_interval"] = bootstrap_interval(first)
        by_scenes[name] = {
            str(n): 100 * float(first[scenes == n].double().mean()) for n in scenes.unique().tolist()
        }
    return {
        "slice": gallery.name,
        "videos": count,
        "content_hash": content_hash(gallery.videos),
        "texts_with_several_answers": int((relevance.sum(dim=1) > 1).sum()),
        "matchers": rows,
        "t2v_r1_by_number_of_scenes": by_scenes,
        "videos_by_number_of_scenes": {str(n): int((scenes == n).sum()) for n in scenes.unique().tolist()},
    }


def measure_diversity(count: int, most: int, *, source: str) -> dict[str, Any]:
    """Median rank and R@1 of every matcher with 0 to ``most`` foreign scenes in every video."""
    model = load(MODEL, device="cpu")
    base = standard(count)
    text = model.encode_text(base.texts)
    rows: dict[str, dict[int, dict[str, float]]] = {name: {} for name in _matchers(model.matcher)}
    answers: dict[int, int] = {}
    for foreign in range(most + 1):
        gallery = diversity(base, foreign, source=source)
        video = encode_storyboards(model.encoder, gallery.videos)
        relevance = torch.from_numpy(gallery.relevance)
        answers[foreign] = int((relevance.sum(dim=1) > 1).sum())
        for name, matcher in _matchers(model.matcher).items():
            found = ranks(similarity_matrix(matcher, text, video), relevance)
            metrics = summarise(found, ties="pessimistic", direction="t2v")
            low, high = bootstrap_interval(found <= 1)
            rows[name][foreign] = {
                "median_rank": metrics.median_rank,
                "mean_rank": metrics.mean_rank,
                "r1": metrics.recall_at[1],
                "r5": metrics.recall_at[5],
                "r1_low": low,
                "r1_high": high,
            }
    return {
        "videos": count,
        "source_of_foreign_scenes": source,
        "texts_with_several_answers": answers,
        "matchers": rows,
    }


def _matchers(trained: Matcher) -> dict[str, Matcher]:
    return {
        "mean-pool": MeanPool(),
        "top-k (k = 3)": TopK(),
        "softmax-pool (T = 0.01)": SoftmaxPool(SoftmaxPoolConfig(temperature=0.01)),
        "X-Pool": trained,
    }


def _encode(encoder: Encoder, clips: Iterable[Frames], *, patches: bool = False) -> VideoFeatures:
    parts: list[VideoFeatures] = []
    rest = iter(clips)
    while chunk := list(islice(rest, CHUNK)):
        parts.append(encoder.encode_video(chunk, patches=patches))
    return VideoFeatures.cat(parts)


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("results"))
    parser.add_argument("--videos", type=int, default=1000)
    parser.add_argument("--foreign", type=int, default=8)
    options = parser.parse_args(arguments)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        result = measure_standard(options.videos, Path(folder))
    write_result(
        options.output / "storyboard-standard.json",
        {**result, "model": MODEL},
        seconds=time.monotonic() - started,
    )
    print(json.dumps(result["matchers"], indent=1), file=sys.stderr)
    started = time.monotonic()
    curves = {
        source: measure_diversity(options.videos, options.foreign, source=source)
        for source in ("pool", "gallery")
    }
    write_result(
        options.output / "storyboard-diversity.json",
        {**curves, "model": MODEL},
        seconds=time.monotonic() - started,
    )
    plot_diversity(
        curves["pool"]["matchers"],
        options.output / "storyboard-diversity.png",
        title=f"Storyboard diversity-n: foreign scenes in each of {options.videos:,} videos, 12 frames each",
    )


if __name__ == "__main__":
    main()
