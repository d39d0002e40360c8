"""Near-duplicates: moments that show the same, such as copies in another size, format or place."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..features import VideoFeatures, unit

__all__ = ["MOST_APART", "duplicates"]

MOST_APART = 0.02


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
    """1 - cosine of every frame's most similar frame in the other row, averaged; the larger of both ways."""
    a, b = unit(one.frame.float()), unit(other.frame.float())
    cosine = torch.einsum("ofd,pgd->opfg", a, b)
    mask, to = one.frame_mask[:, None], other.frame_mask[None]
    there = _mean(cosine.masked_fill(~to[:, :, None], -1.0).amax(dim=3), mask)
    back = _mean(cosine.masked_fill(~mask[..., None], -1.0).amax(dim=2), to)
    return 1 - torch.minimum(there, back)


def _mean(x: Tensor, mask: Tensor) -> Tensor:
    return (x * mask).sum(dim=2) / mask.sum(dim=2).clamp_min(1)
