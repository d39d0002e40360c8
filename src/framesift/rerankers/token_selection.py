"""Which tokens of a frame matter: a small net scores them, and the best are kept.

TS2-Net's selector (Liu et al., ECCV 2022, section 3.2), which CrossTVR cites. "The best k" has no gradient, so
training keeps their expectation under noise, whose gradient Cordonnier et al. (CVPR 2021, "Differentiable Patch
Selection for Image Recognition") estimate from the same samples.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

__all__ = ["TokenSelector", "perturbed_top_k", "top_k"]

ROWS = 64
"""Frames perturbed at once: 64 MiB of noise at 500 samples of 256 tokens."""


def top_k(score: Float[Tensor, "row token"], k: int) -> Int64[Tensor, "row kept"]:
    """Positions of the ``k`` highest scores (all, where there are fewer tokens), ascending."""
    return score.topk(min(k, score.shape[1]), dim=1, sorted=False).indices.sort(dim=1).values


def perturbed_top_k(
    score: Float[Tensor, "row token"],
    k: int,
    *,
    noise: Float[Tensor, "row sample token"],
    sigma: float,
) -> Float[Tensor, "row kept token"]:
    """The mean over samples of the one-hot rows of :func:`top_k` of ``score + sigma * noise``; each row sums to 1.

    The gradient is the published code's: of the Jacobian's estimate, mean(one-hot x noise) / sigma, it keeps for
    each score the term of its own token.
    """
    return _PerturbedTopK.apply(score, min(k, score.shape[1]), noise, sigma)  # pyright: ignore[reportReturnType]


class _PerturbedTopK(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, score: Tensor, k: int, noise: Tensor, sigma: float) -> Tensor:
        rows, samples, tokens = noise.shape
        kept = top_k((score[:, None] + sigma * noise).flatten(0, 1), k).unflatten(0, (rows, samples))
        chosen_noise = noise.gather(2, kept).transpose(1, 2)
        kept = kept.transpose(1, 2)
        share = torch.full_like(chosen_noise, 1 / samples)
        empty = score.new_zeros(rows, k, tokens)
        ctx.save_for_backward(empty.scatter_add(2, kept, chosen_noise * share / sigma))
        return empty.scatter_add(2, kept, share)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (slope,) = ctx.saved_tensors
        return (gradients[0] * slope).sum(dim=1), None, None, None


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

    def forward(self, token: Float[Tensor, "frame token width"]) -> Float[Tensor, "frame kept width"]:
        """The kept tokens; in training their expectation under noise."""
        score, first = self.scores(token), int(self.keep_class)
        score, free = score[:, first:], token[:, first:]
        count = min(self.num_kept - first, free.shape[1])
        if self.training:
            parts = zip(score.split(ROWS), free.split(ROWS), strict=True)
            selected = torch.cat([self._soft(*part, count) for part in parts])
        else:
            kept = top_k(score, count)[..., None].expand(-1, -1, token.shape[2])
            selected = free.gather(1, kept)
        return torch.cat([token[:, :first], selected], dim=1)

    def _soft(self, score: Tensor, token: Tensor, count: int) -> Tensor:
        noise = torch.randn(len(score), self.samples, score.shape[1], dtype=score.dtype, device=score.device)
        return perturbed_top_k(score, count, noise=noise, sigma=self.sigma) @ token
