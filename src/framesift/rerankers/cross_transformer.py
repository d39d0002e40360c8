"""CLIP4Clip's tight transformer, "tightTransf" (Luo et al. 2021, section 3.3).

The text is put before the frames of a video, and one transformer reads the pair: positions are added, residual
attention blocks let text and frames inform one another, and a small head turns the text's token into a score.
That is one pass for every pair, so it belongs behind a matcher that proposes candidates; with a rerank depth of the
whole gallery it is the only scorer, as in the paper.

The text is its one embedding (CLIP4Clip never feeds the words here, and has no token types). Deviation from
the published code: a frame's position counts the real frames before it, as in
:mod:`framesift.temporal.transformer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ..clip_blocks import (
    LAYER_NORM_EPS,
    AttentionBlock,
    QuickGELU,
    check_heads,
    frame_ranks,
    normal_embedding,
    normal_linear,
    start_from_text,
)
from ..errors import ConfigError, ShapeError
from ..features import TextFeatures, VideoFeatures
from .base import Reranker

__all__ = ["CrossTransformer", "CrossTransformerConfig"]

PAIR_BLOCK = 256
"""Pairs that are read together: about 30 MiB in the widest layer at 12 frames x 512."""


@dataclass(frozen=True, kw_only=True)
class CrossTransformerConfig:
    """Configuration of :class:`CrossTransformer`.

    Attributes:
        dim: dimensions of the joint space.
        num_layers: blocks.
        num_heads: attention heads; divides ``dim``.
        max_frames: most real frames of a video; there is one more position, the text's.
        dropout: probability, on the tokens with their positions, in training only.
    """

    dim: int = 512  # CLIP ViT-B/32
    num_layers: int = 4  # CLIP4Clip, released configuration
    num_heads: int = 8  # CLIP4Clip: text width // 64
    max_frames: int = 76  # CLIP has 77 text positions, from which CLIP4Clip starts
    dropout: float = 0.1  # CLIP4Clip, released configuration

    def __post_init__(self) -> None:
        check_heads(self.dim, self.num_heads, num_layers=self.num_layers, max_frames=self.max_frames)
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"dropout={self.dropout}: expected a probability below 1")


class Pooler(nn.Module):
    """First token of a sequence, through a norm, a linear map and QuickGELU."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.ln_pool = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.dense = normal_linear(dim, dim)
        self.activation = QuickGELU()

    def forward(self, x: Float[Tensor, "pair token dim"]) -> Float[Tensor, "pair dim"]:
        """A vector for every sequence."""
        return self.activation(self.dense(self.ln_pool(x[:, 0])))


@final
class CrossTransformer(Reranker):
    """A score for the sequence of a text and the frames of a video; it has no fixed range.

    Parameters have the names of the published checkpoints, where ``position_embedding`` is
    ``cross.embeddings.position_embeddings``, ``blocks`` is ``cross.transformer.resblocks`` and ``pooler`` is
    ``cross.pooler``.
    """

    name = "cross_transformer"
    Config = CrossTransformerConfig
    config: CrossTransformerConfig

    def __init__(self, config: CrossTransformerConfig | None = None) -> None:
        config = config or CrossTransformerConfig()
        super().__init__(config)
        self.position_embedding = normal_embedding(1 + config.max_frames, config.dim)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            AttentionBlock(config.dim, config.num_heads) for _ in range(config.num_layers)
        )
        self.pooler = Pooler(config.dim)
        self.similarity_dense = normal_linear(config.dim, 1)

    def start_from(self, text: Mapping[str, Tensor]) -> None:
        """Copy CLIP's text tower (:func:`.encoders.openai.text_blocks`), as CLIP4Clip does before training; the
        pooler and the last map stay random.

        Raises:
            ShapeError: the tower has fewer blocks or positions, or another width.
        """
        start_from_text(self.position_embedding, self.blocks, text)

    def forward(
        self, text: TextFeatures, video: VideoFeatures, pairs: Int64[Tensor, "pair 2"]
    ) -> Float[Tensor, " pair"]:
        """Score the pairs ``(row of text, row of video)``; without a real frame, the text alone decides.

        Raises:
            ShapeError: the features are of another width, or a video has more than ``max_frames`` real frames.
        """
        for what, x in (("TextFeatures.sentence", text.sentence), ("VideoFeatures.frame", video.frame)):
            if x.shape[-1] != self.config.dim:
                raise ShapeError(
                    f"{self.name}: {what}", expected=f"{self.config.dim} dimensions", got=list(x.shape)
                )
        mask = video.frame_mask
        position = 1 + frame_ranks(self.name, mask, max_frames=self.config.max_frames)
        dtype = self.similarity_dense.weight.dtype
        sentence = text.sentence.to(dtype) + self.position_embedding.weight[0]
        frame = video.frame.to(dtype).masked_fill(~mask[..., None], 0.0) + self.position_embedding(position)
        scores = [
            self._score(sentence[texts], frame[videos], mask[videos])
            for texts, videos in (block.unbind(dim=1) for block in pairs.split(PAIR_BLOCK))
        ]
        return torch.cat(scores)

    def _score(
        self,
        sentence: Float[Tensor, "pair dim"],
        frame: Float[Tensor, "pair frame dim"],
        frame_mask: Bool[Tensor, "pair frame"],
    ) -> Float[Tensor, " pair"]:
        """Scores of aligned texts and videos, positions added."""
        x = self.dropout(torch.cat([sentence[:, None], frame], dim=1))
        mask = nn.functional.pad(frame_mask, (1, 0), value=True)
        for block in self.blocks:
            x = block(x, mask)
        return self.similarity_dense(self.pooler(x)).squeeze(1)
