"""Hard negatives for the matching loss of a reranker, drawn where the first stage errs (Li et al., NeurIPS 2021,
"Align before Fuse", section 3.2; BLIP-2 does the same).

For every text one video that does not belong to it, and for every video one such text, each with the probability
that the first stage's softmax gives it among all that do not belong.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..errors import InputError, ShapeError

__all__ = ["MatchingPairs", "draw_matching_pairs", "matching_loss", "negative_probabilities"]


@dataclass(frozen=True, kw_only=True, eq=False)
class MatchingPairs:
    """What the matching loss is computed on: positives, then (text, wrong video), then (wrong text, video).

    Attributes:
        pairs: ``(row of text, row of video)``, as a reranker takes them, ``[pair, 2]``.
        match: whether they belong together, ``[pair]``.
    """

    pairs: Int64[Tensor, "pair 2"]
    match: Bool[Tensor, " pair"]


def negative_probabilities(
    logits: Float[Tensor, "query candidate"], relevance: Bool[Tensor, "query candidate"]
) -> Float[Tensor, "query candidate"]:
    """Softmax of every row over the candidates that do not belong to its query; those that do have probability 0.

    Raises:
        InputError: a logit is not finite, or every candidate belongs to some query.
    """
    if not bool(logits.isfinite().all()):
        raise InputError("the first stage's logits are not all finite")
    alone = relevance.all(dim=1)
    if bool(alone.any()):
        raise InputError(
            f"row {int(alone.nonzero()[0])} has no negative: every candidate of the batch belongs to it"
        )
    return logits.float().masked_fill(relevance, -torch.inf).softmax(dim=1)


@torch.no_grad()
def draw_matching_pairs(
    logits: Float[Tensor, "text video"],
    relevance: Bool[Tensor, "text video"] | None = None,
    *,
    generator: torch.Generator | None = None,
) -> MatchingPairs:
    """One negative video a text and one negative text a video: three pairs for every pair of the batch.

    Args:
        logits: the first stage's similarity x exp(logit_scale); text i belongs to video i.
        relevance: which videos belong to which texts: also those of other captions of one video in the batch;
            default: text i to video i alone.
        generator: of the logits' device; the same state draws the same pairs.

    Raises:
        ShapeError: the matrix is not square, empty, or ``relevance`` has another shape.
        InputError: a logit is not finite, or a text or video has no negative in the batch.
    """
    texts, videos = logits.shape
    if texts != videos or texts == 0:
        raise ShapeError("draw_matching_pairs", expected="a square matrix of pairs", got=[texts, videos])
    own = torch.arange(texts, device=logits.device)
    belongs = own[:, None] == own
    if relevance is not None:
        if relevance.shape != logits.shape:
            raise ShapeError("relevance", expected=list(logits.shape), got=list(relevance.shape))
        belongs = belongs | relevance.to(logits.device)
    video = negative_probabilities(logits, belongs).multinomial(1, generator=generator)[:, 0]
    text = negative_probabilities(logits.T, belongs.T).multinomial(1, generator=generator)[:, 0]
    pairs = torch.stack([torch.cat([own, own, text]), torch.cat([own, video, own])], dim=1)
    return MatchingPairs(pairs=pairs, match=torch.arange(3 * texts, device=logits.device) < texts)


def matching_loss(logits: Float[Tensor, "pair 2"], match: Bool[Tensor, " pair"]) -> Float[Tensor, ""]:
    """Mean cross-entropy of "no match" and "match" (CrossTVR, equation 7).

    Args:
        logits: the reranker's, ``match`` in column 1.
        match: whether the pairs belong together.
    """
    return cross_entropy(logits, match.long())
