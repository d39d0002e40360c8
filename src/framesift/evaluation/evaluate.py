"""Evaluate a matcher on the features of a benchmark: every text against every video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from ..features import TextFeatures, VideoFeatures
from ..metrics import Metrics, Ties, group_captions, t2v, v2t
from ..similarity import Scores, similarity_matrix

__all__ = ["Evaluation", "evaluate", "evaluate_similarity"]

Relevance = Bool[Tensor, "text video"] | Bool[np.ndarray, "text video"]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Metrics of both directions."""

    t2v: Metrics
    v2t: Metrics

    def __str__(self) -> str:
        return f"{self.t2v}\n{self.v2t}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"t2v": self.t2v.to_dict(), "v2t": self.v2t.to_dict()}


def evaluate(
    matcher: Scores,
    text: TextFeatures,
    video: VideoFeatures,
    *,
    relevance: Relevance | None = None,
    ties: Ties = "pessimistic",
) -> Evaluation:
    """Score every text against every video, and rank.

    Args:
        matcher: in evaluation mode.
        relevance: which videos answer which texts; default: text i belongs to video i.
        ties: see :data:`.metrics.Ties`.

    Raises:
        InputError: a similarity is NaN, or a text has no relevant video.
        ShapeError: the shapes do not fit.
    """
    return evaluate_similarity(similarity_matrix(matcher, text, video), relevance=relevance, ties=ties)


def evaluate_similarity(
    similarity: Tensor, *, relevance: Relevance | None = None, ties: Ties = "pessimistic"
) -> Evaluation:
    """The metrics of a finished matrix ``[text, video]``.

    Where every text belongs to one video, and a video may have several, v2t ranks groups of captions, which is the
    field's convention; where a text answers several videos there are no groups, and v2t ranks texts.
    """
    if relevance is None:
        return Evaluation(t2v=t2v(similarity, ties=ties), v2t=v2t(similarity, ties=ties))
    relevant = torch.as_tensor(relevance).to(similarity.device)
    forward = t2v(similarity, relevant, ties=ties)
    captions = relevant.sum(dim=0)
    if bool((relevant.sum(dim=1) == 1).all()) and bool((captions > 1).any()):
        described = captions > 0
        groups = group_captions(similarity, relevant)[described][:, described]
        return Evaluation(t2v=forward, v2t=v2t(groups, ties=ties))
    return Evaluation(t2v=forward, v2t=v2t(similarity, relevant, ties=ties))
