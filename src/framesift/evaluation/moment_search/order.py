"""A then B: videos of the same two scenes in either order, asked for in one sentence, and as two steps."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...metrics import ranks
from ...ranking import MemoryGallery
from ...search.sequence import WINDOW_FRAMES, follow, windows
from ...search.terms import background, combine
from ...storyboard import PairedSlice, diversity, order_pairs
from ..significance import bootstrap_interval, paired_differences
from .galleries import Models, Seen, seen

__all__ = ["measure_order", "two_steps"]

FOREIGN = 2  # scenes in every video, beside its own two
TRIED = (1, WINDOW_FRAMES, 3, 6)  # frames of a window


def measure_order(models: Models, *, pairs: int, start: int) -> dict[str, Any]:
    """Ranks of the right one of all videos, and the choice between the two of a pair, by model and way of asking:
    of videos of the two scenes alone, and with foreign scenes put in at random places."""
    gallery = order_pairs(pairs, start=start)
    disturbed = diversity(gallery, FOREIGN)
    galleries = {
        "alone": gallery,
        "among foreign scenes": replace(gallery, videos=disturbed.videos, relevance=disturbed.relevance),
    }
    return {
        "videos": len(gallery.videos),
        "foreign_scenes": FOREIGN,
        "content_hash": gallery.content_hash,
        "galleries": {name: _of_gallery(models, one) for name, one in galleries.items()},
    }


def _of_gallery(models: Models, gallery: PairedSlice) -> dict[str, Any]:
    relevance = torch.from_numpy(gallery.relevance)
    clusters = np.arange(len(gallery.texts)) // 2  # the captions of a pair are of the same two scenes
    steps = [two_steps(text) for text in gallery.texts]
    rows: dict[str, Any] = {}
    for name, own in seen(models, gallery.videos).items():
        first, second = (own.similarity(part) for part in zip(*steps, strict=True))
        ways = {"one sentence": own.similarity(gallery.texts), "A and B, in any order": first + second}
        for size in TRIED:
            label = "A then B" if size == WINDOW_FRAMES else f"A then B, windows of {size}"
            ways[label] = _chained(own, gallery, steps, size)
        found = {label: ranks(similarity, relevance) for label, similarity in ways.items()}
        choices = {label: gallery.choices(similarity.numpy())[0] for label, similarity in ways.items()}
        gains = {
            label: paired_differences(found["one sentence"], one, clusters=clusters)["R@1"]
            for label, one in found.items()
        }
        rows[name] = {
            label: {
                "r1": 100 * float((found[label] <= 1).double().mean()),
                "r1_interval": bootstrap_interval(found[label] <= 1, clusters=clusters),
                "r1_gain": gains[label].to_dict(),
                "pair": 100 * float(choices[label].mean()),
                "pair_interval": bootstrap_interval(choices[label], clusters=clusters),
            }
            for label in ways
        }
    return rows


def two_steps(text: str) -> tuple[str, str]:
    """The two scenes of a caption of the slice."""
    found = re.fullmatch(r"(?:first )?(.+?)(?:, and then |, then |, followed by )(.+)", text)
    assert found is not None, text
    return found[1], found[2]


def _chained(
    own: Seen, gallery: PairedSlice, steps: list[tuple[str, str]], size: int
) -> Float[Tensor, "text video"]:
    """Scores of the best chain in every video, as a search gives them."""
    model, video = own.model, own.video
    sample = background(MemoryGallery(video)).features
    seconds = [one.duration_s for one in gallery.videos]
    counts = video.frame_mask.sum(dim=1).tolist()
    times = [((np.arange(n) + 0.5) / n * length).tolist() for n, length in zip(counts, seconds, strict=True)]
    inside = windows(video, times, seconds, steps=2, num_frames=size)
    result = torch.full((len(steps), len(video)), -torch.inf)
    # all sentences at once, which is what score_term gives one by one
    texts = [text for parts in steps for text in parts]
    of_windows = Seen(model=model, video=inside.features).similarity(texts).double().numpy()
    of_sample = Seen(model=model, video=sample).similarity(texts).double().numpy()
    for row in range(len(steps)):
        scores = [combine([1.0], of_windows[[place]], of_sample[[place]]) for place in (2 * row, 2 * row + 1)]
        for chain in follow(inside.owner, inside.start_s, inside.end_s, np.stack(scores), [None, None]):
            result[row, inside.owner[chain.rows[0]]] = chain.score
    return result
