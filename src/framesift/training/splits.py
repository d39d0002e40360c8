"""The data of a recipe: what is trained on, what the checkpoint is chosen on, and the files of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.catalog import load_split
from ..data.compare import overlap
from ..data.holdout import HOLDOUT, hold_out
from ..data.locate import locate
from ..data.own import OWN_SUFFIXES, read_own_splits
from ..data.records import Caption, Source, Split
from ..errors import DatasetError
from ..storyboard import Storyboard, captions, standard, storyboards
from .clips import STORYBOARD
from .recipe import Recipe

__all__ = ["Material", "check_losses", "load_material"]

TRAIN_STORYBOARDS, EVALUATION_STORYBOARDS = 8000, 500
MOST_FAILING = 0.5  # of the videos: then something is wrong with the folder, not with single files
NAMED = 5  # ids in a message


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """The data of a run.

    Attributes:
        train: what is trained on.
        evaluation: what the checkpoint is chosen on; None: there is none.
        relevance: which of its videos answer which of its texts, where more than a caption's own video does.
        sources: file of every video of both, by id.
        missing: ids without a file, which were left out of both.
    """

    train: Split
    evaluation: Split | None
    relevance: np.ndarray | None
    sources: dict[str, Source]
    missing: tuple[str, ...]

    def without(self, failed: Sequence[str]) -> Material:
        """Without the videos of some ids and their captions."""
        if not failed:
            return self
        relevance, evaluation = self.relevance, self.evaluation
        if evaluation is not None:
            if relevance is not None:
                gone = set(failed)
                texts = [caption.video not in gone for caption in evaluation.captions]
                relevance = relevance[texts][:, [video not in gone for video in evaluation.videos]]
            evaluation = _without(evaluation, failed)
        return Material(
            train=_without(self.train, failed),
            evaluation=evaluation,
            relevance=relevance,
            sources=self.sources,
            missing=self.missing,
        )


def load_material(recipe: Recipe, root: str | Path | None, *, report: Callable[[str], None]) -> Material:
    """The splits of a recipe, with the files of their videos below ``root``.

    Args:
        root: folder of annotations and videos; one's own data and Storyboard can do without.
        report: hears of everything that is not as it should be.

    Raises:
        DatasetError: files are missing or malformed, most videos are missing, there is nothing to choose a checkpoint
            on, or videos that are evaluated on are also trained on.
        InputError: no such benchmark.
    """
    if recipe.benchmark == "storyboard":
        return _storyboard(recipe)
    train, evaluation = _splits(recipe, root)
    train = _first(train, recipe.max_videos)
    if evaluation is not None:
        evaluation = _first(evaluation, recipe.select.max_videos)
        shared = overlap(train, evaluation)
        if shared and not recipe.allow_overlap:
            raise DatasetError(
                f"{shared}; what a model was trained on says nothing about new videos. Mend the lists, or say"
                " allow_overlap = true in the recipe"
            )
        if shared:
            report(f"warning: {shared}")
    found = locate([train, *([evaluation] if evaluation else [])], root)
    for note in dict.fromkeys([*train.notes, *(evaluation.notes if evaluation else ()), *found.notes()]):
        report(f"note: {note}")
    check_losses(found.missing, [train, evaluation], "have no file")
    whole = Material(
        train=train, evaluation=evaluation, relevance=None, sources=dict(found.sources), missing=found.missing
    )
    return whole.without(found.missing)


def check_losses(lost: Sequence[str], splits: Sequence[Split | None], what: str) -> None:
    """Refuse to go on where more than half of a split is lost.

    Raises:
        DatasetError: so it is.
    """
    gone = set(lost)
    for split in splits:
        if split is not None:
            count = sum(video in gone for video in split.videos)
            if count > MOST_FAILING * len(split.videos):
                some = ", ".join([video for video in split.videos if video in gone][:NAMED])
                raise DatasetError(
                    f"{count:,} of {len(split.videos):,} videos of {split.benchmark} {split.split} {what}, such as"
                    f" {some}; check the folder of the videos (--root)"
                )


def _splits(recipe: Recipe, root: str | Path | None) -> tuple[Split, Split | None]:
    select = recipe.select
    if recipe.benchmark.lower().endswith(OWN_SUFFIXES):
        parts = read_own_splits(Path(recipe.benchmark).expanduser(), root=root)
        if "train" not in parts:
            raise DatasetError(f"{recipe.benchmark!r} has no video in its split 'train'")
        if select.on == "none":
            return parts["train"], None
        if select.on == "val" and "val" not in parts and len(parts["train"].videos) > 1:
            return hold_out(parts["train"], select.holdout or HOLDOUT)
        if select.on not in parts:
            raise DatasetError(
                f"{recipe.benchmark!r} has no video in its split {select.on!r}, so no checkpoint is the best:"
                " add videos to that split, or train without evaluation (select.on=none)"
            )
        return parts["train"], parts[select.on]
    if root is None:
        raise DatasetError(
            f"say where annotations and videos of {recipe.benchmark!r} are: --root DIR (`framesift data` tells what"
            " is needed)"
        )
    holdout = select.holdout if select.on == "val" else 0.0
    train = load_split(recipe.benchmark, recipe.train_split, root, holdout=holdout)
    if select.on == "none":
        return train, None
    return train, load_split(recipe.benchmark, select.on, root, holdout=holdout)


def _storyboard(recipe: Recipe) -> Material:
    videos = storyboards(recipe.train_split, recipe.max_videos or TRAIN_STORYBOARDS)
    sources: dict[str, Source] = {}

    def split_of(name: str, boards: Sequence[Storyboard], said: Iterator[tuple[str, int]]) -> Split:
        ids = [f"{STORYBOARD}{board.seed}" for board in boards]
        sources.update({video: Source(path=Path(video)) for video in ids})
        lines = dict.fromkeys((text, ids[row]) for text, row in said)
        return Split(
            benchmark="storyboard",
            split=name,
            protocol="all-captions",
            videos=tuple(ids),
            captions=tuple(Caption(text=text, video=video) for text, video in lines),
        )

    own = ((caption.text, row) for row, board in enumerate(videos) for caption in captions(board))
    train = split_of(recipe.train_split, videos, own)
    evaluation = relevance = None
    if recipe.select.on != "none":
        board = standard(recipe.select.max_videos or EVALUATION_STORYBOARDS, split=recipe.select.on)
        evaluation = split_of(
            recipe.select.on, board.videos, zip((c.text for c in board.captions), board.owners, strict=True)
        )
        relevance = board.relevance
    return Material(train=train, evaluation=evaluation, relevance=relevance, sources=sources, missing=())


def _first(split: Split, count: int) -> Split:
    return split.subset(range(count)) if 0 < count < len(split.videos) else split


def _without(split: Split, lost: Sequence[str]) -> Split:
    return split.without(lost) if set(lost) & set(split.videos) else split
