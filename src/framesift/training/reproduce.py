"""Reproduce a published row: train as its recipe says, measure on the test split, and put both beside the paper.

The papers chose their checkpoint on the test split, so that their numbers say how well the test can be fitted; what a
new video gets is told by a checkpoint chosen on *val*. There is a run for each, with the same seed. Where a benchmark
has no *val*, the second run holds a part of the training videos out, and so trains on a little less than the first.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal, TypeAlias, cast

import torch

from ..config import to_dict
from ..data import HOLDOUT, Located, Split, benchmark_named, load_split, locate
from ..errors import InputError
from ..evaluation.results import write_result
from ..hub import load
from ..metrics import Ties
from .build import build_model
from .measuring import Measured, measure_model
from .published import find_recipe, is_zero_shot, paper_column, paper_names, recipe_names, ties_of
from .readiness import check_data, check_models
from .recipe import Expected, Recipe, read_recipe
from .train import train

__all__ = ["RESULT_FILE", "Selection", "Trainer", "column_names", "reproduce"]

Selection: TypeAlias = Literal["test", "val"]
Trainer: TypeAlias = Callable[[Recipe, Path, Path, Callable[[str], None]], Path]
"""Recipe, root and folder of a run, and who hears of it -> the directory of the model that was chosen."""

RESULT_FILE = "reproduction.json"
NOT_TRAINED = "not_trained"
Progress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What the runs of a reproduction have in common."""

    recipe: Recipe
    root: Path
    folder: Path
    trainer: Trainer
    report: Callable[[str], None]
    workers: int | None


def reproduce(
    recipe: Recipe,
    *,
    root: str | Path,
    folder: str | Path,
    select: Sequence[Selection] = ("test", "val"),
    seeds: Sequence[int] = (),
    allow_missing: bool = False,
    workers: int | None = None,
    trainer: Trainer | None = None,
    report: Callable[[str], None] = lambda _: None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train and measure a recipe; what it gives is written to ``folder/reproduction.json`` as well.

    An interrupted reproduction goes on from where it was. A first stage that is named by its recipe is looked for
    beside ``folder``, and trained there when it is not found.

    Args:
        root: folder of the benchmark's annotations and videos.
        select: what the checkpoints are chosen on; nothing to choose from for zero-shot models.
        seeds: a run for each; default: the recipe's.
        allow_missing: go on without the videos that are missing.
        workers: processes that decode; default: one a core.
        trainer: default: :func:`.train.train`.
        report: hears what is being done, a line at a time.
        progress: hears how many videos of the test split are encoded, and of how many.

    Returns:
        The document of kind ``reproduction``. Under ``torchrun``, an empty one in all processes but the first.

    Raises:
        DatasetError: annotation files or videos are missing.
        ModelError: a model that the recipe starts from cannot be had.
        InputError: nothing to select, a seed twice, or a benchmark that is not in the catalog.
    """
    began = time.monotonic()
    seeds = tuple(seeds) or (recipe.seed,)
    if not select or len(set(seeds)) != len(seeds):
        raise InputError(
            f"select={list(select)}, seeds={list(seeds)}: expected at least one, and no seed twice"
        )
    root, folder = Path(root), Path(folder)
    readiness = check_data(recipe, root, val="val" in select)
    readiness.require(allow_missing=allow_missing)
    test, located = _test_split(recipe, root)
    warnings = [*_difference_to_shipped(recipe), *test.notes, *located.notes()]
    job = _Job(
        recipe=recipe,
        root=root,
        folder=folder,
        trainer=trainer or partial(_train, workers=workers),
        report=report,
        workers=workers,
    )
    wanted: list[Selection | None] = [None] if is_zero_shot(recipe) else [*dict.fromkeys(select)]
    check_models(recipe, encoder=not _first_stages_are_there(recipe, folder, wanted, seeds))
    found: dict[str, list[dict[str, Any]]] = {}
    last: Measured | None = None
    for selection in wanted:
        for seed in seeds:
            model_at = None if selection is None else _trained(job, selection, seed)
            if not _leads():
                continue
            report(f"measuring {recipe.name} on {test.benchmark} test: {len(test.captions):,} captions")
            last = _measure(job, model_at, test, located, selection, progress)
            for video, reason in last.failed.items():
                report(f"warning: {video}: {reason}")
            run = {"seed": seed, "model": None if model_at is None else str(model_at), "failed": last.failed}
            found.setdefault(_column(selection), []).append({**run, **last.evaluation})
    if last is None:
        return {}
    document = _document(recipe, found, last.split, seeds, warnings)
    write_result(folder / RESULT_FILE, document, seconds=time.monotonic() - began)
    return document


def column_names(recipe: Recipe) -> dict[str, str]:
    """What the columns of a document are called: how the paper's own code selected is said."""
    published = recipe.select.on
    theirs = {
        "test": ", as they did" if published == "test" else "",
        "val": ", as they did" if published == "val" else "",
    }
    return {
        "paper": f"paper ({paper_names(_plain(recipe))})" if _plain(recipe) else "paper",
        NOT_TRAINED: "ours, not trained",
        "selected_on_test": f"selected on test{theirs['test']}",
        "selected_on_val": f"selected on val{theirs['val']}",
    }


def _column(selection: Selection | None) -> str:
    return NOT_TRAINED if selection is None else f"selected_on_{selection}"


def _plain(recipe: Recipe) -> list[Expected]:
    return [row for row in recipe.expected if not row.normalization]


def _normalized(recipe: Recipe) -> list[Expected]:
    return [row for row in recipe.expected if row.normalization]


def _leads() -> bool:
    """Whether this is the only process, or the first of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def _test_split(recipe: Recipe, root: Path) -> tuple[Split, Located]:
    test = load_split(recipe.benchmark, "test", root)
    located = locate(test, root)
    return test.without(located.missing), located


def _difference_to_shipped(recipe: Recipe) -> list[str]:
    """What is to be said where the settings are not those of the package's recipe of that name."""
    if recipe.name not in recipe_names():
        return []
    shipped = read_recipe(find_recipe(recipe.name))
    if shipped.content_hash == recipe.content_hash:
        return []
    changed = ", ".join(_changes(asdict(shipped), asdict(recipe)))
    return [f"not the published settings, so that the paper's numbers are not to be expected: {changed}"]


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], where: str = "") -> list[str]:
    found: list[str] = []
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _changes(cast("dict[str, Any]", old), cast("dict[str, Any]", new), f"{where}{key}.")
        elif old != new and f"{where}{key}" not in ("name", "expected"):
            found.append(f"{where}{key}={new!r} for {old!r}")
    return found


def _run_folder(folder: Path, selection: Selection, seed: int) -> Path:
    return folder / f"selected-on-{selection}" / f"seed-{seed}"


def _with_selection(recipe: Recipe, selection: Selection, seed: int) -> Recipe:
    """The recipe of one run. A holdout is for *val* alone: what is selected on test trains on all videos."""
    own_val = benchmark_named(recipe.benchmark)[1].has_val
    holdout = 0.0 if selection == "test" or own_val else recipe.select.holdout or HOLDOUT
    return replace(recipe, seed=seed, select=replace(recipe.select, on=selection, holdout=holdout))


def _trained(job: _Job, selection: Selection, seed: int) -> Path:
    """The directory of the model of one run."""
    recipe = _with_selection(job.recipe, selection, seed)
    first = recipe.rerank.first_stage
    if _is_recipe(first):
        at = _first_stage(job, first, selection, seed)
        recipe = replace(recipe, rerank=replace(recipe.rerank, first_stage=str(at)))
    job.report(f"training {recipe.name}, seed {seed}, checkpoint selected on {selection}")
    return job.trainer(recipe, job.root, _run_folder(job.folder, selection, seed), job.report)


def _is_recipe(name: str) -> bool:
    return name in recipe_names()


def _first_stages_are_there(
    recipe: Recipe, folder: Path, wanted: Sequence[Selection | None], seeds: Sequence[int]
) -> bool:
    """Whether nothing but the second stage is left to train."""
    first = recipe.rerank.first_stage
    if not _is_recipe(first):
        return bool(first)
    shipped = read_recipe(find_recipe(first))
    return all(
        _is_model(_first_stage_model(folder, shipped, selection, seed, recipe))
        for selection in wanted
        if selection
        for seed in seeds
    )


def _first_stage_model(folder: Path, first: Recipe, selection: Selection, seed: int, second: Recipe) -> Path:
    """Where the first stage is that a run stands on: its own seed, unless the second stage has another one as well."""
    own = first.seed if seed == second.seed else seed
    return _run_folder(folder.parent / first.name, selection, own) / "best"


def _is_model(place: Path) -> bool:
    return (place / "framesift.json").is_file()


def _first_stage(job: _Job, name: str, selection: Selection, seed: int) -> Path:
    shipped = read_recipe(find_recipe(name))
    place = _first_stage_model(job.folder, shipped, selection, seed, job.recipe)
    if _is_model(place):
        job.report(f"first stage: {str(place)!r}")
        return place
    job.report(f"first stage: {name} is not in {str(place.parent)!r} and is trained first")
    own = shipped.seed if seed == job.recipe.seed else seed
    return _trained(replace(job, recipe=shipped, folder=job.folder.parent / name), selection, own)


def _train(
    recipe: Recipe, root: Path, folder: Path, report: Callable[[str], None], *, workers: int | None
) -> Path:
    return train(recipe, root=root, folder=folder, workers=workers, report=report).model


def _measure(
    job: _Job,
    model_at: Path | None,
    test: Split,
    located: Located,
    selection: Selection | None,
    progress: Progress | None,
) -> Measured:
    recipe = job.recipe
    model = build_model(recipe, report=job.report).eval() if model_at is None else load(model_at)
    as_they_did = selection is None or selection == recipe.select.on
    ties = cast("Ties", ties_of(recipe)) if as_they_did else "pessimistic"
    with torch.inference_mode():
        return measure_model(
            model,
            recipe,
            test,
            located.sources,
            ties=ties,
            dual_softmax=bool(_normalized(recipe)),
            workers=job.workers,
            progress=progress,
        )


def _document(
    recipe: Recipe,
    found: Mapping[str, Sequence[Mapping[str, Any]]],
    split: Split,
    seeds: Sequence[int],
    warnings: Sequence[str],
) -> dict[str, Any]:
    columns: dict[str, Any] = {"paper": paper_column(_plain(recipe))} if _plain(recipe) else {}
    columns |= {key: _over_seeds(runs) for key, runs in found.items()}
    label = next((label for runs in found.values() for label in runs[0].get("beside", {})), None)
    beside: dict[str, Any] = {}
    if label is not None:
        beside = {"paper": paper_column(_normalized(recipe))}
        beside |= {key: _over_seeds([run["beside"][label] for run in runs]) for key, runs in found.items()}
    failed = {video: why for runs in found.values() for run in runs for video, why in run["failed"].items()}
    lost = [f"{video} could not be read and was left out: {why}" for video, why in failed.items()]
    return {
        "kind": "reproduction",
        "title": f"{recipe.name}: {recipe.system} on {benchmark_named(recipe.benchmark)[1].title}",
        "system": recipe.system,
        "recipe": {"name": recipe.name, "hash": recipe.content_hash, "seeds": list(seeds)},
        "expected": [asdict(row) for row in recipe.expected],
        "columns": columns,
        "column_names": {key: name for key, name in column_names(recipe).items() if key in columns},
        "normalized": {} if label is None else {label: beside},
        "split": split.to_dict(),
        "settings": {key: value for key, value in to_dict(recipe).items() if key not in ("name", "expected")},
        "warnings": [*warnings, *lost],
        "runs": {key: [dict(run) for run in runs] for key, runs in found.items()},
    }


def _over_seeds(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One column of a document: the numbers of a run, or their mean and standard deviation."""
    return {way: _merged([run[way] for run in runs]) for way in ("t2v", "v2t")}


def _merged(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    recalls = [one["recall_at"] for one in values]
    merged: dict[str, Any] = {"recall_at": {key: _mean([one[key] for one in recalls]) for key in recalls[0]}}
    for key in ("median_rank", "mean_rank"):
        merged[key] = _mean([one[key] for one in values])
    for key in ("num_queries", "ties"):
        merged[key] = values[0][key]
    if len(values) == 1 and "intervals" in values[0]:
        merged["intervals"] = values[0]["intervals"]
    return merged


def _mean(values: Sequence[float]) -> float | dict[str, float]:
    if len(values) == 1:
        return values[0]
    spread = stdev(values)
    return {"mean": fmean(values), "sd": spread if math.isfinite(spread) else 0.0}
