"""Attention without parameters (X-Pool, Gorti et al. 2022, its "attention" baseline).

Frames are weighed by softmax(cosine with the text / temperature). Nothing to train, so it serves any encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import ConfigError
from .base import masked_softmax
from .weighted_pool import WeightedPool

__all__ = ["SoftmaxPool", "SoftmaxPoolConfig"]


@dataclass(frozen=True, kw_only=True)
class SoftmaxPoolConfig:
    """Configuration of :class:`SoftmaxPool`.

    Attributes:
        temperature: divides the cosines; towards 0 the best frame counts alone, towards infinity all alike.
    """

    temperature: float = 0.01  # X-Pool, released configuration

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ConfigError(f"temperature={self.temperature}: expected a positive number")


@final
class SoftmaxPool(WeightedPool):
    """Cosine of the text and the unit frames' sum, weighted by softmax(cosine / temperature)."""

    name = "softmax_pool"
    Config = SoftmaxPoolConfig
    config: SoftmaxPoolConfig

    def __init__(self, config: SoftmaxPoolConfig | None = None) -> None:
        super().__init__(config or SoftmaxPoolConfig())

    def weights(
        self, cosine: Float[Tensor, "text video frame"], frame_mask: Bool[Tensor, "video frame"]
    ) -> Float[Tensor, "text video frame"]:
        """Softmax of the real frames' cosines over the temperature."""
        return masked_softmax(cosine / self.config.temperature, frame_mask)
