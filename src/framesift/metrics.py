"""Ranks, recall, median and mean rank, mean average precision: from a similarity matrix and what is relevant.

Every benchmark of the field ranks all videos for each text (t2v) and the other way round (v2t). Published code
differs in how it counts ties, videos with several captions, and the median (spec: section 0.6), so each choice
is named here, and a :class:`Metrics` says which was made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .errors import InputError, ShapeError, suggest

__all__ = [
    "RECALL_AT",
    "Metrics",
    "Ties",
    "group_captions",
    "mean_average_precision",
    "ranks",
    "summarise",
    "t2v",
    "v2t",
]

Ties: TypeAlias = Literal["pessimistic", "mean", "optimistic", "clip4clip", "xpool"]
"""Where a relevant video stands among others of exactly the same similarity.

``pessimistic``: behind them. ``mean``: in their middle. ``optimistic``: before them. ``clip4clip``: at each of their
places, so that a tied text counts several times (CLIP4Clip, X-CLIP, TS2-Net). ``xpool``: where ``torch.argsort`` leaves
them, which no rule covers and another processor may do otherwise (X-Pool; CLIP4Clip with several captions).
"""

RECALL_AT = (1, 5, 10, 50)

ROW_BLOCK = 1024  # texts ranked at once: comparisons take a few times this block of the matrix


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What a table of results shows for one direction.

    Attributes:
        recall_at: percent of queries with a relevant item among the first k, by k.
        median_rank: median of the 1-based ranks.
        mean_rank: their mean.
        num_queries: how many ranks there are; with ``clip4clip`` ties more than queries.
        ties: the rule by which equal similarities were ranked.
        direction: ``t2v`` or ``v2t``.
    """

    recall_at: dict[int, float]
    median_rank: float
    mean_rank: float
    num_queries: int
    ties: str
    direction: str

    def __str__(self) -> str:
        recall = "  ".join(f"R@{k} {value:.1f}" for k, value in self.recall_at.items())
        return f"{self.direction}  {recall}  MdR {self.median_rank:.1f}  MnR {self.mean_rank:.1f}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the keys of ``recall_at`` become strings."""
        return {**asdict(self), "recall_at": {str(k): value for k, value in self.recall_at.items()}}


def t2v(
    similarity: Float[Tensor, "text video"],
    relevance: Bool[Tensor, "text video"] | None = None,
    *,
    ties: Ties = "pessimistic",
    recall_at: Sequence[int] = RECALL_AT,
    lower_median: bool = False,
) -> Metrics:
    """Rank the videos for every text; several captions of a video are several queries.

    Args:
        similarity: higher is better.
        relevance: which videos answer which texts; default: text i belongs to video i.
        ties: see :data:`Ties`.
        lower_median: of an even number of ranks take the lower middle one, as CLIP4Clip does with several captions a
            video; otherwise the mean of both.

    Raises:
        InputError: a similarity is NaN, or a text has no relevant video.
        ShapeError: the shapes do not fit.
    """
    found = ranks(similarity, relevance, ties=ties)
    return summarise(found, ties=ties, direction="t2v", recall_at=recall_at, lower_median=lower_median)


def v2t(
    similarity: Float[Tensor, "text video"],
    relevance: Bool[Tensor, "text video"] | None = None,
    *,
    ties: Ties = "pessimistic",
    recall_at: Sequence[int] = RECALL_AT,
    lower_median: bool = False,
) -> Metrics:
    """Rank the texts for every video that has one; a video's rank is that of its best caption.

    Where videos have several captions, published numbers rank groups of captions:
    ``v2t(group_captions(similarity, relevance))``.

    Args and errors: as for :func:`t2v`.
    """
    relevance = _relevance(similarity, relevance)
    asked = relevance.any(dim=0)
    found = ranks(similarity.T[asked], relevance.T[asked], ties=ties)
    return summarise(found, ties=ties, direction="v2t", recall_at=recall_at, lower_median=lower_median)


def group_captions(
    similarity: Float[Tensor, "text video"], relevance: Bool[Tensor, "text video"]
) -> Float[Tensor, "video video"]:
    """Make one text of all captions of a video: the maximum of their similarities (MSVD, VATEX; spec 0.6).

    Returns:
        ``[group, video]``, group i being the captions of video i; a video without captions gives a row of -inf.
    """
    relevance = _relevance(similarity, relevance)
    lowest = similarity.new_full((), -torch.inf)
    rows = [
        torch.where(relevance[:, video, None], similarity, lowest).amax(dim=0)
        if len(similarity)
        else lowest.expand(similarity.shape[1])
        for video in range(similarity.shape[1])
    ]
    return torch.stack(rows) if rows else similarity.new_zeros(0, 0)


def ranks(
    similarity: Float[Tensor, "text video"],
    relevance: Bool[Tensor, "text video"] | None = None,
    *,
    ties: Ties = "pessimistic",
) -> Float[Tensor, " rank"]:
    """1-based rank of the best relevant video of every text, as float64.

    One rank a text, in order; with ``clip4clip`` a rank for every place of a tie, in order of texts.

    Args, errors: as for :func:`t2v`.
    """
    if ties not in get_args(Ties):
        known = get_args(Ties)
        raise InputError(f"ties={ties!r}{suggest(ties, known)} (known: {', '.join(known)})")
    relevance = _relevance(similarity, relevance)
    if bool(similarity.isnan().any()):
        row, column = (int(i) for i in similarity.isnan().nonzero()[0])
        raise InputError(f"similarity of text {row} and video {column} is NaN; such a score has no rank")
    orphans = (~relevance.any(dim=1)).nonzero()
    if len(orphans):
        raise InputError(f"text {int(orphans[0])} has no relevant video, so it has no rank")
    blocks = [_ranks(similarity[rows], relevance[rows], ties) for rows in _blocks(len(similarity))]
    return torch.cat(blocks) if blocks else torch.zeros(0, dtype=torch.float64)


def _ranks(similarity: Tensor, relevance: Tensor, ties: str) -> Tensor:
    if ties == "xpool":
        order = similarity.argsort(dim=1, descending=True)
        return (relevance.gather(1, order).int().argmax(dim=1) + 1).double()  # the first relevant place
    best = similarity.masked_fill(~relevance, -torch.inf).amax(dim=1, keepdim=True)
    first = (similarity > best).sum(dim=1) + 1
    equal = similarity == best
    if ties == "clip4clip":
        tied = equal.sum(dim=1)
        place = torch.arange(int(tied.sum()), device=tied.device) - (tied.cumsum(0) - tied).repeat_interleave(
            tied
        )
        return (first.repeat_interleave(tied) + place).double()
    share = {"pessimistic": 1.0, "mean": 0.5, "optimistic": 0.0}[ties]
    return first + share * (equal & ~relevance).sum(dim=1).double()


def summarise(
    found: Float[Tensor, " rank"],
    *,
    ties: Ties,
    direction: Literal["t2v", "v2t"],
    recall_at: Sequence[int] = RECALL_AT,
    lower_median: bool = False,
) -> Metrics:
    """Turn ranks into metrics.

    Raises:
        InputError: there are no ranks.
    """
    if not len(found):
        raise InputError(f"{direction}: there is nothing to rank; at least one text and one video are needed")
    ordered = found.double().sort().values
    middle = len(ordered) // 2
    low = ordered[(len(ordered) - 1) // 2]
    return Metrics(
        recall_at={k: 100.0 * float((ordered <= k).double().mean()) for k in recall_at},
        median_rank=float(low if lower_median else (low + ordered[middle]) / 2),
        mean_rank=float(ordered.mean()),
        num_queries=len(ordered),
        ties=ties,
        direction=direction,
    )


def mean_average_precision(
    similarity: Float[Tensor, "text video"], relevance: Bool[Tensor, "text video"] | None = None
) -> float:
    """Mean over texts of the average precision over their relevant videos, in percent; ties count against us.

    Args, errors: as for :func:`t2v`.
    """
    relevance = _relevance(similarity, relevance)
    ranks(similarity, relevance)  # refuses what has no rank
    total = 0.0
    for rows in _blocks(len(similarity)):
        # two stable sorts: by similarity, and among equals the irrelevant first
        irrelevant_first = relevance[rows].int().argsort(dim=1, stable=True)
        order = similarity[rows].gather(1, irrelevant_first).argsort(dim=1, descending=True, stable=True)
        hits = relevance[rows].gather(1, irrelevant_first.gather(1, order)).double()
        precision = hits.cumsum(dim=1) / torch.arange(1, hits.shape[1] + 1, device=hits.device)
        total += float(((precision * hits).sum(dim=1) / hits.sum(dim=1)).sum())
    if not len(similarity):
        raise InputError("there is nothing to rank; at least one text and one video are needed")
    return 100.0 * total / len(similarity)


def _relevance(similarity: Tensor, relevance: Tensor | None) -> Tensor:
    """The relevance given, checked; or the diagonal of a square matrix."""
    if similarity.ndim != 2:
        raise ShapeError("similarity", expected="[text, video]", got=list(similarity.shape))
    if relevance is None:
        texts, videos = similarity.shape
        if texts != videos:
            raise ShapeError(
                "similarity without relevance", expected="as many texts as videos", got=[texts, videos]
            )
        return torch.eye(texts, dtype=torch.bool, device=similarity.device)
    if relevance.shape != similarity.shape or relevance.dtype != torch.bool:
        raise ShapeError(
            "relevance",
            expected=f"bool {list(similarity.shape)}, as similarity",
            got=f"{relevance.dtype} {list(relevance.shape)}",
        )
    return relevance.to(similarity.device)


def _blocks(length: int) -> Iterator[slice]:
    for start in range(0, length, ROW_BLOCK):
        yield slice(start, start + ROW_BLOCK)
