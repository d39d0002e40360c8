"""The one ranking pipeline, ``candidates -> matcher -> reranker -> order``, over anything that can be
searched.

Evaluation is this pipeline over a gallery that is in memory and exhaustive; search is the same pipeline over
an index whose candidates come first. A score depends on its own text and its own video only, so that the
candidates' scores are those columns of the full similarity matrix.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .errors import InputError, ShapeError
from .features import TextFeatures, VideoFeatures, masked_mean, unit
from .matchers.base import Matcher
from .rerankers.base import Fusion, Reranker
from .similarity import similarity_matrix

__all__ = [
    "RERANK_DEPTH",
    "Gallery",
    "Hit",
    "MemoryGallery",
    "Ranking",
    "exact_candidates",
    "merge_adjacent",
    "rank",
    "rerank_similarity",
]

ROW_BLOCK = 2048  # rows of features held at once by an exhaustive ranking: 48 MiB at 12 x 512 in fp32
FEW_TEXTS = 16  # up to so many texts fold the query rather than the gallery (closed-form.md has the costs)
RERANK_DEPTH = 15  # CrossTVR, section 4.1: K
RERANKED_VIDEOS = 32  # videos of a finished matrix whose features a reranker gets at once
FILL = -100.0  # LAVIS: the score of a pair that is not reranked
FOCUS_SHARE = 0.5  # of the largest weight: full width at half maximum, as for any peak
ADJACENT_S = 1e-3  # moments of one video are cut without gaps; this only absorbs rounding


class Gallery(ABC):
    """What is searched: rows of video features, and a cheap way to propose rows for a text."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of rows."""

    @abstractmethod
    def candidates(self, text: TextFeatures, depth: int | None) -> Int64[Tensor, "text candidate"]:
        """The ``depth`` rows (all with ``None``) most promising for every text, in ascending row order."""

    @abstractmethod
    def features(self, rows: Int64[Tensor, " row"]) -> VideoFeatures:
        """Features of those rows, in that order, on the CPU as float32."""


class MemoryGallery(Gallery):
    """A gallery whose features are all in memory."""

    def __init__(self, video: VideoFeatures) -> None:
        self._video = video.to("cpu", torch.float32)
        self._vectors = masked_mean(self._video.frame, self._video.frame_mask)

    def __len__(self) -> int:
        return len(self._video)

    def __repr__(self) -> str:
        return f"<MemoryGallery {len(self)} rows>"

    def candidates(self, text: TextFeatures, depth: int | None) -> Int64[Tensor, "text candidate"]:
        return exact_candidates(text, self._vectors, depth)

    def features(self, rows: Int64[Tensor, " row"]) -> VideoFeatures:
        return self._video[rows]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Ranking:
    """Rows of a gallery in order for every text.

    Attributes:
        rows: gallery rows, best first, ``[text, candidate]``.
        scores: their scores, ``[text, candidate]``. After a reranker, the first ``rerank_depth`` are fused scores
            and the rest the matcher's: the two are not comparable with one another.
    """

    rows: Int64[Tensor, "text candidate"]
    scores: Float[Tensor, "text candidate"]

    def __len__(self) -> int:
        return self.rows.shape[0]

    def __repr__(self) -> str:
        return f"<Ranking {self.rows.shape[0]} texts x {self.rows.shape[1]} rows>"


@dataclass(frozen=True, kw_only=True, repr=False)
class Hit:
    """One search result: a moment, or several adjacent moments of one video merged into one.

    Attributes:
        rank: 1-based place in the results.
        video: path of the video file.
        start_s: where the result begins, in seconds.
        end_s: where it ends (exclusive).
        score: similarity of its best moment to the query, unscaled; higher is better. Where a reranker saw that moment,
            the fused score, which compares with those of other reranked moments only.
        frame_times_s: times of the frames that were compared, ascending.
        attention: what each of those frames contributed; sums to 1.
    """

    rank: int
    video: str
    start_s: float
    end_s: float
    score: float
    frame_times_s: tuple[float, ...]
    attention: tuple[float, ...]

    @property
    def focus_s(self) -> tuple[float, float]:
        """The stretch that the text attends to most, ``(start_s, end_s)`` within the result.

        The frames around the one with the largest weight whose weights are at least half of it; a frame stands for
        the time half-way to its neighbours.
        """
        peak = max(range(len(self.attention)), key=self.attention.__getitem__)
        least = FOCUS_SHARE * self.attention[peak]
        first = last = peak
        while first > 0 and self.attention[first - 1] >= least:
            first -= 1
        while last < len(self.attention) - 1 and self.attention[last + 1] >= least:
            last += 1
        times = self.frame_times_s
        start = self.start_s if first == 0 else (times[first - 1] + times[first]) / 2
        end = self.end_s if last == len(times) - 1 else (times[last] + times[last + 1]) / 2
        return start, end

    def __repr__(self) -> str:
        return f"<Hit {PurePath(self.video).name} {self.start_s:.1f}-{self.end_s:.1f} s {self.score:.2f}>"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "rank": self.rank,
            "video": self.video,
            "start_s": self.start_s,
            "end_s": self.end_s,
            "focus_s": list(self.focus_s),
            "score": self.score,
            "frame_times_s": list(self.frame_times_s),
            "attention": list(self.attention),
        }


def exact_candidates(
    text: TextFeatures, vectors: Float[Tensor, "row dim"], depth: int | None
) -> Int64[Tensor, "text candidate"]:
    """The ``depth`` rows whose vector has the largest dot product with each text, in ascending row order.

    Args:
        text: only ``sentence`` is used; its length does not matter.
        vectors: unit vectors, one a row.
        depth: ``None``, or more than there are rows, means all rows.
    """
    texts, rows = len(text), vectors.shape[0]
    if depth is None or depth >= rows:
        return torch.arange(rows).expand(texts, rows)
    similarity = unit(text.sentence.to("cpu", torch.float32)) @ vectors.T
    return similarity.topk(depth, dim=1, sorted=False).indices.sort(dim=1).values


@torch.inference_mode()
def rank(
    text: TextFeatures,
    gallery: Gallery,
    matcher: Matcher,
    *,
    depth: int | None = None,
    reranker: Reranker | None = None,
    rerank_depth: int = RERANK_DEPTH,
    rerank_text: TextFeatures | None = None,
    rerank_gallery: Gallery | None = None,
    fusion: Fusion | None = None,
) -> Ranking:
    """Order a gallery for every text.

    Args:
        text: the queries; the matcher runs on their device.
        gallery: what is searched.
        matcher: scores the candidates.
        depth: how many candidates the matcher sees; ``None`` for all rows, which is what evaluation does.
        reranker: scores the best ``rerank_depth`` rows again, which come first, in the order of the fused score; the
            others follow in the matcher's order.
        rerank_depth: how many rows the reranker sees.
        rerank_text: the queries as the reranker reads them (:meth:`.Reranker.text_features`); default: ``text``.
        rerank_gallery: the same rows with the features that the reranker reads, such as the patch tokens of an
            encoder of its own; default: ``gallery``. A row of which it has no real frame keeps its place.
        fusion: how the scores of reranker and matcher are combined; default: the reranker's own way.

    Returns:
        Rows and scores, equal scores in ascending row order.

    Raises:
        InputError: a text embedding is zero or not finite (it would silently match anything), or a depth is <
            1.
        ShapeError: what the reranker reads has another number of texts or rows.
        MissingFeatureError: the reranker needs a feature that was not computed.
    """
    _check_queries(text)
    for name, value in (("depth", depth), ("rerank_depth", rerank_depth)):
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}; it must be at least 1")
    rows, scores = _match(text, gallery, matcher, depth)
    scores, order = scores.sort(dim=1, descending=True, stable=True)
    ranking = Ranking(rows=rows.gather(1, order), scores=scores)
    if reranker is None or len(gallery) == 0:
        return ranking
    if rerank_text is None:
        rerank_text = text
    if rerank_gallery is None:
        rerank_gallery = gallery
    for what, own, given in (("rerank_text", text, rerank_text), ("rerank_gallery", gallery, rerank_gallery)):
        if len(own) != len(given):
            raise ShapeError(what, expected=f"{len(own)} rows", got=len(given))
    depth = min(rerank_depth, rows.shape[1])
    return _rerank(rerank_text, rerank_gallery, ranking, reranker, depth, fusion or reranker.fusion)


@torch.inference_mode()
def rerank_similarity(
    similarity: Float[Tensor, "text video"],
    reranker: Reranker,
    text: TextFeatures,
    video: VideoFeatures,
    *,
    direction: Literal["t2v", "v2t"] = "t2v",
    depth: int = RERANK_DEPTH,
    fusion: Fusion | None = None,
    tail: Literal["coarse", "fill"] = "coarse",
) -> Float[Tensor, "text video"]:
    """Rerank a finished matrix: what :func:`rank` does for texts, for either direction.

    Every query (a text in t2v, a video in v2t) has its ``depth`` best candidates scored again, and they stay ahead of
    the others. So the two directions give two matrices, each for the metrics of its own direction.

    Args:
        similarity: the matcher's, unscaled.
        reranker: in evaluation mode.
        text, video: what the reranker reads of the same texts and videos; a few videos at a time go to the device
            and type of ``text``, so that theirs may be mapped from a file.
        depth: candidates of a query.
        fusion: how both scores are combined; default: the reranker's own way.
        tail: the others keep the matcher's order, lowered below the candidates (``coarse``), or all become -100, as
            LAVIS has it (``fill``), which spoils mean ranks.

    Returns:
        Scores that order the candidates of each query, float64 so that lowering merges no two of them.

    Raises:
        InputError: ``depth`` is less than 1.
        ShapeError: the matrix is not one of these texts and videos.
        MissingFeatureError: the reranker needs a feature that was not computed.
    """
    if depth < 1:
        raise InputError(f"depth is {depth}; it must be at least 1")
    if similarity.shape != (len(text), len(video)):
        raise ShapeError("similarity", expected=[len(text), len(video)], got=list(similarity.shape))
    queries = (similarity if direction == "t2v" else similarity.T).double()
    coarse, order = queries.sort(dim=1, descending=True, stable=True)
    candidates = order[:, :depth]
    own = torch.arange(len(queries), device=queries.device)[:, None].expand_as(candidates)
    pairs = torch.stack([own, candidates] if direction == "t2v" else [candidates, own], dim=2).flatten(0, 1)
    again = _score_pairs(reranker, text, video, pairs).to(queries).reshape(candidates.shape)
    fused = (fusion or reranker.fusion)(again, coarse[:, :depth])
    if tail == "fill":
        rest = torch.full_like(queries, FILL)
    elif coarse.shape[1] > depth:
        least = fused.min(dim=1, keepdim=True).values - 1
        rest = queries + (least - coarse[:, depth : depth + 1]).clamp_max(0)
    else:
        rest = queries
    result = rest.scatter(1, candidates, fused)
    return result if direction == "t2v" else result.T


def merge_adjacent(
    videos: Sequence[Hashable], start_s: Sequence[float], end_s: Sequence[float], *, k: int
) -> list[list[int]]:
    """Merge a ranked list of moments into ``k`` results, joining moments that follow one another in their
    video.

    The shortest beginning of the list that gives ``k`` results is used: moments further down never widen a
    result.

    Args:
        videos: the video of every moment, best moment first.
        start_s: their starts, in seconds.
        end_s: their ends, in seconds.
        k: how many results are wanted.

    Returns:
        At most ``k`` groups of positions, the group with the best moment first, each in the order of time.
    """
    if k < 1:
        raise InputError(f"k is {k}; it must be at least 1")
    if not len(videos) == len(start_s) == len(end_s):
        raise ShapeError(
            "merge_adjacent", expected=f"{len(videos)} starts and ends", got=(len(start_s), len(end_s))
        )
    groups: list[list[int]] = []
    for position, video in enumerate(videos):
        if len(groups) == k:
            break
        start, end = start_s[position], end_s[position]
        joined, others = [position], list[list[int]]()
        for group in groups:
            first, last = group[0], group[-1]
            apart = max(start - end_s[last], start_s[first] - end)
            if videos[first] == video and apart < ADJACENT_S:
                joined += group
            else:
                others.append(group)
        groups = [*others, sorted(joined, key=lambda i: (start_s[i], end_s[i]))]
    return sorted(groups, key=min)


def _check_queries(text: TextFeatures) -> None:
    sentence = text.sentence.float()
    good = sentence.isfinite().all(dim=1) & (sentence != 0).any(dim=1)
    if not bool(good.all()):
        raise InputError(
            f"text {int((~good).nonzero()[0])} has an embedding that is zero or not finite, which every "
            "video matches equally; check the model's weights and precision"
        )


def _match(
    text: TextFeatures, gallery: Gallery, matcher: Matcher, depth: int | None
) -> tuple[Int64[Tensor, "text candidate"], Float[Tensor, "text candidate"]]:
    """Candidate rows and the matcher's scores for them, in ascending row order."""
    device, dtype = text.sentence.device, text.sentence.dtype
    if depth is None or depth >= len(gallery):
        rows = torch.arange(len(gallery))
        blocks = [
            _all_pairs(text, gallery.features(block).to(device, dtype), matcher)
            for block in rows.split(ROW_BLOCK)
            if len(block)
        ]
        scores = torch.cat(blocks, dim=1) if blocks else torch.zeros(len(text), 0)
        return rows.expand(len(text), -1), scores
    rows = gallery.candidates(text, depth)
    scores = torch.cat(
        [
            matcher.query_scorer(text[t : t + 1])(gallery.features(rows[t]).to(device, dtype)).float().cpu()
            for t in range(len(text))
        ]
        or [torch.zeros(0, rows.shape[1])]
    )
    return rows, scores


def _all_pairs(text: TextFeatures, video: VideoFeatures, matcher: Matcher) -> Tensor:
    if len(text) > FEW_TEXTS:
        return similarity_matrix(matcher, text, video).float().cpu()
    return torch.cat([matcher.query_scorer(text[t : t + 1])(video) for t in range(len(text))]).float().cpu()


def _rerank(
    text: TextFeatures,
    gallery: Gallery,
    ranking: Ranking,
    reranker: Reranker,
    depth: int,
    fusion: Fusion,
) -> Ranking:
    """Put the first ``depth`` rows of every text in the order of their fused scores."""
    rows, scores = ranking.rows.clone(), ranking.scores.clone()
    for t in range(len(text)):
        video = gallery.features(rows[t, :depth])
        places = video.frame_mask.any(dim=1).nonzero().squeeze(1)
        if not len(places):
            continue
        pairs = torch.stack([torch.zeros_like(places), torch.arange(len(places))], dim=1)
        video = video[places].to(text.sentence.device, text.sentence.dtype)
        again = reranker(text[t : t + 1], video, pairs.to(text.sentence.device)).float().cpu()
        fused, order = fusion(again, scores[t, places]).sort(descending=True, stable=True)
        scores[t, places], rows[t, places] = fused, rows[t, places[order]]
    return Ranking(rows=rows, scores=scores)


def _score_pairs(
    reranker: Reranker, text: TextFeatures, video: VideoFeatures, pairs: Int64[Tensor, "pair 2"]
) -> Float[Tensor, " pair"]:
    """The reranker's scores, with the features of ``RERANKED_VIDEOS`` videos in its hands at a time."""
    device, dtype = text.sentence.device, text.sentence.dtype
    by_video = pairs[:, 1].argsort(stable=True)
    counts = pairs[by_video, 1].unique_consecutive(return_counts=True)[1]
    scores = torch.zeros(len(pairs), dtype=torch.float32)
    for block in by_video.split([int(part.sum()) for part in counts.split(RERANKED_VIDEOS)]):
        texts, t = pairs[block, 0].unique(return_inverse=True)
        videos, v = pairs[block, 1].unique(return_inverse=True)
        local = torch.stack([t, v], dim=1).to(device)
        found = reranker(text[texts], video[videos].to(device, dtype), local)
        scores[block.cpu()] = found.float().cpu()
    return scores
