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
    rows, scores = ranking.rows[0].tolist(), ranking.scores[0].tolist()
    places = [gallery.moment(row) for row in rows]
    if unit == "video":
        best = {place.video_id: position for position, place in reversed(list(enumerate(places)))}
        groups = [[position] for position in sorted(best.values())[:k]]
    else:
        groups = merge_adjacent(
            [place.video_id for place in places],
            [place.start_s for place in places],
            [place.end_s for place in places],
            k=k,
        )
    used = [position for group in groups for position in group]
    if not used:
        return []
    features, times = gallery.features_and_times(torch.tensor([rows[position] for position in used]))
    weights = dict(zip(used, attention(text, features, model), strict=True))
    times_of = dict(zip(used, times, strict=True))
    return [
        Hit(
            rank=number,
            video=places[group[0]].uri,
            start_s=places[group[0]].start_s,
            end_s=places[group[-1]].end_s,
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
