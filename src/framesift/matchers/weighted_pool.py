"""Pooling by weights that depend on the cosines of text and frames alone: what TopK and SoftmaxPool share.

With unit text ``t``, unit frames ``F`` (one a row) and weights ``w`` computed from the cosines ``c = F t``, the
pooled vector is ``F'w`` and its cosine with the text is::

    (w . c) / sqrt(w' (F F') w)

so that a pair costs one dot product a frame, and the pooled vector never exists in the fast forms.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..features import Similarity, TextFeatures, VideoFeatures, unit
from ..similarity import QueryScorer, Scorer
from .base import Matcher, real_frames, working_dtype

__all__ = ["WeightedPool"]

BLOCK_ELEMENTS = 1 << 19
"""Cosines held at once by the fast forms: 2 MiB, which stay in cache."""


class WeightedPool(Matcher):
    """Similarity = cosine of the text and a weighted sum of unit frames."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)

    @abstractmethod
    def weights(
        self, cosine: Float[Tensor, "text video frame"], frame_mask: Bool[Tensor, "video frame"]
    ) -> Float[Tensor, "text video frame"]:
        """Weights over frames from their cosines with the text: sum to 1, and 0 at masked frames."""

    def pool(self, text: TextFeatures, video: VideoFeatures) -> Float[Tensor, "text video dim"]:
        """The pooled vector of every pair, not normalised; zero for a video without a real frame."""
        return torch.einsum("tvf,vfd->tvd", self.attention(text, video), _unit_frames(video))

    def attention(self, text: TextFeatures, video: VideoFeatures) -> Float[Tensor, "text video frame"]:
        """The weights of the pooled sum."""
        self._check(text, None, dim=video.frame.shape[2])
        cosine = torch.einsum("td,vfd->tvf", _unit_texts(text), _unit_frames(video))
        return self.weights(cosine, video.frame_mask)

    def forward(self, text: TextFeatures, video: VideoFeatures) -> Similarity:
        """Cosine of every text with the video pooled for it; 0 for a video without a real frame."""
        return torch.einsum("td,tvd->tv", _unit_texts(text), unit(self.pool(text, video)))

    def scorer(self, video: VideoFeatures) -> Scorer:
        """Normalise the frames and take their Gram matrices once."""
        dim = video.frame.shape[2]
        with torch.no_grad():
            frames, mask = _unit_frames(video), video.frame_mask
            gram = frames @ frames.mT

        def score(text: TextFeatures) -> Float[Tensor, "text video"]:
            self._check(text, None, dim=dim)
            with torch.no_grad():
                return self._score(_unit_texts(text), frames, gram, mask)

        return score

    def query_scorer(self, text: TextFeatures) -> QueryScorer:
        """Normalise the texts once."""
        with torch.no_grad():
            query = _unit_texts(text)

        def score(video: VideoFeatures) -> Float[Tensor, "text video"]:
            self._check(None, video, dim=query.shape[1])
            with torch.no_grad():
                frames = _unit_frames(video)
                return self._score(query, frames, frames @ frames.mT, video.frame_mask)

        return score

    def _score(
        self,
        query: Float[Tensor, "text dim"],
        frames: Float[Tensor, "video frame dim"],
        gram: Float[Tensor, "video frame frame"],
        mask: Bool[Tensor, "video frame"],
    ) -> Float[Tensor, "text video"]:
        """The closed form of the module's docstring, over blocks of videos."""
        similarity = query.new_zeros(query.shape[0], frames.shape[0])
        size = max(1, BLOCK_ELEMENTS // max(1, query.shape[0] * frames.shape[1]))
        for start in range(0, frames.shape[0], size):
            rows = slice(start, start + size)
            cosine = (query @ frames[rows].flatten(0, 1).T).unflatten(1, frames[rows].shape[:2])
            weight = self.weights(cosine, mask[rows])
            square = (torch.einsum("tvf,vfg->tvg", weight, gram[rows]) * weight).sum(dim=2)
            product = (weight * cosine).sum(dim=2)
            # a square of 0 (no frame, zero frames) comes with a product of 0; one that cancels to 0 may not
            cosines = product * square.clamp_min(torch.finfo(square.dtype).tiny).rsqrt()
            similarity[:, rows] = cosines.clamp_(-1.0, 1.0)
        return similarity


def _unit_texts(text: TextFeatures) -> Float[Tensor, "text dim"]:
    return unit(text.sentence.to(working_dtype(text.sentence)))


def _unit_frames(video: VideoFeatures) -> Float[Tensor, "video frame dim"]:
    return unit(real_frames(video, working_dtype(video.frame)))
