"""Losses. They alone see the logit scale: matchers return unscaled similarity."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..errors import ShapeError

__all__ = ["symmetric_contrastive"]


def symmetric_contrastive(
    similarity: Float[Tensor, "text video"],
    logit_scale: Float[Tensor, ""],
    *,
    related: Bool[Tensor, "text video"] | None = None,
) -> Float[Tensor, ""]:
    """InfoNCE in both directions over a batch of pairs: text i belongs to video i, the others are negatives.

    ``(CE over rows + CE over columns) / 2`` of ``similarity * exp(logit_scale)``, as CLIP, CLIP4Clip and X-Pool
    compute it (X-Pool's equation 17 has the plain sum; its code the mean).

    Args:
        similarity: unscaled, square.
        logit_scale: logarithm of the factor, scalar.
        related: pairs that belong together as well, such as other captions of one video, and so are no negatives; the
            published losses count them as negatives.

    Raises:
        ShapeError: the matrix is not square, or empty.
    """
    texts, videos = similarity.shape
    if texts != videos or texts == 0:
        raise ShapeError("symmetric_contrastive", expected="a square matrix of pairs", got=[texts, videos])
    logits = similarity * logit_scale.exp()
    if related is not None:
        own = torch.eye(texts, dtype=torch.bool, device=logits.device)
        logits = logits.masked_fill(related & ~own, -torch.inf)
    target = torch.arange(texts, device=logits.device)
    return (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2
