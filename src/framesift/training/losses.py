"""Losses. They alone see the logit scale: matchers return unscaled similarity."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..errors import ShapeError

__all__ = ["symmetric_contrastive"]


def symmetric_contrastive(
    similarity: Float[Tensor, "text video"], logit_scale: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """InfoNCE in both directions over a batch of pairs: text i belongs to video i, the others are negatives.

    ``(CE over rows + CE over columns) / 2`` of ``similarity * exp(logit_scale)``, as CLIP, CLIP4Clip and X-Pool
    compute it (X-Pool's equation 17 has the plain sum; its code the mean).

    Args:
        similarity: unscaled, square.
        logit_scale: logarithm of the factor, scalar.

    Raises:
        ShapeError: the matrix is not square, or empty.
    """
    texts, videos = similarity.shape
    if texts != videos or texts == 0:
        raise ShapeError("symmetric_contrastive", expected="a square matrix of pairs", got=[texts, videos])
    logits = similarity * logit_scale.exp()
    target = torch.arange(texts, device=logits.device)
    return (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2
