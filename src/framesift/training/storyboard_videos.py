"""Training videos of Storyboard with the tokens of a frozen visual tower, or of its lower blocks, computed once.

Nothing is written as a file: the frames that the sampler would take from a video's mp4 are rendered, encoded and kept in
a :class:`.TokenCache`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ..encoders import Encoder
from ..evaluation.storyboard import frame_numbers, frames_of
from ..features import VideoFeatures
from ..storyboard import FPS, Storyboard, content_hash
from ..storyboard.scenes import event_poses
from ..video import Frames
from .token_cache import TokenCache

__all__ = [
    "NUM_FRAMES",
    "Tokens",
    "centres",
    "final_tokens",
    "frame_times_s",
    "lower_blocks",
    "storyboard_tokens",
    "upper_blocks",
]

NUM_FRAMES = 12  # X-Pool, CLIP4Clip: 12 frames a video
MAX_BYTES = 8 << 30

Tokens = Callable[[Encoder, Float[Tensor, "frame channel y x"]], Float[Tensor, "frame token width"]]
"""Preprocessed frames of one video, in order -> tokens of each; without gradients."""


def lower_blocks(count: int) -> Tokens:
    """The tokens after the first ``count`` blocks of CLIP's visual tower."""

    def tokens(encoder: Encoder, pixels: Tensor) -> Tensor:
        tower = encoder.model.vision_model
        hidden = tower.pre_layrnorm(tower.embeddings(pixels))
        for block in tower.encoder.layers[:count]:
            hidden = block(hidden, attention_mask=None)
        return hidden

    return tokens


def upper_blocks(
    encoder: Encoder, hidden: Float[Tensor, "frame token width"], *, first: int
) -> Float[Tensor, "frame dim"]:
    """Frame embeddings from what :func:`lower_blocks` gave. Differentiable.

    Of the last block only the class token is computed, which alone is read: a third of the work is saved.
    """
    tower = encoder.model.vision_model
    for block in tower.encoder.layers[first:-1]:
        hidden = block(hidden, attention_mask=None)
    block = tower.encoder.layers[-1]
    attention, normed = block.self_attn, block.layer_norm1(hidden)
    frames, _, width = normed.shape

    def heads(x: Tensor) -> Tensor:
        return x.view(frames, -1, attention.num_heads, width // attention.num_heads).transpose(1, 2)

    seen = scaled_dot_product_attention(
        heads(attention.q_proj(normed[:, :1])),
        heads(attention.k_proj(normed)),
        heads(attention.v_proj(normed)),
        scale=attention.scale,
    )
    token = hidden[:, :1] + attention.out_proj(seen.transpose(1, 2).reshape(frames, 1, width))
    token = token + block.mlp(block.layer_norm2(token))
    return encoder.model.visual_projection(tower.post_layernorm(token[:, 0]))


def final_tokens(encoder: Encoder, pixels: Tensor) -> Tensor:
    """What a reranker and TS2-Net read: all tokens after the tower's last norm."""
    return encoder.forward_patches(pixels)[1]


def storyboard_tokens(
    folder: Path,
    encoder: Encoder,
    videos: Sequence[Storyboard],
    tokens: Tokens = final_tokens,
    *,
    name: str = "final",
) -> TokenCache:
    """Tokens of videos, kept in ``folder`` and computed when they are first asked for.

    Args:
        name: what ``tokens`` computes; part of the fingerprint.
    """
    boards = {str(number): video for number, video in enumerate(videos)}
    device = encoder.device

    def encode(names: Sequence[str]) -> VideoFeatures:
        clips = [frames_of(boards[name], NUM_FRAMES) for name in names]
        lengths = torch.tensor([len(clip.pixels) for clip in clips])
        with torch.no_grad():
            own = [tokens(encoder, encoder.preprocess(clip.pixels).to(device)).cpu() for clip in clips]
        patch = torch.nn.utils.rnn.pad_sequence(own, batch_first=True)
        mask = torch.arange(patch.shape[1]) < lengths[:, None]
        return VideoFeatures(frame=patch[:, :, 0], frame_mask=mask, patch=patch)

    shape = _shape(encoder, encode([next(iter(boards))]))
    settings = f"{encoder.fingerprint()} {content_hash(videos)} {name} {NUM_FRAMES}"
    return TokenCache(
        folder,
        list(boards),
        encode,
        fingerprint=hashlib.sha256(settings.encode()).hexdigest(),
        shape=shape,
        max_bytes=MAX_BYTES,
        batch_size=8,
    )


def frame_times_s(video: Storyboard) -> np.ndarray[Any, Any]:
    """When the frames that the sampler takes are on display, ``[frame]``."""
    return frame_numbers(video, NUM_FRAMES) / FPS


def centres(video: Storyboard) -> Float[Tensor, "frame 2"]:
    """Centre of mass of the objects in each of the frames that the sampler takes, as a fraction of the picture.

    The last one is repeated where a video has fewer frames.
    """
    found: list[tuple[float, float]] = []
    for number in frame_numbers(video, NUM_FRAMES).tolist():
        scene_number, inside = video.locate(number)
        scene = video.scenes[scene_number]
        progress = inside / max(1, scene.num_frames - 1)
        poses = (
            event_poses(scene, progress)
            if scene.event
            else [thing.pose(progress, inside / FPS) for thing in scene.objects]
        )
        areas = [thing.radius**2 for thing in scene.objects]
        weighted = list(zip(areas, poses, strict=True))
        found.append(
            (
                sum(area * pose.x for area, pose in weighted) / sum(areas),
                sum(area * pose.y for area, pose in weighted) / sum(areas),
            )
        )
    return torch.tensor(found + found[-1:] * (NUM_FRAMES - len(found)))


def _shape(encoder: Encoder, video: VideoFeatures) -> tuple[int, int, int]:
    assert video.patch is not None
    return (NUM_FRAMES, video.patch.shape[2], video.patch.shape[3])
