"""Splits of Storyboard: disjoint ranges of seeds, each video a pure function of its seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from ..errors import InputError, suggest
from .captions import captions, paragraph
from .render import SIZE_PX, render_frames, write_mp4
from .scenes import FPS, VERSION, Storyboard, draw_storyboard

__all__ = [
    "SPLITS",
    "content_hash",
    "ground_truth",
    "storyboards",
    "video_name",
    "write_captions",
    "write_split",
    "write_videos",
]

SPLITS = {
    "train": range(10_000_000),
    "val": range(10_000_000, 11_000_000),
    "test": range(11_000_000, 12_000_000),
    "pool": range(12_000_000, 13_000_000),
}
"""Seeds of each split. ``pool`` holds the foreign scenes of the ``diversity-n`` slices: no gallery contains it."""


def storyboards(split: str, count: int, *, start: int = 0) -> list[Storyboard]:
    """Videos ``start`` to ``start + count`` of a split.

    Raises:
        InputError: there is no such split, or it has fewer videos.
    """
    if split not in SPLITS:
        raise InputError(f"unknown split {split!r}{suggest(split, SPLITS)} (splits: {', '.join(SPLITS)})")
    seeds = SPLITS[split][start : start + count]
    if count < 0 or start < 0 or len(seeds) != count:
        raise InputError(
            f"split {split!r} has {len(SPLITS[split])} videos; asked for {start} to {start + count}"
        )
    return [draw_storyboard(seed) for seed in seeds]


def content_hash(videos: Iterable[Storyboard]) -> str:
    """Hash of the scene graphs and captions of videos: names a split, and changes with any rule of the benchmark."""
    digest = hashlib.sha256(VERSION.encode())
    for video in videos:
        digest.update(json.dumps(ground_truth(video), sort_keys=True).encode())
    return digest.hexdigest()[:16]


def ground_truth(video: Storyboard) -> dict[str, object]:
    """All that is known of a video, as JSON-ready values: scenes with their times, captions with their moments."""
    return {
        "seed": video.seed,
        "fps": FPS,
        "duration_s": video.duration_s,
        "scenes": [
            {**asdict(scene), "span_s": video.span_s(number)} for number, scene in enumerate(video.scenes)
        ],
        "captions": [asdict(caption) for caption in captions(video)],
        "paragraph": asdict(paragraph(video)),
    }


def video_name(video: Storyboard) -> str:
    """File name of a video's mp4."""
    return f"storyboard-{video.seed:08d}.mp4"


def write_videos(videos: Sequence[Storyboard], folder: Path, *, size_px: int = SIZE_PX) -> list[Path]:
    """Render the mp4 files that are not there yet; gives the paths of all of them in order."""
    paths = [folder / video_name(video) for video in videos]
    for video, path in zip(videos, paths, strict=True):
        if not path.exists():
            write_mp4(render_frames(video, size_px=size_px), path, size_px=size_px)
    return paths


def write_captions(videos: Sequence[Storyboard], folder: Path) -> Path:
    """Write ``captions.json``: the ground truth of every video by file name, and the hash of them all."""
    truth = {video_name(video): ground_truth(video) for video in videos}
    document = {"version": VERSION, "content_hash": content_hash(videos), "videos": truth}
    path = folder / "captions.json"
    path.write_text(json.dumps(document, indent=1))
    return path


def write_split(videos: Sequence[Storyboard], folder: str | Path, *, size_px: int = SIZE_PX) -> list[Path]:
    """Make ``folder`` with the videos and their captions; gives the paths of the videos in order.

    Raises:
        InputError: the folder cannot be written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_captions(videos, folder)
        return write_videos(videos, folder, size_px=size_px)
    except OSError as error:
        raise InputError(f"cannot write to {str(folder)!r}: {error.strerror or error}") from None
