"""X-Pool (Gorti et al., CVPR 2022, "X-Pool: Cross-Modal Language-Video Attention for Text-Video Retrieval").

Pool the frames of a video by cross-attention from the text (section 4.2, equations 9 to 15), so that only the
frames that the text speaks of count; similarity is the cosine of the text with the result. ``forward`` is that.

The fast forms are exact. After the softmax everything is linear except two LayerNorms and a norm, and those are
quadratic forms of the attention weights, so a pair needs two dot products a frame and three small Gram matrices
instead of two ``dim x dim`` products (:mod:`.xpool_folded`).

Deviations from the published code: masked frames take no part (it has no masks); a video without a real frame,
or whose pooled vector is zero, has similarity 0 where the published form gives NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear

from ..errors import ConfigError
from ..features import Similarity, TextFeatures, VideoFeatures, unit
from ..similarity import QueryScorer, Scorer
from .base import Matcher, masked_softmax, real_frames

__all__ = ["XPool", "XPoolConfig"]

GRAM_WIDTH = 2
"""Gram matrices are used up to a width (heads x frames) of ``dim / GRAM_WIDTH``. A pair then costs at most 1.25 dim^2
multiply-adds, against more than 2 dim^2 for the definition, and a video no more memory than its projected frames."""


@dataclass(frozen=True, kw_only=True)
class XPoolConfig:
    """Configuration of :class:`XPool`.

    Attributes:
        dim: dimensions of the joint space.
        num_heads: attention heads; divides ``dim``.
        dropout: probability, on the linear branch only, in training only.
    """

    dim: int = 512  # CLIP ViT-B/32
    num_heads: int = 1  # X-Pool, every published result
    dropout: float = 0.3  # X-Pool, section 5.2

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise ConfigError(f"dim={self.dim}: expected at least 1")
        if self.num_heads < 1 or self.dim % self.num_heads:
            raise ConfigError(f"num_heads={self.num_heads}: expected a divisor of dim={self.dim}")
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"dropout={self.dropout}: expected a probability below 1")


class CrossAttention(nn.Module):
    """Multi-head attention from texts to the frames of videos.

    Starts as the identity: all maps are identity matrices with zero biases (X-Pool, section 5.2).
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = identity_linear(dim)
        self.k_proj = identity_linear(dim)
        self.v_proj = identity_linear(dim)
        self.out_proj = identity_linear(dim)
        self._value_map: _ValueMap | None = None

    @torch.no_grad()
    def value_map(self) -> tuple[Float[Tensor, "dim dim"], Float[Tensor, " dim"]]:
        """Weight and bias of ``out_proj`` after ``v_proj``: with one head, a value that is pooled first needs but one
        product. Multiplied again when one of the two has changed."""
        v, out = self.v_proj, self.out_proj
        parts = v.weight, v.bias, out.weight, out.bias
        state = tuple((x.data_ptr(), x._version) for x in parts)
        held = self._value_map
        if held is None or held.state != state:
            held = _ValueMap(parts, state, out.weight @ v.weight, linear(v.bias, out.weight, out.bias))
            self._value_map = held
        return held.weight, held.bias

    def weights(
        self,
        text: Float[Tensor, "text dim"],
        frame: Float[Tensor, "video frame dim"],
        frame_mask: Tensor,
    ) -> Float[Tensor, "text video head frame"]:
        """softmax(q k / sqrt(head width)) over the real frames."""
        q, k = self._split(self.q_proj(text)), self._split(self.k_proj(frame))
        logits = torch.einsum("the,vfhe->tvhf", q, k) / math.sqrt(q.shape[-1])
        return masked_softmax(logits, frame_mask[:, None])

    def forward(
        self,
        text: Float[Tensor, "text dim"],
        frame: Float[Tensor, "video frame dim"],
        frame_mask: Tensor,
    ) -> Float[Tensor, "text video dim"]:
        """The attended value of every pair."""
        weights, v = self.weights(text, frame, frame_mask), self._split(self.v_proj(frame))
        return self.out_proj(torch.einsum("tvhf,vfhe->tvhe", weights, v).flatten(2))

    def _split(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch head width"]:
        return x.unflatten(-1, (self.num_heads, -1))


class _ValueMap(NamedTuple):
    parts: tuple[Tensor, ...]  # held, so that no others take their addresses
    state: tuple[tuple[int, int], ...]
    weight: Tensor
    bias: Tensor


@final
class XPool(Matcher):
    """Cosine of the text and the frames pooled by its attention to them.

    Parameter names are those of the published checkpoints without their prefix ``pool_frames.``.
    """

    name = "xpool"
    Config = XPoolConfig
    config: XPoolConfig

    def __init__(self, config: XPoolConfig | None = None) -> None:
        config = config or XPoolConfig()
        super().__init__(config)
        self.cross_attn = CrossAttention(config.dim, config.num_heads)
        self.linear_proj = identity_linear(config.dim)
        self.layer_norm1 = nn.LayerNorm(config.dim)
        self.layer_norm2 = nn.LayerNorm(config.dim)
        self.layer_norm3 = nn.LayerNorm(config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, text: TextFeatures, video: VideoFeatures) -> Similarity:
        """Cosine of every (raw) text with the video pooled for it; 0 for a video without a real frame."""
        pooled = self.pool(text, video)
        return torch.einsum("td,tvd->tv", unit(text.sentence.to(pooled.dtype)), unit(pooled))

    def pool(self, text: TextFeatures, video: VideoFeatures) -> Float[Tensor, "text video dim"]:
        """The pooled vector of every pair, not normalised; zero for a video without a real frame.

        Texts come first; the published code and its recorded numbers have videos first.
        """
        sentence, frame = self._normed(text, video)
        attended = self.layer_norm2(self.cross_attn(sentence, frame, video.frame_mask))
        pooled = self.layer_norm3(attended + self.dropout(self.linear_proj(attended)))
        return pooled.masked_fill(~video.frame_mask.any(dim=1)[:, None], 0.0)

    def attention(self, text: TextFeatures, video: VideoFeatures) -> Float[Tensor, "text video frame"]:
        """The attention weights, averaged over heads; where no gradient is wanted, without projecting any frame."""
        if not torch.is_grad_enabled():
            from .xpool_folded import FoldedQueries

            self._check(text, video, dim=self.config.dim)
            return FoldedQueries(self, text).attention(video)
        sentence, frame = self._normed(text, video)
        return self.cross_attn.weights(sentence, frame, video.frame_mask).mean(dim=2)

    def scorer(self, video: VideoFeatures) -> Scorer:
        """Fold the videos into keys and Gram matrices, once; see :class:`.xpool_folded.FoldedGallery`."""
        from .xpool_folded import FoldedGallery  # here, because the folded forms build on this file

        self._check(None, video, dim=self.config.dim)
        videos, frames = video.frame_mask.shape
        if not videos or not 0 < GRAM_WIDTH * frames * self.config.num_heads <= self.config.dim:
            return super().scorer(video)
        gallery = FoldedGallery(self, video)

        def score(text: TextFeatures) -> Float[Tensor, "text video"]:
            self._check(text, None, dim=self.config.dim)
            return gallery.score(text)

        return score

    def query_scorer(self, text: TextFeatures) -> QueryScorer:
        """Fold the key projection into the texts, once; see :class:`.xpool_folded.FoldedQueries`."""
        from .xpool_folded import FoldedQueries

        self._check(text, None, dim=self.config.dim)
        queries = FoldedQueries(self, text)

        def score(video: VideoFeatures) -> Float[Tensor, "text video"]:
            self._check(None, video, dim=self.config.dim)
            return queries.score(video)

        return score

    def _normed(
        self, text: TextFeatures, video: VideoFeatures
    ) -> tuple[Float[Tensor, "text dim"], Float[Tensor, "video frame dim"]]:
        """LN1, which texts and frames share, of the raw embeddings."""
        self._check(text, video, dim=self.config.dim)
        dtype = self.linear_proj.weight.dtype
        return self.layer_norm1(text.sentence.to(dtype)), self.layer_norm1(real_frames(video, dtype))


def identity_linear(dim: int) -> nn.Linear:
    """A linear map that starts as the identity."""
    linear = nn.Linear(dim, dim)
    nn.init.eye_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
