"""A ranking of rows as results: adjacent moments merged, with their frames and what each frame contributed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

from ..features import TextFeatures, VideoFeatures
from ..ranking import Hit, Ranking, merge_adjacent
from .gallery import LanceGallery

if TYPE_CHECKING:
    from ..matchers import Matcher
    from ..model import RetrievalModel

__all__ = ["attention", "hits_of"]


def hits_of(
    text: TextFeatures,
    ranking: Ranking,
    gallery: LanceGallery,
    model: RetrievalModel,
    *,
    k: int,
    unit: Literal["moment", "video"],
) -> list[Hit]:
    """The first results of a ranking, with the frames of the moments that they consist of."""
    rows, scores = ranking.rows[0].numpy(), ranking.scores[0].tolist()
    videos = gallery.video[rows].tolist()
    start_s, end_s = gallery.start_s[rows].tolist(), gallery.end_s[rows].tolist()
    if unit == "video":
        best = {video: position for position, video in reversed(list(enumerate(videos)))}
        groups = [[position] for position in sorted(best.values())[:k]]
    else:
        groups = merge_adjacent(videos, start_s, end_s, k=k)
    used = [position for group in groups for position in group]
    if not used:
        return []
    features, times = gallery.features_and_times(torch.from_numpy(rows[used]))
    weights = dict(zip(used, attention(text, features, model), strict=True))
    times_of = dict(zip(used, times, strict=True))
    return [
        Hit(
            rank=number,
            video=gallery.moment(int(rows[group[0]])).uri,
            start_s=start_s[group[0]],
            end_s=end_s[group[-1]],
            score=scores[min(group)],  # scores before and behind the reranker's depth do not compare
            frame_times_s=tuple(time for position in group for time in times_of[position]),
            # every moment's weights sum to one; so do the result's
            attention=tuple(weight / len(group) for position in group for weight in weights[position]),
        )
        for number, group in enumerate(groups, start=1)
    ]


def attention(
    text: TextFeatures, features: VideoFeatures, model: RetrievalModel, *, matcher: Matcher | None = None
) -> list[list[float]]:
    """What the real frames of every moment contribute, by ``matcher`` (default: the model's); each sums to 1.

    A frame has the weights of all its tokens.
    """
    sentence, tokens = text.sentence, model.temporal.tokens_per_frame
    with torch.inference_mode():
        weights = (
            (matcher or model.matcher)
            .attention(text, features.to(sentence.device, sentence.dtype))[0]
            .float()
            .cpu()
        )
    real = (row[mask] for row, mask in zip(weights, features.frame_mask, strict=True))
    return [row.unflatten(0, (-1, tokens)).sum(dim=1).tolist() for row in real]
