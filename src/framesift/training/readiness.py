"""Whether a recipe can be run here: annotation files, videos, and the models that it starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data import Split, benchmark_named, load_split, locate
from ..errors import CheckpointError, DatasetError, UnknownModelError
from ..hub import find
from ..imports.blip2 import QFORMER_FILE
from .published import is_zero_shot
from .recipe import Recipe

__all__ = ["Readiness", "SplitReadiness", "check_data", "check_models"]

VOCABULARY = "vocab.txt"
SHOWN = 5  # missing videos that a line names


@dataclass(frozen=True, kw_only=True)
class SplitReadiness:
    """What is there of a split.

    Attributes:
        name: ``train``, ``val`` or ``test``.
        split: as its annotation files have it; None where those cannot be read.
        missing: ids of videos without a file.
        problem: why the annotation files, or the videos' folder, cannot be read.
    """

    name: str
    split: Split | None = None
    missing: tuple[str, ...] = ()
    problem: str = ""

    def __str__(self) -> str:
        if self.split is None:
            return f"{self.name}: {self.problem}"
        videos, captions = len(self.split.videos), len(self.split.captions)
        there = f"{self.name}: {captions:,} captions; {videos - len(self.missing):,} of {videos:,} videos are there"
        if not self.missing:
            return there
        more = len(self.missing) - SHOWN
        names = ", ".join(self.missing[:SHOWN]) + (f" and {more:,} more" if more > 0 else "")
        return f"{there}; missing: {names}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "split": None if self.split is None else self.split.to_dict(),
            "missing": list(self.missing),
            "problem": self.problem,
        }


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """What a recipe needs, and what of it is there.

    Attributes:
        root: the folder that was searched.
        get_it: where the benchmark comes from.
        notes: what a reader must know, such as splits of which some files are doubled.
    """

    benchmark: str
    root: Path
    splits: tuple[SplitReadiness, ...]
    get_it: str
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every file is there."""
        return not any(one.problem or one.missing for one in self.splits)

    def require(self, *, allow_missing: bool = False, listed: bool = False) -> None:
        """Refuse to go on where something is missing.

        Args:
            allow_missing: some videos may be missing, as long as one of each split is there.
            listed: the reader has seen the splits already, so that the message leaves them out.

        Raises:
            DatasetError: files are missing; the message says which.
        """
        bad = [
            one
            for one in self.splits
            if one.split is None
            or len(one.missing) == len(one.split.videos)
            or (one.missing and not allow_missing)
        ]
        if not bad:
            return
        shown = "; " if listed else ":\n" + "".join(f"  {one}\n" for one in bad) + "  "
        some = all(one.split is not None and len(one.missing) < len(one.split.videos) for one in bad)
        hint = "; or go on without them: --allow-missing" if some else ""
        raise DatasetError(
            f"{self.benchmark} is not complete in {str(self.root)!r}{shown}{self.get_it}. Name the folder with"
            f" annotations and videos by --root{hint}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "benchmark": self.benchmark,
            "root": str(self.root),
            "complete": self.complete,
            "splits": {one.name: one.to_dict() for one in self.splits},
            "notes": list(self.notes),
        }


def check_data(recipe: Recipe, root: str | Path, *, val: bool = True) -> Readiness:
    """What is there of the splits that a recipe reads; never an exception for what is missing.

    Args:
        val: the recipe is to be selected on *val* too. Where the benchmark has none, it is a part of *train*.

    Raises:
        InputError: the recipe is of no benchmark of the catalog.
    """
    key, benchmark = benchmark_named(recipe.benchmark)
    names = (
        ["test"]
        if is_zero_shot(recipe)
        else ["train", *(["val"] if val and benchmark.has_val else []), "test"]
    )
    loaded: dict[str, Split | str] = {}
    for name in names:
        try:
            loaded[name] = load_split(key, name, root)
        except DatasetError as error:
            loaded[name] = str(error)
    splits = [one for one in loaded.values() if isinstance(one, Split)]
    gone: set[str] = set()
    notes: tuple[str, ...] = ()
    problem = ""
    if splits:
        try:
            located = locate(splits, root)
            gone, notes = set(located.missing), located.notes()
        except DatasetError as error:
            problem = str(error)
    return Readiness(
        benchmark=key,
        root=Path(root),
        splits=tuple(
            SplitReadiness(name=name, problem=one)
            if isinstance(one, str)
            else SplitReadiness(
                name=name,
                split=one,
                missing=tuple(video for video in one.videos if video in gone),
                problem=problem,
            )
            for name, one in loaded.items()
        ),
        get_it=benchmark.get_it,
        notes=notes,
    )


def check_models(recipe: Recipe, *, encoder: bool = True, local_files_only: bool = False) -> None:
    """Make sure that the models a recipe starts from can be had, downloading them where there is a network.

    Args:
        encoder: off where only a second stage is left to train, so that the encoder comes with the first one.
        local_files_only: do not use the network.

    Raises:
        UnknownModelError: one cannot be had; the message says what to do.
        CheckpointError: BLIP-2's Q-Former has no vocabulary beside it.
    """
    needed: list[tuple[str, str, str]] = []
    if encoder:
        needed.append(
            (
                "encoder",
                recipe.encoder,
                "download it where there is a network, and name its directory by encoder=DIR",
            )
        )
    if recipe.rerank.start_from:
        made = (
            "make it with: framesift models import BLIP2.pth --as blip2 --output " + recipe.rerank.start_from
        )
        needed.append(
            ("rerank.start_from", recipe.rerank.start_from, f"{made}; or name it by rerank.start_from=DIR")
        )
    own = str(recipe.reranker.config.get("encoder", ""))
    if own and own != recipe.rerank.start_from:
        needed.append(("reranker.config.encoder", own, "name its directory by reranker.config.encoder=DIR"))
    _find_all(recipe.name, needed, local_files_only=local_files_only)
    start = Path(recipe.rerank.start_from).expanduser()
    own_words = recipe.reranker.config.get("word_width") is None
    if own_words and (start / QFORMER_FILE).is_file() and not (start / VOCABULARY).is_file():
        raise CheckpointError(
            f"{str(start)!r} has no {VOCABULARY}: put that of bert-base-uncased there, whose words BLIP-2 reads"
        )


def _find_all(name: str, needed: Sequence[tuple[str, str, str]], *, local_files_only: bool) -> None:
    for key, model, remedy in needed:
        try:
            find(model, local_files_only=local_files_only)
        except UnknownModelError as error:
            said = str(error).split(". Give a checkpoint")[0]
            raise UnknownModelError(
                f"{name} needs {key} = {model!r}, which cannot be had ({said}); {remedy}"
            ) from None
