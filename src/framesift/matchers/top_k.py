"""Top-k pooling (X-Pool, Gorti et al. 2022, section 3.2): the mean of the k frames most similar to the text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import ConfigError
from .weighted_pool import WeightedPool

__all__ = ["TopK", "TopKConfig"]


@dataclass(frozen=True, kw_only=True)
class TopKConfig:
    """Configuration of :class:`TopK`.

    Attributes:
        k: frames that count; a video with fewer uses all it has.
    """

    k: int = 3  # X-Pool, section 4.4

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ConfigError(f"k={self.k}: expected at least 1")


@final
class TopK(WeightedPool):
    """Cosine of the text and the mean of its k nearest unit frames.

    The reference sums the k frames; the cosine is the same.
    """

    name = "top_k"
    Config = TopKConfig
    config: TopKConfig

    def __init__(self, config: TopKConfig | None = None) -> None:
        super().__init__(config or TopKConfig())

    def weights(
        self, cosine: Float[Tensor, "text video frame"], frame_mask: Bool[Tensor, "video frame"]
    ) -> Float[Tensor, "text video frame"]:
        """Equal for the k real frames with the highest cosine, 0 for the rest."""
        candidates = cosine.masked_fill(~frame_mask, -torch.inf)
        best = candidates.topk(min(self.config.k, cosine.shape[2]), dim=2, sorted=False).indices
        chosen = torch.zeros_like(cosine).scatter(2, best, 1.0).masked_fill(~frame_mask, 0.0)
        return chosen / chosen.sum(dim=2, keepdim=True).clamp_min(1.0)
