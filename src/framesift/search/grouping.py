"""Near-duplicates: moments that show the same, such as copies in another size, format or place."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..features import VideoFeatures, unit

__all__ = ["MOST_APART", "duplicates"]

MOST_APART = 0.03  # docs/search-quality.md
NEARBY = 0.15  # of the length: a frame of twelve, for copies that begin or end a little later


def duplicates(video: VideoFeatures, *, most_apart: float = MOST_APART) -> list[list[int]]:
    """Rows in groups of near-duplicates, each in the given order; those without any are alone.

    The first row of a group stands for it: a row joins the first group whose first row it is like, so that no chain of
    small differences puts unlike rows together.

    Args:
        video: rows, best first.
        most_apart: largest distance of duplicates (:func:`distances`).
    """
    groups: list[list[int]] = []
    for row in range(len(video)):
        if groups:
            heads = video[[group[0] for group in groups]]
            apart = distances(video[[row]], heads)[0]
            near = (apart <= most_apart).nonzero()
            if len(near):
                groups[int(near[0])].append(row)
                continue
        groups.append([row])
    return groups


def distances(one: VideoFeatures, other: VideoFeatures) -> Float[Tensor, "one other"]:
    """1 - cosine of every frame's most similar frame at the same part of the other row, averaged; the larger way.

    Only frames within ``NEARBY`` of one another, as a share of their rows' lengths, are compared: scenes in another
    order, or a film played backwards, are other videos.
    """
    a, b = unit(one.frame.float()), unit(other.frame.float())
    cosine = torch.einsum("ofd,pgd->opfg", a, b)
    own, to = one.frame_mask[:, None], other.frame_mask[None]
    apart = (_places(one.frame_mask)[:, None, :, None] - _places(other.frame_mask)[None, :, None]).abs()
    near = (apart <= NEARBY) & own[..., None] & to[:, :, None]
    cosine = cosine.masked_fill(~near, -1.0)
    there, back = _mean(cosine.amax(dim=3), own), _mean(cosine.amax(dim=2), to)
    return 1 - torch.minimum(there, back)


def _places(mask: Bool[Tensor, "row frame"]) -> Float[Tensor, "row frame"]:
    """Where the middle of every real frame lies in its row, 0 to 1."""
    real = mask.float()
    return (real.cumsum(dim=1) - 0.5) / real.sum(dim=1, keepdim=True).clamp_min(1)


def _mean(
    x: Float[Tensor, "one other frame"], mask: Bool[Tensor, "#one #other frame"]
) -> Float[Tensor, "one other"]:
    return (x * mask).sum(dim=2) / mask.sum(dim=2).clamp_min(1)
