"""Evaluate a matcher on the features of a benchmark: every text against every video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from ..errors import InputError, ShapeError
from ..features import TextFeatures, VideoFeatures
from ..metrics import Metrics, Ties, group_captions, ranks, summarise
from ..similarity import Scores, similarity_matrix
from .leaks import LeakReport, find_leaks
from .normalization import Column

__all__ = ["Answers", "Evaluation", "evaluate", "evaluate_similarity"]

Relevance = Bool[Tensor, "text video"] | Bool[np.ndarray, "text video"]
Direction = Literal["t2v", "v2t"]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Answers:
    """How every query of one direction was answered, for intervals and comparisons.

    Attributes:
        rank: 1-based, ties against us whatever the rule of the metrics, int64 ``[query]``.
        entry: the ranks that the metrics count, float64 ``[entry]``; with ``clip4clip`` ties more than queries.
        query: the query of every entry, int64 ``[entry]``.
        video: the video that every query belongs to, int64 ``[query]``, where a video has several; else None.
        tied: queries whose right answer has exactly the similarity of a wrong one.
    """

    rank: np.ndarray
    entry: np.ndarray
    query: np.ndarray
    video: np.ndarray | None
    tied: int

    def __repr__(self) -> str:
        return f"<Answers to {len(self.rank)} queries, {self.tied} tied>"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Metrics of both directions.

    Attributes:
        beside: the same with scores that other queries helped to make, by the label of the normalization; these
            are no results of a search, and never the headline.
        source: for one of those: where the other queries come from.
        answers: the rank of every query, by direction.
        leaks: what the leak check found, where there was one.
    """

    t2v: Metrics
    v2t: Metrics
    beside: Mapping[str, Evaluation] = field(default_factory=dict)
    source: str = ""
    answers: Mapping[Direction, Answers] = field(default_factory=dict, repr=False, compare=False)
    leaks: LeakReport | None = field(default=None, repr=False, compare=False)

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
    leak_check: bool = True,
) -> Evaluation:
    """Score every text against every video, and rank.

    Args:
        matcher: in evaluation mode.
        relevance: which videos answer which texts; default: text i belongs to video i.
        ties: see :data:`.metrics.Ties`.
        beside: normalizations to report as well, each in a column of its own.
        leak_check: score a small sample again in other company (:func:`.find_leaks`), and refuse a matcher whose scores
            move.

    Raises:
        InputError: a similarity is NaN, a text has no relevant video, or the matcher leaks.
        ShapeError: the shapes do not fit.
    """
    similarity = similarity_matrix(matcher, text, video)
    leaks = None
    if leak_check and len(text) and len(video):
        leaks = find_leaks(
            lambda t, v: similarity_matrix(matcher, t, v),
            text,
            video,
            similarity=similarity,
            relevance=relevance,
        )
        leaks.refuse()
    done = evaluate_similarity(similarity, relevance=relevance, ties=ties, beside=beside)
    return replace(done, leaks=leaks)


def evaluate_similarity(
    similarity: Tensor,
    *,
    relevance: Relevance | None = None,
    ties: Ties = "pessimistic",
    beside: Sequence[Column] = (),
    v2t_similarity: Tensor | None = None,
) -> Evaluation:
    """The metrics of a finished matrix ``[text, video]``.

    Where every text belongs to one video, and a video may have several, v2t ranks groups of captions, which is the
    field's convention; where a text answers several videos there are no groups, and v2t ranks texts.

    Args:
        v2t_similarity: the matrix of v2t, also ``[text, video]``, where it is another one: after a reranker, whose
            candidates depend on the direction.

    Raises: as :func:`evaluate` does; InputError too for normalizations of a reranked matrix.
    """
    other = similarity if v2t_similarity is None else v2t_similarity
    if other.shape != similarity.shape:
        raise ShapeError("v2t_similarity", expected=list(similarity.shape), got=list(other.shape))
    if beside and v2t_similarity is not None:
        raise InputError(
            "a reranked matrix orders the candidates of each query only, so it cannot be normalized; normalize the"
            " matcher's matrix instead"
        )
    plain = _both(similarity, other, relevance, ties)
    others: dict[str, Evaluation] = {}
    for column in beside:
        if column.label in others:
            raise InputError(f"two columns have the label {column.label!r}")
        made = column.normalize(similarity)
        others[column.label] = replace(_both(made.t2v, made.v2t, relevance, ties), source=column.source)
    return replace(plain, beside=others)


def _both(for_t2v: Tensor, for_v2t: Tensor, relevance: Relevance | None, ties: Ties) -> Evaluation:
    relevant = _relevant(for_t2v, relevance)
    answers: dict[Direction, Answers] = {
        "t2v": _answers(for_t2v, relevant, ties, video=_owner(relevant)),
        "v2t": _answers(*_videos_as_queries(for_v2t, relevant), ties, video=None),
    }
    found = {
        way: summarise(torch.from_numpy(one.entry), ties=ties, direction=way) for way, one in answers.items()
    }
    return Evaluation(t2v=found["t2v"], v2t=found["v2t"], answers=answers)


def _relevant(similarity: Tensor, relevance: Relevance | None) -> Tensor:
    if relevance is not None:
        relevant = torch.as_tensor(relevance).to(similarity.device)
        if relevant.shape != similarity.shape:
            raise ShapeError(
                "relevance", expected=f"{list(similarity.shape)}, as similarity", got=list(relevant.shape)
            )
        return relevant
    texts, videos = similarity.shape
    if texts != videos:
        raise ShapeError(
            "similarity without relevance", expected="as many texts as videos", got=[texts, videos]
        )
    return torch.eye(texts, dtype=torch.bool, device=similarity.device)


def _owner(relevant: Tensor) -> np.ndarray | None:
    """The video of every text, where each has one and some video has several texts."""
    if bool((relevant.sum(dim=1) == 1).all()) and bool((relevant.sum(dim=0) > 1).any()):
        return relevant.int().argmax(dim=1).cpu().numpy()
    return None


def _videos_as_queries(similarity: Tensor, relevant: Tensor) -> tuple[Tensor, Tensor]:
    """What v2t ranks, ``[query, candidate]``: groups of captions, or the texts where there are no groups."""
    asked = relevant.any(dim=0)
    if _owner(relevant) is None:
        return similarity.T[asked], relevant.T[asked]
    groups = group_captions(similarity, relevant)[asked][:, asked].T
    return groups, torch.eye(len(groups), dtype=torch.bool, device=groups.device)


def _answers(similarity: Tensor, relevant: Tensor, ties: Ties, *, video: np.ndarray | None) -> Answers:
    pessimistic = ranks(similarity, relevant, ties="pessimistic")
    entry = pessimistic if ties == "pessimistic" else ranks(similarity, relevant, ties=ties)
    query = torch.arange(len(pessimistic), device=pessimistic.device)
    if ties == "clip4clip":
        best = similarity.masked_fill(~relevant, -torch.inf).amax(dim=1, keepdim=True)
        query = query.repeat_interleave((similarity == best).sum(dim=1))
    tied = int((pessimistic != ranks(similarity, relevant, ties="optimistic")).sum())
    return Answers(
        rank=pessimistic.long().cpu().numpy(),
        entry=entry.cpu().numpy(),
        query=query.cpu().numpy(),
        video=video,
        tied=tied,
    )
