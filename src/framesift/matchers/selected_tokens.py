"""TS2-Net's similarity (Liu et al., ECCV 2022, "TS2-Net: Token Shift and Selection Transformer for Text-Video
Retrieval", section 3.3).

The cosines of a text with the frames of a video are scaled to a vector of length one; its softmax weighs them. So the
weights compare a video's frames with one another, however alike all of them are to the text. Nothing to train: what
TS2-Net learns is in the frames, see :class:`framesift.temporal.TokenSelection`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import ConfigError
from ..features import Similarity, TextFeatures, VideoFeatures, unit
from ..similarity import QueryScorer, Scorer
from .base import Matcher, masked_softmax, real_frames, working_dtype

__all__ = ["SelectedTokens", "SelectedTokensConfig"]


@dataclass(frozen=True, kw_only=True)
class SelectedTokensConfig:
    """Configuration of :class:`SelectedTokens`.

    Attributes:
        sharpness: multiplies the scaled cosines; at 0 all frames count alike, towards infinity the best one alone.
    """

    sharpness: float = 4.0  # TS2-Net, released code

    def __post_init__(self) -> None:
        if not self.sharpness >= 0:
            raise ConfigError(f"sharpness={self.sharpness}: expected 0 or more")


@final
class SelectedTokens(Matcher):
    """Mean of the frames' cosines with the text, weighted by softmax(sharpness x cosines / their length)."""

    name = "selected_tokens"
    Config = SelectedTokensConfig
    config: SelectedTokensConfig

    def __init__(self, config: SelectedTokensConfig | None = None) -> None:
        super().__init__(config or SelectedTokensConfig())

    def forward(self, text: TextFeatures, video: VideoFeatures) -> Similarity:
        """Weighted cosine of every text and video; 0 for a video without a real frame."""
        self._check(text, None, dim=video.frame.shape[2])
        return self._score(_unit_texts(text), _unit_frames(video), video.frame_mask)

    def attention(self, text: TextFeatures, video: VideoFeatures) -> Float[Tensor, "text video frame"]:
        """The weights of the cosines."""
        self._check(text, None, dim=video.frame.shape[2])
        return self._weights(_cosines(_unit_texts(text), _unit_frames(video)), video.frame_mask)

    def scorer(self, video: VideoFeatures) -> Scorer:
        """Normalise the frames once."""
        dim = video.frame.shape[2]
        with torch.no_grad():
            frames, mask = _unit_frames(video), video.frame_mask

        def score(text: TextFeatures) -> Float[Tensor, "text video"]:
            self._check(text, None, dim=dim)
            with torch.no_grad():
                return self._score(_unit_texts(text), frames, mask)

        return score

    def query_scorer(self, text: TextFeatures) -> QueryScorer:
        """Normalise the texts once."""
        with torch.no_grad():
            query = _unit_texts(text)

        def score(video: VideoFeatures) -> Float[Tensor, "text video"]:
            self._check(None, video, dim=query.shape[1])
            with torch.no_grad():
                return self._score(query, _unit_frames(video), video.frame_mask)

        return score

    def _score(
        self,
        query: Float[Tensor, "text dim"],
        frames: Float[Tensor, "video frame dim"],
        mask: Bool[Tensor, "video frame"],
    ) -> Float[Tensor, "text video"]:
        cosine = _cosines(query, frames)
        return (self._weights(cosine, mask) * cosine).sum(dim=2)

    def _weights(
        self, cosine: Float[Tensor, "text video frame"], mask: Bool[Tensor, "video frame"]
    ) -> Float[Tensor, "text video frame"]:
        return masked_softmax(self.config.sharpness * unit(cosine), mask)


def _cosines(
    query: Float[Tensor, "text dim"], frames: Float[Tensor, "video frame dim"]
) -> Float[Tensor, "text video frame"]:
    """Of unit vectors, 0 at masked frames, which are zero."""
    return (query @ frames.flatten(0, 1).T).unflatten(1, frames.shape[:2])


def _unit_texts(text: TextFeatures) -> Float[Tensor, "text dim"]:
    return unit(text.sentence.to(working_dtype(text.sentence)))


def _unit_frames(video: VideoFeatures) -> Float[Tensor, "video frame dim"]:
    return unit(real_frames(video, working_dtype(video.frame)))
