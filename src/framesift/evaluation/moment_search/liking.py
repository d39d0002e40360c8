"""Feedback: does saying what is liked bring the rest?

Two situations. *One answer*: the right video stands at rank 6 to 60, and what a person can like on the first page comes
near it only: most of the things that were asked for. *Several answers*: a thing that several videos show; those of the
first page are liked, some others disliked, and the rest is looked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...features import TextFeatures, masked_mean
from ...search.feedback import DISLIKED, LIKED, move
from ...search.terms import score_term, standardised
from ...storyboard import Slice, Storyboard
from ..significance import bootstrap_interval
from .exclusion import average_precision
from .galleries import Seen, article, shown_things

__all__ = ["measure_liking"]

PAGE, MOST_SAID = 10, 3
MOST_QUERIES = 80  # of each situation
RANKS = range(6, 61)
FEWEST = 6  # videos that show a thing
COEFFICIENTS = ((0.75, 0.15), (LIKED, DISLIKED), (0.15, 0.15), (LIKED, 0.0))
Scores = NDArray[np.float64]
Rows = NDArray[np.int64]


def measure_liking(galleries: dict[str, Seen], gallery: Slice) -> dict[str, Any]:
    """Changes against the same query without feedback, what was liked or disliked left out of both."""
    rows = {
        name: {"one answer": _one_answer(own, gallery), "several answers": _several(own, gallery.videos)}
        for name, own in galleries.items()
    }
    return {"videos": len(gallery.videos), "models": rows}


def _one_answer(own: Seen, gallery: Slice) -> dict[str, Any]:
    texts = own.similarity(gallery.texts).double().numpy()
    before: list[int] = []
    after: dict[str, list[int]] = {}
    for query, target in enumerate(gallery.owners):
        scores = texts[query]
        if len(before) == MOST_QUERIES:
            break
        if int((scores > scores[target]).sum()) + 1 not in RANKS:
            continue
        page = [row for row in np.argsort(-scores)[:PAGE].tolist() if not gallery.relevance[query, row]]
        alike = [_share(gallery, query, gallery.videos[row]) for row in page]
        if not page or max(alike) == min(alike):
            continue  # nothing to choose by
        liked = [row for row, share in zip(page, alike, strict=True) if share == max(alike)][:MOST_SAID]
        disliked = [row for row, share in zip(page, alike, strict=True) if share == min(alike)][:MOST_SAID]
        kept = np.setdiff1d(np.arange(len(scores)), [*liked, *disliked])
        before.append(_rank(scores, target, kept))
        for label, changed in _ways(own, gallery.texts[query], scores, liked, disliked).items():
            after.setdefault(label, []).append(_rank(changed, target, kept))
    start = np.array(before)
    rows: dict[str, Any] = {}
    for label, found in {"no feedback": before, **after}.items():
        ranks = np.array(found)
        ratio = np.log2(ranks / start)
        low, high = bootstrap_interval(ratio / 100)
        rows[label] = {
            "median_rank": float(np.median(ranks)),
            "r5": 100 * float((ranks <= 5).mean()),
            "log2_rank": {"value": float(ratio.mean()), "low": low, "high": high},
        }
    return {"queries": len(before), "ways": rows}


def _several(own: Seen, videos: Sequence[Storyboard]) -> dict[str, Any]:
    things = [shown_things(video) for video in videos]
    values: dict[str, list[float]] = {}
    for thing in sorted(set().union(*things)):
        right = np.array([thing in shown for shown in things])
        text = article(thing)
        scores = own.similarity([text])[0].double().numpy()
        page = np.argsort(-scores)[:PAGE]
        liked, disliked = page[right[page]][:MOST_SAID].tolist(), page[~right[page]][:MOST_SAID].tolist()
        if right.sum() < FEWEST or not liked:
            continue
        if len(values.get("no feedback", ())) == MOST_QUERIES:
            break
        kept = np.setdiff1d(np.arange(len(scores)), [*liked, *disliked])
        ways = {"no feedback": scores, **_ways(own, text, scores, liked, disliked)}
        for label, changed in ways.items():
            values.setdefault(label, []).append(100 * average_precision(changed[kept], right[kept]))
    before = np.array(values["no feedback"])
    rows: dict[str, Any] = {}
    for label, found in values.items():
        gain = np.array(found) - before
        low, high = bootstrap_interval(gain / 100)
        rows[label] = {
            "ap": float(np.mean(found)),
            "ap_gain": {"value": float(gain.mean()), "low": low, "high": high},
        }
    return {"queries": len(before), "ways": rows}


def _ways(
    own: Seen, text: str, scores: Scores, liked: Sequence[int], disliked: Sequence[int]
) -> dict[str, Scores]:
    """Scores of all rows after feedback, by how it is used."""
    query = own.model.encode_text([text])
    ways: dict[str, Scores] = {}
    for weights in COEFFICIENTS:
        moved = move(query, own.video[list(liked)], own.video[list(disliked)], weights=weights)
        ways[f"query moved by {weights[0]:g} and {weights[1]:g}"] = score_term(
            own.model, moved, "text", own.video
        )
    added = standardised(scores, scores) + LIKED * np.mean([_like(own, row) for row in liked], axis=0)
    ways["similarity to what was liked added"] = added
    if disliked:
        added = added - DISLIKED * np.mean([_like(own, row) for row in disliked], axis=0)
    ways["and that to what was disliked taken off"] = added
    return ways


def _like(own: Seen, row: int) -> Scores:
    """How like a row all rows are, standardised."""
    frame, mask = own.video.frame[[row]], own.video.frame_mask[[row]]
    term = TextFeatures(sentence=masked_mean(frame, mask), word=frame, word_mask=mask)
    found = score_term(own.model, term, "moment", own.video)
    return standardised(found, found)


def _rank(scores: Scores, target: int, kept: Rows) -> int:
    return int((scores[kept] > scores[target]).sum()) + 1


def _share(gallery: Slice, query: int, video: Storyboard) -> float:
    """How many of the things that a caption names a scene of the video shows."""
    asked = gallery.captions[query].claims[0].objects
    return max(
        sum(
            any(thing.shape == one.shape and one.color in (None, thing.color) for thing in scene.objects)
            for one in asked
        )
        / len(asked)
        for scene in video.scenes
    )
