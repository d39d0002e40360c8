"""Features of videos that a frozen encoder makes once: computed in parts, each a file, so that a killed run goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ..features import TextFeatures, VideoFeatures
from .checkpoint import load_state, save_state

__all__ = ["cached_sentences", "cached_videos"]

PART = 256  # videos a file
TEXTS = 4096  # texts between two lines of the report

Encode = Callable[[Sequence[str]], tuple[VideoFeatures | None, dict[str, str]]]


def cached_videos(
    folder: Path,
    videos: Sequence[str],
    encode: Encode,
    *,
    key: str,
    num_frames: int,
    report: Callable[[str], None],
) -> tuple[VideoFeatures | None, dict[str, str]]:
    """Frame embeddings of the videos that can be read, in their order, and why the others cannot.

    Args:
        videos: their ids.
        encode: some ids -> features of those that can be read, and reasons by id for the others.
        key: of all that decides the features but the ids; files with another one are made anew.
        num_frames: videos are padded to so many.
        report: hears how far it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts: list[VideoFeatures] = []
    failed: dict[str, str] = {}
    for start in range(0, len(videos), PART):
        chosen = list(videos[start : start + PART])
        own_key = hashlib.sha256("\0".join([key, *chosen]).encode("utf-8", "surrogatepass")).hexdigest()
        path = folder / f"{start:08d}.pt"
        state: dict[str, Any] | None = load_state(path)
        if state is None or state["key"] != own_key:
            features, reasons = encode(chosen)
            tensors = {} if features is None else _padded(features, num_frames)
            state = {"key": own_key, "failed": reasons, **tensors}
            save_state(path, state)
            report(f"encoded {min(start + PART, len(videos)):,} of {len(videos):,} videos")
        failed |= state["failed"]
        if "frame" in state:
            parts.append(
                VideoFeatures(frame=state["frame"], frame_mask=state["frame_mask"], video=state.get("video"))
            )
    return (VideoFeatures.cat(parts) if parts else None), failed


def cached_sentences(
    path: Path,
    texts: Sequence[str],
    encode: Callable[[Sequence[str]], TextFeatures],
    *,
    key: str,
    report: Callable[[str], None],
) -> TextFeatures:
    """Sentence embeddings of many texts, from the file ``path`` where it is of them and of ``key``."""
    own_key = hashlib.sha256("\0".join([key, *texts]).encode("utf-8", "surrogatepass")).hexdigest()
    state: dict[str, Any] | None = load_state(path)
    if state is None or state["key"] != own_key:
        rows: list[torch.Tensor] = []
        for start in range(0, len(texts), TEXTS):
            rows.append(encode(texts[start : start + TEXTS]).sentence.cpu())
            if len(texts) > TEXTS:
                report(f"encoded {min(start + TEXTS, len(texts)):,} of {len(texts):,} captions")
        state = {"key": own_key, "sentence": torch.cat(rows)}
        save_state(path, state)
    return TextFeatures(sentence=state["sentence"])


def _padded(features: VideoFeatures, num_frames: int) -> dict[str, torch.Tensor]:
    frame, mask = features.frame.cpu(), features.frame_mask.cpu()
    short = num_frames - frame.shape[1]
    if short > 0:
        frame = torch.nn.functional.pad(frame, (0, 0, 0, short))
        mask = torch.nn.functional.pad(mask, (0, short))
    video = {} if features.video is None else {"video": features.video.cpu()}
    return {"frame": frame.contiguous(), "frame_mask": mask.contiguous(), **video}
