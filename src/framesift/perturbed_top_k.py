"""The best k of a row, and a form of it that learns.

"The best k" has no gradient, so training keeps their expectation under noise, whose gradient Cordonnier et al. (CVPR
2021, "Differentiable Patch Selection for Image Recognition") estimate from the same samples. TS2-Net selects the
tokens of a frame in this way, and CrossTVR after it.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

__all__ = ["expected_top_k", "perturbed_top_k", "top_k"]

ROWS = 64
"""Rows perturbed at once: 64 MiB of noise at 500 samples of 256 tokens."""


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


def expected_top_k(
    score: Float[Tensor, "row token"],
    token: Float[Tensor, "row token width"],
    k: int,
    *,
    samples: int,
    sigma: float,
) -> Float[Tensor, "row kept width"]:
    """The expectation of the ``k`` highest tokens under fresh normal noise, see :func:`perturbed_top_k`.

    Args:
        samples: draws of noise.
        sigma: standard deviation of the noise, in units of the scores.
    """

    def expectation(score: Tensor, token: Tensor) -> Tensor:
        noise = torch.randn(len(score), samples, score.shape[1], dtype=score.dtype, device=score.device)
        return perturbed_top_k(score, k, noise=noise, sigma=sigma) @ token

    parts = zip(score.split(ROWS), token.split(ROWS), strict=True)
    return torch.cat([expectation(*part) for part in parts])


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
