"""Near-duplicates: copies of videos in other sizes and qualities, and cut, against different videos that look alike."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ...features import TextFeatures, masked_mean
from ...search.grouping import MOST_APART, distances
from ...search.terms import score_term
from ...storyboard import (
    SIZE_PX,
    Storyboard,
    binding_pairs,
    count_pairs,
    direction_pairs,
    order_pairs,
    render_frame,
    render_frames,
    small_object_pairs,
    write_mp4,
)
from ...video import Frames, Uniform, decode
from .galleries import Models, Seen, seen

__all__ = ["measure_copies", "measure_pictures"]

KINDS = {
    "twice the size": (2 * SIZE_PX, 0.0),
    "half the size": (SIZE_PX // 2, 0.0),
    "a twentieth cut off": (SIZE_PX, 0.05),
    "a tenth cut off": (SIZE_PX, 0.1),
}
PAIRS = {
    "scenes in another order": order_pairs,
    "played backwards": direction_pairs,
    "colours exchanged": binding_pairs,
    "another small object": small_object_pairs,
    "one object more": count_pairs,
}
THRESHOLDS = (0.01, 0.02, MOST_APART, 0.05)


def measure_copies(
    models: Models,
    galleries: dict[str, Seen],
    videos: tuple[Storyboard, ...],
    *,
    copied: int,
    pairs: int,
    start: int,
) -> dict[str, Any]:
    """Distances of copies and of different videos, and what percentage of each is taken for copies, by threshold."""
    copies: dict[str, dict[str, Seen]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, (size, cut) in KINDS.items():
            copies[kind] = seen(
                models, [_copied(one, Path(folder) / "copy.mp4", size, cut) for one in videos[:copied]]
            )
    others = {kind: seen(models, make(pairs, start=start).videos) for kind, make in PAIRS.items()}
    rows: dict[str, Any] = {}
    for name, own in galleries.items():
        first = own.video[:copied]
        apart = {kind: distances(first, of[name].video).diagonal().numpy() for kind, of in copies.items()}
        alike = {kind: _of_pairs(of[name]) for kind, of in others.items()}
        every = distances(own.video, own.video).numpy()
        distinct = every[np.triu_indices(len(every), 1)]
        rows[name] = {
            "copies": {kind: _told(found) for kind, found in apart.items()},
            "different": {
                kind: _told(found) for kind, found in (alike | {"any two videos": distinct}).items()
            },
            "nearest_different": float(distinct.min()),
        }
    return {"copied": copied, "pairs_of_a_kind": pairs, "threshold": MOST_APART, "models": rows}


def measure_pictures(
    galleries: dict[str, Seen], videos: tuple[Storyboard, ...], *, asked: int
) -> dict[str, Any]:
    """R@1 of the video that a picture was taken from, at a time that no sampled frame has, by way of comparing."""
    chosen = np.linspace(0, len(videos) - 1, asked).astype(int)
    rows: dict[str, Any] = {}
    pictures = [np.array(render_frame(videos[row], videos[row].num_frames // 3)) for row in chosen]
    for name, own in galleries.items():
        found: dict[str, list[bool]] = {}
        for row, picture in zip(chosen, pictures, strict=True):
            shown = own.model.encode_video(
                [Frames(pixels=picture[None], times_s=np.zeros(1), path="picture")]
            )
            frame, mask = shown.frame, shown.frame_mask
            term = TextFeatures(sentence=masked_mean(frame, mask), word=frame, word_mask=mask)
            pooled = masked_mean(own.video.frame, own.video.frame_mask) @ term.sentence[0]
            ways = {
                "frame to frame": torch.from_numpy(score_term(own.model, term, "image", own.video)),
                "mean of frames": pooled,
            }
            if own.model.matcher.num_words is None:
                ways["the matcher, as if it were a text"] = own.similarity(term)[0]
            for label, scores in ways.items():
                found.setdefault(label, []).append(int(scores.argmax()) == row)
        rows[name] = {label: 100 * float(np.mean(hits)) for label, hits in found.items()}
    return {"pictures": asked, "models": rows}


def _copied(video: Storyboard, path: Path, size: int, cut: float) -> Frames:
    """The frames that an index takes of a copy: scaled, its beginning cut off, encoded and decoded again."""
    frames = list(render_frames(video))
    pictures = [
        np.asarray(Image.fromarray(frame).resize((size, size), Image.Resampling.BILINEAR))
        for frame in frames[round(cut * len(frames)) :]
    ]
    write_mp4(pictures, path, size_px=size)
    return decode(path, Uniform(num_frames=12))


def _of_pairs(own: Seen) -> np.ndarray:
    apart = distances(own.video, own.video)
    return torch.stack([apart[row, row + 1] for row in range(0, len(apart), 2)]).numpy()


def _told(found: np.ndarray) -> dict[str, Any]:
    return {
        "median": float(np.median(found)),
        "taken": {f"{least:g}": 100 * float((found <= least).mean()) for least in THRESHOLDS},
    }
