"""Paired slices: two videos that differ in one thing only, and two captions, each true of exactly one of them.

Whoever chooses blindly is right half of the time, so the accuracy of the choice says whether a model sees the one
thing: the direction of a motion, the order of two scenes, which object has which colour, a detail of a patch or two,
a number. The pairs of ``direction`` and ``order`` consist of the same frames in another order, at 12 uniform frames
too, so that a mean over frames cannot tell them apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError, ShapeError, suggest
from .captions import (
    EVENT_WORDS,
    Caption,
    ObjectClaim,
    SceneClaim,
    article,
    holds,
    name_phrase,
    placed,
    say_scene,
)
from .counting import count_caption
from .pair_scenes import (
    ScenePair,
    binding_scenes,
    count_scenes,
    direction_scenes,
    order_scenes,
    small_object_scenes,
)
from .scenes import Dice, Storyboard
from .slices import Slice, relevance
from .splits import SPLITS

__all__ = [
    "PAIR_KINDS",
    "Pair",
    "PairAccuracy",
    "PairedSlice",
    "binding_pairs",
    "count_pairs",
    "direction_pairs",
    "order_pairs",
    "small_object_pairs",
    "training_pairs",
]

CAPTION_ATTEMPTS = 20  # wordings tried before other scenes are drawn: most do the first time


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two videos and two captions in the same order; each caption is true of its own video and false of the other."""

    videos: tuple[Storyboard, Storyboard]
    captions: tuple[Caption, Caption]


@dataclass(frozen=True, kw_only=True)
class PairAccuracy:
    """How often the right one of two was chosen, in percent; 50 is chance, and a tie counts as half.

    Attributes:
        t2v: of the two videos, for a text.
        v2t: of the two texts, for a video.
        t2v_ties: choices between equal similarities, in percent; likewise ``v2t_ties``.
    """

    t2v: float
    v2t: float
    t2v_ties: float
    v2t_ties: float


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PairedSlice(Slice):
    """A gallery of pairs: texts 2i and 2i + 1 and videos 2i and 2i + 1 are pair i, text 2i is of video 2i."""

    def choices(self, similarity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """:func:`pair_choices` on this slice.

        Raises:
            ShapeError: the matrix is not of this slice.
        """
        similarity = np.asarray(similarity)
        if similarity.shape != self.relevance.shape:
            raise ShapeError(
                f"similarity of slice {self.name!r}", expected=self.relevance.shape, got=similarity.shape
            )
        return pair_choices(similarity)

    def accuracy(self, similarity: np.ndarray) -> PairAccuracy:
        """How often the right one of two has the higher similarity (see :meth:`choices`)."""
        t2v, v2t = self.choices(similarity)
        return PairAccuracy(
            t2v=100 * float(t2v.mean()),
            v2t=100 * float(v2t.mean()),
            t2v_ties=100 * float((t2v == 0.5).mean()),
            v2t_ties=100 * float((v2t == 0.5).mean()),
        )


def direction_pairs(count: int = 250, *, start: int = 0) -> PairedSlice:
    """Pairs that differ only in the direction of motion: the second video is the first one played backwards."""
    return _paired_slice("direction", count, start)


def order_pairs(count: int = 250, *, start: int = 0) -> PairedSlice:
    """Pairs that differ only in which of two scenes comes first."""
    return _paired_slice("order", count, start)


def binding_pairs(count: int = 250, *, start: int = 0) -> PairedSlice:
    """Pairs that differ only in which of two objects has which of two colours."""
    return _paired_slice("binding", count, start)


def small_object_pairs(count: int = 250, *, start: int = 0) -> PairedSlice:
    """Pairs that differ only in the colour or the shape of a small object beside larger ones."""
    return _paired_slice("small-object", count, start)


def count_pairs(count: int = 250, *, start: int = 0) -> PairedSlice:
    """Pairs that differ only in number: two objects of a kind, and three."""
    return _paired_slice("count", count, start)


def training_pairs(kind: str, count: int, *, start: int = 0) -> list[Pair]:
    """Pairs ``start`` to ``start + count`` of a kind from the training split: hard negatives to learn from.

    Raises:
        InputError: there is no such kind, or not so many pairs.
    """
    return _draw_pairs(kind, count, start, split="train")


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """How a kind of pair is made; ``offset``, its first seed inside a split, keeps file names apart."""

    scenes: Callable[[Dice], ScenePair]
    caption: Callable[[Dice, Storyboard], Caption]
    offset: int


def _whole(dice: Dice, video: Storyboard) -> Caption:
    """All of the only scene of a video."""
    text, claim = say_scene(dice, video.scenes[0])
    return Caption(text=text, kind="scene", claims=(claim,), start_s=0.0, end_s=video.duration_s)


def _moving(dice: Dice, video: Storyboard) -> Caption:
    """All of the only scene of a video; of a chase, an object is named in the same words whatever its role."""
    scene = video.scenes[0]
    if scene.event is None:
        return _whole(dice, video)
    wording = dice.below(1 << 30)
    nouns, said = zip(
        *(name_phrase(Dice("wording", wording, thing.phase), thing, detail=0.6) for thing in scene.objects),
        strict=True,
    )
    text = dice.pick(EVENT_WORDS[scene.event]).format(a=article(nouns[0]), b=article(nouns[1]))
    background = scene.background if dice.chance(0.8) else None
    claim = SceneClaim(
        objects=tuple(
            ObjectClaim(shape=thing.shape, **details)
            for thing, details in zip(scene.objects, said, strict=True)
        ),
        relation=scene.event,
        background=background,
    )
    return Caption(
        text=placed(dice, text, background),
        kind="scene",
        claims=(claim,),
        start_s=0.0,
        end_s=video.duration_s,
    )


def _with_all_colors(dice: Dice, video: Storyboard) -> Caption:
    """All of the only scene of a video, with the colour of every object: the captions of a pair have the same words."""
    while True:
        caption = _whole(dice, video)
        if all(thing.color for thing in caption.claims[0].objects):
            return caption


def _in_order(dice: Dice, video: Storyboard) -> Caption:
    """Both scenes of a video in order; a scene is told in the same words wherever it stands."""
    opening, closing = dice.pick(("first |, then ", "|, and then ", "|, followed by ")).split("|")
    wording = dice.below(1 << 30)
    (first, one), (second, other) = (
        say_scene(Dice("wording", wording, scene.texture_seed), scene, short=True) for scene in video.scenes
    )
    return Caption(
        text=f"{opening}{first}{closing}{second}",
        kind="order",
        claims=(one, other),
        start_s=0.0,
        end_s=video.duration_s,
    )


def _with_the_small_one(dice: Dice, video: Storyboard) -> Caption:
    """The small object of the only scene, alone or with all the others."""
    scene = video.scenes[0]
    if dice.chance(0.5):
        small = tuple(thing for thing in scene.objects if thing.size == "small")
        scene = replace(scene, objects=small, layout="free")
    text, claim = say_scene(dice, scene)
    return Caption(text=text, kind="scene", claims=(claim,), start_s=0.0, end_s=video.duration_s)


PAIR_KINDS = {
    "direction": _Kind(scenes=direction_scenes, caption=_moving, offset=100_000),
    "order": _Kind(scenes=order_scenes, caption=_in_order, offset=200_000),
    "binding": _Kind(scenes=binding_scenes, caption=_with_all_colors, offset=300_000),
    "small-object": _Kind(scenes=small_object_scenes, caption=_with_the_small_one, offset=400_000),
    "count": _Kind(scenes=count_scenes, caption=count_caption, offset=500_000),
}
SEEDS_A_KIND = 100_000


def _draw_pairs(kind: str, count: int, start: int, *, split: str) -> list[Pair]:
    if kind not in PAIR_KINDS:
        raise InputError(
            f"unknown kind of pair {kind!r}{suggest(kind, PAIR_KINDS)} (known: {', '.join(PAIR_KINDS)})"
        )
    most = SEEDS_A_KIND // 2
    if count < 1 or start < 0 or start + count > most:
        raise InputError(
            f"split {split!r} has {most} pairs of {kind!r}; asked for {start} to {start + count}"
        )
    first = SPLITS[split].start + PAIR_KINDS[kind].offset
    return [_draw_pair(kind, first + 2 * number) for number in range(start, start + count)]


def _draw_pair(kind: str, seed: int) -> Pair:
    """The pair of the seeds ``seed`` and ``seed + 1``."""
    make = PAIR_KINDS[kind]
    dice = Dice(kind, seed)
    while True:
        one, other = make.scenes(dice)
        videos = Storyboard(seed=seed, scenes=one), Storyboard(seed=seed + 1, scenes=other)
        for attempt in range(CAPTION_ATTEMPTS):
            # The same dice for both: the same wording, but for what differs.
            first, second = (make.caption(Dice(kind, "caption", seed, attempt), video) for video in videos)
            true = [holds(caption, video) for caption in (first, second) for video in videos]
            if true == [True, False, False, True]:
                return Pair(videos=videos, captions=(first, second))


def _paired_slice(kind: str, count: int, start: int) -> PairedSlice:
    pairs = _draw_pairs(kind, count, start, split="test")
    videos = tuple(video for pair in pairs for video in pair.videos)
    captions = tuple(caption for pair in pairs for caption in pair.captions)
    return PairedSlice(
        name=kind,
        videos=videos,
        captions=captions,
        owners=tuple(range(len(videos))),
        relevance=relevance(captions, videos),
    )


def pair_choices(similarity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether each choice inside a pair is right: 1, 0, or 0.5 for a tie.

    Args:
        similarity: ``[text, video]``, higher is better; rows and columns 2i and 2i + 1 are pair i.

    Returns:
        Of the two videos for a text, float64 ``[text]``; of the two texts for a video, float64 ``[video]``.
    """
    rows = np.arange(len(similarity))
    own = similarity[rows, rows]
    return _better(own, similarity[rows, rows ^ 1]), _better(own, similarity[rows ^ 1, rows])


def _better(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.where(own == other, 0.5, own > other).astype(np.float64)
