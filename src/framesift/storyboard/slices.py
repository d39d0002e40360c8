"""Ranked galleries of the test split, each with a relevance that is known exactly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from .captions import Caption, captions, holds
from .scenes import Dice, Scene, Storyboard
from .splits import SPLITS, storyboards

__all__ = ["Slice", "diversity", "relevance", "standard"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Slice:
    """Texts, videos, and which videos answer which texts.

    Attributes:
        captions: one a query.
        owners: row of the video that each caption was written for.
        relevance: bool ``[text, video]``.
    """

    name: str
    videos: tuple[Storyboard, ...]
    captions: tuple[Caption, ...]
    owners: tuple[int, ...]
    relevance: np.ndarray

    @property
    def texts(self) -> list[str]:
        return [caption.text for caption in self.captions]

    def __repr__(self) -> str:
        return f"<Slice {self.name} {len(self.captions)} texts x {len(self.videos)} videos>"


def relevance(texts: Sequence[Caption], videos: Sequence[Storyboard]) -> np.ndarray:
    """Which videos each caption is true of, bool ``[text, video]``."""
    showing: defaultdict[str, set[int]] = defaultdict(set)
    for number, video in enumerate(videos):
        for scene in video.scenes:
            for thing in scene.objects:
                showing[thing.shape].add(number)
                showing[f"{thing.color} {thing.shape}"].add(number)
    result = np.zeros((len(texts), len(videos)), dtype=bool)
    for row, caption in enumerate(texts):
        # Only videos that show every named object at all can satisfy the claims.
        named = {
            f"{thing.color} {thing.shape}" if thing.color else thing.shape
            for claim in caption.claims
            for thing in claim.objects
        }
        possible = set.intersection(*(showing[name] for name in named))
        result[row, [number for number in possible if holds(caption, videos[number])]] = True
    return result


def standard(count: int = 1000, *, start: int = 0, split: str = "test") -> Slice:
    """One partial caption a video; the first one that is true of no other video of the gallery, where there is one."""
    videos = storyboards(split, count, start=start)
    candidates = [captions(video) for video in videos]
    chosen: list[Caption | None] = [None] * count
    for attempt in range(max(len(own) for own in candidates)):
        rows = [
            number for number in range(count) if chosen[number] is None and attempt < len(candidates[number])
        ]
        if not rows:
            break
        matches = relevance([candidates[number][attempt] for number in rows], videos).sum(axis=1)
        for number, matched in zip(rows, matches, strict=True):
            if matched == 1:
                chosen[number] = candidates[number][attempt]
    queries = tuple(
        own[0] if caption is None else caption for own, caption in zip(candidates, chosen, strict=True)
    )
    return Slice(
        name="standard",
        videos=tuple(videos),
        captions=queries,
        owners=tuple(range(count)),
        relevance=relevance(queries, videos),
    )


def diversity(base: Slice, num_foreign: int, *, source: str = "pool") -> Slice:
    """The ``diversity-n`` slice: ``num_foreign`` foreign scenes at random places of every video (X-Pool, Figure 4).

    Args:
        base: the gallery to disturb.
        source: where the scenes come from: ``pool``, videos outside of every gallery; or ``gallery``, other
            videos of ``base``, as in the paper. A caption that the new scenes make true of further videos
            counts for them too.

    Raises:
        InputError: an unknown source or a negative number.
    """
    if source not in ("pool", "gallery"):
        raise InputError(f"unknown source {source!r} of foreign scenes; expected 'pool' or 'gallery'")
    if num_foreign < 0:
        raise InputError(f"cannot inject {num_foreign} scenes")
    videos: list[Storyboard] = []
    for video in base.videos:
        dice = Dice("diversity", source, video.seed)
        scenes = list(video.scenes)
        for _ in range(num_foreign):
            scenes.insert(dice.below(len(scenes) + 1), _foreign_scene(dice, base, video, source))
        videos.append(replace(video, scenes=tuple(scenes)))
    return Slice(
        name=f"diversity-{num_foreign}" + ("" if source == "pool" else "-gallery"),
        videos=tuple(videos),
        captions=base.captions,
        owners=base.owners,
        relevance=relevance(base.captions, videos),
    )


def _foreign_scene(dice: Dice, base: Slice, video: Storyboard, source: str) -> Scene:
    if source == "pool":
        donor = storyboards("pool", 1, start=dice.below(len(SPLITS["pool"])))[0]
    else:
        if len(base.videos) < 2:
            raise InputError("a gallery of one video has no foreign scenes to give")
        donor = video
        while donor is video:
            donor = base.videos[dice.below(len(base.videos))]
    return donor.scenes[dice.below(len(donor.scenes))]
