"""Relevance feedback: a query that comes nearer to what was liked, and away from what was disliked."""

from __future__ import annotations

from dataclasses import replace

from ..errors import ShapeError
from ..features import TextFeatures, VideoFeatures, masked_mean, unit

__all__ = ["move"]

# beside alpha = 1; Manning, Raghavan and Schuetze 2008, section 9.1.1, have 0.75 and 0.15, which move a sentence too
# far among pictures: docs/search-quality.md
LIKED, DISLIKED = 0.3, 0.1


def move(
    query: TextFeatures,
    liked: VideoFeatures | None = None,
    disliked: VideoFeatures | None = None,
    *,
    weights: tuple[float, float] = (LIKED, DISLIKED),
) -> TextFeatures:
    """Rocchio's query (1971): the unit query, plus the mean of what was liked, minus that of what was disliked.

    Only ``sentence`` moves; words stay as they are.

    Args:
        query: one text.
        liked, disliked: features of moments; None or no rows: none.
        weights: of both, beside 1 for the query.

    Raises:
        ShapeError: there is not one text, or the dimensions do not fit.
    """
    if len(query) != 1:
        raise ShapeError("query", expected="one row", got=len(query))
    moved = unit(query.sentence)
    for video, weight in ((liked, weights[0]), (disliked, -weights[1])):
        if video is None or not len(video):
            continue
        vectors = masked_mean(video.frame, video.frame_mask).to(moved)
        if vectors.shape[1] != moved.shape[1]:
            raise ShapeError("moments", expected=f"{moved.shape[1]} dimensions", got=list(vectors.shape))
        moved = moved + weight * vectors.mean(dim=0, keepdim=True)
    return replace(query, sentence=moved)
