"""Evaluate a matcher on the features of a benchmark: every text against every video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from ..errors import InputError
from ..features import TextFeatures, VideoFeatures
from ..metrics import Metrics, Ties, group_captions, t2v, v2t
from ..similarity import Scores, similarity_matrix
from .normalization import Column

__all__ = ["Evaluation", "evaluate", "evaluate_similarity"]

Relevance = Bool[Tensor, "text video"] | Bool[np.ndarray, "text video"]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Metrics of both directions.

    Attributes:
        beside: the same with scores that other queries helped to make, by the label of the normalization; these
            are no results of a search, and never the headline.
        source: for one of those: where the other queries come from.
    """

    t2v: Metrics
    v2t: Metrics
    beside: Mapping[str, Evaluation] = field(default_factory=dict)
    source: str = ""

    def __str__(self) -> str:
        others = [f"beside, by {label} from {other.source}:\n{other}" for label, other in self.beside.items()]
        return "\n".join([str(self.t2v), str(self.v2t), *others])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain: dict[str, Any] = {"t2v": self.t2v.to_dict(), "v2t": self.v2t.to_dict()}
        if self.source:
            plain["source"] = self.source
        if self.beside:
            plain["beside"] = {label: other.to_dict() for label, other in self.beside.items()}
        return plain


def evaluate(
    matcher: Scores,
    text: TextFeatures,
    video: VideoFeatures,
    *,
    relevance: Relevance | None = None,
    ties: Ties = "pessimistic",
    beside: Sequence[Column] = (),
) -> Evaluation:
    """Score every text against every video, and rank.

    Args:
        matcher: in evaluation mode.
        relevance: which videos answer which texts; default: text i belongs to video i.
        ties: see :data:`.metrics.Ties`.
        beside: normalizations to report as well, each in a column of its own.

    Raises:
        InputError: a similarity is NaN, or a text has no relevant video.
        ShapeError: the shapes do not fit.
    """
    similarity = similarity_matrix(matcher, text, video)
    return evaluate_similarity(similarity, relevance=relevance, ties=ties, beside=beside)


def evaluate_similarity(
    similarity: Tensor,
    *,
    relevance: Relevance | None = None,
    ties: Ties = "pessimistic",
    beside: Sequence[Column] = (),
) -> Evaluation:
    """The metrics of a finished matrix ``[text, video]``.

    Where every text belongs to one video, and a video may have several, v2t ranks groups of captions, which is the
    field's convention; where a text answers several videos there are no groups, and v2t ranks texts.

    Raises: as :func:`evaluate` does.
    """
    plain = Evaluation(t2v=_t2v(similarity, relevance, ties=ties), v2t=_v2t(similarity, relevance, ties=ties))
    others: dict[str, Evaluation] = {}
    for column in beside:
        if column.label in others:
            raise InputError(f"two columns have the label {column.label!r}")
        made = column.normalize(similarity)
        others[column.label] = Evaluation(
            t2v=_t2v(made.t2v, relevance, ties=ties),
            v2t=_v2t(made.v2t, relevance, ties=ties),
            source=column.source,
        )
    return replace(plain, beside=others)


def _t2v(similarity: Tensor, relevance: Relevance | None, *, ties: Ties) -> Metrics:
    if relevance is None:
        return t2v(similarity, ties=ties)
    return t2v(similarity, torch.as_tensor(relevance).to(similarity.device), ties=ties)


def _v2t(similarity: Tensor, relevance: Relevance | None, *, ties: Ties) -> Metrics:
    if relevance is None:
        return v2t(similarity, ties=ties)
    relevant = torch.as_tensor(relevance).to(similarity.device)
    captions = relevant.sum(dim=0)
    if bool((relevant.sum(dim=1) == 1).all()) and bool((captions > 1).any()):
        described = captions > 0
        groups = group_captions(similarity, relevant)[described][:, described]
        return v2t(groups, ties=ties)
    return v2t(similarity, relevant, ties=ties)
