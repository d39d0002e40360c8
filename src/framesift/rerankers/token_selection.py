"""Which tokens of a frame matter: a small net scores them, and the best are kept.

TS2-Net's selector (Liu et al., ECCV 2022, section 3.2), which CrossTVR cites; the choice and its gradient are in
:mod:`framesift.perturbed_top_k`.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ..perturbed_top_k import expected_top_k, top_k

__all__ = ["TokenSelector"]


class TokenSelector(nn.Module):
    """Scores the tokens of each frame and keeps ``num_kept`` of them, in their order.

    Args:
        width: of a token.
        num_kept: tokens kept a frame, the class token included.
        keep_class: token 0 is a class token, and always kept.
        activation: of the scores: ``softmax`` over the tokens of a frame, or ``tanh`` of each.
        samples: draws of noise, in training.
        sigma: standard deviation of the noise, in units of the scores.
    """

    def __init__(
        self,
        width: int,
        num_kept: int,
        *,
        keep_class: bool,
        activation: Literal["softmax", "tanh"],
        samples: int,
        sigma: float,
    ) -> None:
        super().__init__()
        self.num_kept, self.keep_class, self.activation = num_kept, keep_class, activation
        self.samples, self.sigma = samples, sigma
        self.score = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width // 2), nn.GELU(), nn.Linear(width // 2, 1)
        )

    def scores(self, token: Float[Tensor, "frame token width"]) -> Float[Tensor, "frame token"]:
        """How much each token matters."""
        raw = self.score(token).squeeze(2)
        return raw.tanh() if self.activation == "tanh" else raw.softmax(dim=1)

    def kept(self, token: Float[Tensor, "frame token width"]) -> Int64[Tensor, "frame kept"]:
        """Positions of the tokens that are kept without noise, ascending."""
        first = int(self.keep_class)
        count = min(self.num_kept, token.shape[1]) - first
        best = first + top_k(self.scores(token)[:, first:], count)
        return torch.cat([best.new_zeros(len(best), first), best], dim=1)

    def forward(self, token: Float[Tensor, "frame token width"]) -> Float[Tensor, "frame kept width"]:
        """The kept tokens; in training their expectation under noise."""
        if not self.training:
            return token.gather(1, self.kept(token)[..., None].expand(-1, -1, token.shape[2]))
        first = int(self.keep_class)
        score, free = self.scores(token)[:, first:], token[:, first:]
        count = min(self.num_kept - first, free.shape[1])
        selected = expected_top_k(score, free, count, samples=self.samples, sigma=self.sigma)
        return torch.cat([token[:, :first], selected], dim=1)
