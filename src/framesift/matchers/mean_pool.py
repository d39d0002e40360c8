"""Mean pooling: CLIP4Clip's parameter-free "meanP" (Luo et al. 2021, section 3.3), the field's baseline.

A video is the mean of its unit frame embeddings; similarity is its cosine with the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from ..features import Similarity, TextFeatures, VideoFeatures, masked_mean, unit
from ..similarity import QueryScorer, Scorer
from .base import Matcher, real_frames, working_dtype

__all__ = ["MeanPool", "MeanPoolConfig"]


@dataclass(frozen=True, kw_only=True)
class MeanPoolConfig:
    """Nothing to configure."""


@final
class MeanPool(Matcher):
    """Cosine of the text and the mean of the unit frames."""

    name = "mean_pool"
    found_by = "mean"
    Config = MeanPoolConfig

    def __init__(self, config: MeanPoolConfig | None = None) -> None:
        super().__init__(config or MeanPoolConfig())

    def forward(self, text: TextFeatures, video: VideoFeatures) -> Similarity:
        """Cosine of every text and every video's mean; 0 for a video without a real frame."""
        self._check(text, None, dim=video.frame.shape[2])
        return _unit_texts(text) @ _pooled(video).T

    def attention(self, text: TextFeatures, video: VideoFeatures) -> Float[Tensor, "text video frame"]:
        """The same for every real frame, whatever the text."""
        self._check(text, None, dim=video.frame.shape[2])
        weight = video.frame_mask.to(working_dtype(video.frame))
        weight = weight / weight.sum(dim=1, keepdim=True).clamp_min(1.0)
        return weight.expand(len(text), -1, -1)

    def scorer(self, video: VideoFeatures) -> Scorer:
        """Pool the videos once; a score is a dot product."""
        dim = video.frame.shape[2]
        with torch.no_grad():
            pooled = _pooled(video)

        def score(text: TextFeatures) -> Float[Tensor, "text video"]:
            self._check(text, None, dim=dim)
            with torch.no_grad():
                return _unit_texts(text) @ pooled.T

        return score

    def query_scorer(self, text: TextFeatures) -> QueryScorer:
        """Normalise the texts once."""
        with torch.no_grad():
            query = _unit_texts(text)

        def score(video: VideoFeatures) -> Float[Tensor, "text video"]:
            self._check(None, video, dim=query.shape[1])
            with torch.no_grad():
                return query @ _pooled(video).T

        return score


def _unit_texts(text: TextFeatures) -> Float[Tensor, "text dim"]:
    return unit(text.sentence.to(working_dtype(text.sentence)))


def _pooled(video: VideoFeatures) -> Float[Tensor, "video dim"]:
    return masked_mean(real_frames(video, working_dtype(video.frame)), video.frame_mask)
