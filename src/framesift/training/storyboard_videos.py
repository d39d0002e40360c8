"""Training videos of Storyboard with the tokens of a frozen visual tower, computed once.

Nothing is written as a file: the frames that the sampler would take from a video's mp4 are rendered, encoded and kept
in a :class:`.TokenCache`.
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

from ..encoders import Encoder
from ..encoders.token_shift import TokenShiftClipEncoder
from ..encoders.weights import hash_state
from ..evaluation.storyboard import frame_numbers, frames_of
from ..features import VideoFeatures
from ..storyboard import FPS, Storyboard, content_hash
from .token_cache import TokenCache

__all__ = ["NUM_FRAMES", "cached_frames", "frame_times_s", "storyboard_tokens"]

NUM_FRAMES = 12  # X-Pool, CLIP4Clip: 12 frames a video
MAX_BYTES = 8 << 30


def storyboard_tokens(
    folder: Path,
    encoder: Encoder,
    videos: Sequence[Storyboard],
    *,
    report: Callable[[str], None] | None = None,
) -> TokenCache:
    """The final tokens of videos, kept in ``folder``: what rerankers and TS2-Net read.

    Args:
        report: receives a line now and then while they are computed.
    """
    boards = {str(number): video for number, video in enumerate(videos)}

    def encode(names: Sequence[str]) -> VideoFeatures:
        return encoder.encode_video([frames_of(boards[name], NUM_FRAMES) for name in names], patches=True)

    first = encode(["0"]).patch
    assert first is not None
    tower: Any = encoder.model.vision_model
    weights = hash_state(tower.state_dict())  # a text tower that goes on changes no token
    shifted = encoder.shift_layers if isinstance(encoder, TokenShiftClipEncoder) else ()
    settings = f"{weights} {shifted} {content_hash(videos)} {NUM_FRAMES}"
    cache = TokenCache(
        folder,
        list(boards),
        encode,
        fingerprint=hashlib.sha256(settings.encode()).hexdigest(),
        shape=(NUM_FRAMES, first.shape[2], first.shape[3]),
        max_bytes=MAX_BYTES,
    )
    cache.fill(report=report)
    return cache


@torch.no_grad()
def cached_frames(encoder: Encoder, cache: TokenCache) -> Float[Tensor, "video frame dim"]:
    """The frame embeddings of all videos of a cache whose tokens are those of ``encoder``."""
    patch = cache.mapped().patch
    assert patch is not None
    return torch.cat([encoder.project(piece[:, :, 0].float()) for piece in patch.split(256)])


def frame_times_s(video: Storyboard) -> Float[np.ndarray, " frame"]:
    """When the frames that the sampler takes are on display."""
    return frame_numbers(video, NUM_FRAMES) / FPS
