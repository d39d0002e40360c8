"""What systems look at: frames with bars below them, words against frames, and maps over the frames' patches."""

from __future__ import annotations

import base64
import io
import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from PIL import Image
from torch import Tensor

from ...errors import ModelError
from ...explaining import explain
from ...explanation import Explanation
from ...hub import load
from ...model import RetrievalModel
from ...reranking import RerankEncoder
from ...storyboard import FPS, Caption, Storyboard, standard
from ...video import Frames
from ..storyboard import frames_of
from .blocks import Block, Frame, FrameRow, Note, Pictures, WordGrid

__all__ = ["attention_examples", "chosen_examples", "true_frames"]

PICTURE_PX = 112
QUALITY = 82
SEARCHED = 60  # videos of the test split among which examples are looked for
HEAT = (214, 40, 40)  # red
STRONGEST = 0.75  # share of it where a patch has the largest weight, so that what is there can still be seen
PALE = 0.6  # contrast of the grey picture below
SPECIAL_WORDS = 2  # the first and last token of a text are its borders

SHOWN = ("storyboard-xpool", "storyboard-xclip", "storyboard-crosstvr-xpool")
"""Bundled models that look at different things: frames, words and frames, patches."""


def attention_examples(
    model_names: Sequence[str] | None = None,
    examples: Sequence[tuple[Caption, Storyboard]] | None = None,
) -> list[Block]:
    """Explain captions and rendered Storyboard videos that they are true of.

    Args:
        model_names: as :func:`framesift.load` takes them; default: :data:`SHOWN`.
        examples: captions and videos; default: :func:`chosen_examples`.

    Raises:
        UnknownModelError, CheckpointError: a model cannot be had.
    """
    examples = chosen_examples() if examples is None else examples
    rows: defaultdict[tuple[int, int], list[FrameRow]] = defaultdict(list)
    grids: defaultdict[tuple[int, int], list[WordGrid]] = defaultdict(list)
    blocks: list[Block] = []
    counts: list[int] = []
    for name in SHOWN if model_names is None else model_names:
        model = load(name, device="cpu")
        try:
            encoder = None if model.reranker is None else RerankEncoder(model, model.reranker)
        except ModelError as error:
            blocks.append(Note(text=f"{name} is not shown: {error}", tone="warning"))
            continue
        if model.num_frames not in counts:
            counts.append(model.num_frames)
        for number, (caption, video) in enumerate(examples):
            frames = frames_of(video, model.num_frames)
            found = explain(model, caption.text, frames, rerank_encoder=encoder)
            place = number, model.num_frames
            rows[place] += _rows(name, model, frames, found)
            if (grid := _grid(name, frames, found)) is not None:
                grids[place].append(grid)
    for number, (caption, video) in enumerate(examples):
        for count in counts:
            blocks.append(_pictures(caption, video, frames_of(video, count), rows[number, count]))
            blocks += grids[number, count]
    return blocks


def chosen_examples(count: int = 3) -> list[tuple[Caption, Storyboard]]:
    """Captions of the test split that are true of some scenes of a video and not of the others."""
    gallery = standard(SEARCHED)
    found: list[tuple[Caption, Storyboard]] = []
    for kind in ("scene", "object", "order"):
        for caption, video in zip(gallery.captions, gallery.videos, strict=True):
            true = true_frames(caption, video, frames_of(video))
            if caption.kind == kind and len(video.scenes) >= 3 and any(true) and not all(true):
                found.append((caption, video))
                break
    return found[:count]


def true_frames(caption: Caption, video: Storyboard, frames: Frames) -> list[bool]:
    """Whether each frame lies in a scene that the caption speaks of."""
    ends = np.cumsum([scene.num_frames for scene in video.scenes]) / FPS
    spoken = [any(claim.holds(scene) for claim in caption.claims) for scene in video.scenes]
    scenes = np.searchsorted(ends, frames.times_s + 1e-6, side="right")
    return [spoken[min(int(scene), len(spoken) - 1)] for scene in scenes]


def _pictures(caption: Caption, video: Storyboard, frames: Frames, rows: Sequence[FrameRow]) -> Pictures:
    true = true_frames(caption, video, frames)
    return Pictures(
        caption=caption.text,
        video=f"Storyboard test video {video.seed}, {video.duration_s:.1f} s, {len(video.scenes)} scenes",
        frames=[
            Frame(source=_data_uri(pixels), time_s=float(time_s), true=spoken)
            for pixels, time_s, spoken in zip(frames.pixels, frames.times_s, true, strict=True)
        ],
        rows=rows,
    )


def _rows(name: str, model: RetrievalModel, frames: Frames, found: Explanation) -> list[FrameRow]:
    scores = [(key, f"{value:.3f}") for key, value in found.scores.items()]
    scores += [(key.replace("_", "–"), f"{value:.3f}") for key, value in (found.contrasts or {}).items()]
    rows: list[FrameRow] = []
    if found.frame_weight is not None:
        note = "" if model.reranker is None else "weights of its first stage"
        rows.append(FrameRow(system=name, scores=scores, weights=found.frame_weight.tolist(), note=note))
    for map_, note in (
        (found.patch_weight, "where attention falls in each frame"),
        (found.patch_selected, "patches that are kept"),
    ):
        maps = None if map_ is None else _overlays(frames.pixels, map_)
        if maps is not None:
            rows.append(FrameRow(system=name, scores=() if rows else scores, pictures=maps, note=note))
    return rows or [FrameRow(system=name, scores=scores, note=f"{model.matcher.name} tells no weights")]


def _grid(name: str, frames: Frames, found: Explanation) -> WordGrid | None:
    if found.word_frame is None or found.words is None:
        return None
    count = min(len(found.words), len(found.word_frame))
    kept = range(1, count - 1) if count > SPECIAL_WORDS else range(count)
    values = found.word_frame[list(kept)]
    low, high = float(values.min()), float(values.max())
    span = (high - low) or 1.0
    return WordGrid(
        caption=f"{name}: similarity of every word and every frame",
        times_s=[float(time_s) for time_s in frames.times_s],
        words=[found.words[number].removesuffix("</w>") for number in kept],
        cells=[[(f"{value:.2f}", (value - low) / span) for value in row] for row in values.tolist()],
    )


def _overlays(pixels: np.ndarray, weights: Tensor) -> list[str] | None:
    """Data URIs of pale frames with the patches that count in :data:`HEAT`; None where they are no square grid.

    A colour that no frame has left is seen on dark and on light scenes alike.
    """
    patches = weights[:, 1:].float().numpy()  # without the class token
    side = math.isqrt(patches.shape[1])
    if side == 0 or side * side != patches.shape[1] or len(patches) != len(pixels):
        return None
    found: list[str] = []
    for frame, row in zip(pixels, patches, strict=True):
        share = row.reshape(side, side) / max(float(row.max()), 1e-12)
        light = Image.fromarray((255 * share).astype(np.uint8)).resize(
            (frame.shape[1], frame.shape[0]), Image.Resampling.NEAREST
        )
        strength = STRONGEST * np.asarray(light, dtype=np.float32)[..., None] / 255
        pale = 255 - (255 - frame.mean(axis=2, keepdims=True)) * PALE
        found.append(_data_uri(((1 - strength) * pale + strength * np.array(HEAT)).astype(np.uint8)))
    return found


def _data_uri(pixels: np.ndarray) -> str:
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((PICTURE_PX, PICTURE_PX), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, format="JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
