"""``framesift reproduce``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from ..errors import InputError
from .indexing import NO_SPINNING
from .output import JSON_OPTION, ProgressLine, emit_json, say, talk

if TYPE_CHECKING:
    from ..training.readiness import Readiness
    from ..training.recipe import Recipe
    from ..training.reproduce import Selection

__all__ = ["EXAMPLES", "reproduce"]

EXAMPLES = """Examples: `framesift reproduce` lists what the papers printed and what each row needs.
`framesift reproduce xpool-msrvtt-9k --root data/msrvtt --check` says which files are there.
`framesift reproduce xpool-msrvtt-9k --root data/msrvtt` trains, measures, and prints the paper's numbers beside ours.
`framesift reproduce xpool-msvd --root data/msvd --select val --seeds 0,1,2 optim.batch_size=64` changes the recipe."""


class Select(StrEnum):
    """What the checkpoint is chosen on."""

    both = "both"
    val = "val"
    test = "test"


def reproduce(
    name: str | None = typer.Argument(
        None, help="A recipe by name, or the path of one; without it, all are listed.", metavar="[NAME]"
    ),
    overrides: list[str] | None = typer.Argument(
        None, help="Changes to the recipe, such as optim.batch_size=64.", metavar="[KEY=VALUE]..."
    ),
    root: Path = typer.Option(Path(), help="Folder of the benchmark's annotation files and videos."),
    output: Path | None = typer.Option(
        None, "--output", "-o", help="Folder of the runs; reproductions/NAME unless given."
    ),
    select: Select = typer.Option(
        Select.both, help="What the checkpoint is chosen on: val, test as the papers did, or a run for each."
    ),
    seeds: str = typer.Option(
        "", help="A run for each of these, such as 0,1,2; the recipe's own unless given."
    ),
    check: bool = typer.Option(
        False, "--check", help="Only say which files are there and which are missing."
    ),
    allow_missing: bool = typer.Option(
        False, "--allow-missing", help="Go on without videos that are missing; the result says so."
    ),
    workers: int | None = typer.Option(None, min=0, help="Decoding processes. Default: one a core."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Train and measure a published row, and print the paper's numbers beside ours.

    Ours are two: with the checkpoint chosen on the test split, as the papers did, and chosen on validation, which is
    what new videos get. An interrupted run goes on from where it was. Needs the benchmark's own files.
    """
    os.environ.setdefault(*NO_SPINNING)
    if name is None:
        _list(as_json=as_json)
        return
    from ..training.published import find_recipe
    from ..training.readiness import check_data
    from ..training.recipe import read_recipe
    from ..training.reproduce import RESULT_FILE
    from ..training.reproduce import reproduce as run

    recipe = read_recipe(find_recipe(name), overrides=overrides or [])
    chosen: list[Selection] = ["test", "val"] if select is Select.both else [select.value]
    numbers = _seeds(seeds)
    if check:
        _check(check_data(recipe, root, val="val" in chosen), as_json=as_json, allow_missing=allow_missing)
        return
    folder = output or Path("reproductions") / recipe.name
    quiet = as_json or os.environ.get("RANK", "0") != "0"  # of several processes, one speaks
    with ProgressLine("encoding videos", quiet=quiet) as line:
        document = run(
            recipe,
            root=root,
            folder=folder,
            select=chosen,
            seeds=numbers,
            allow_missing=allow_missing,
            workers=workers,
            report=_nothing if quiet else talk,
            progress=lambda done, total: line.update(done, total, eta_s=None),
        )
    if not document:  # another process of torchrun prints
        return
    if as_json:
        emit_json(document)
        return
    _print(document)
    talk(f"wrote {str(folder / RESULT_FILE)!r}")


def _nothing(line: str) -> None:
    del line


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise InputError(
            f"--seeds {text!r}: expected whole numbers with commas between them, such as 0,1,2"
        ) from None


def _check(readiness: Readiness, *, as_json: bool, allow_missing: bool) -> None:
    if as_json:
        emit_json(readiness.to_dict())
    else:
        for split in readiness.splits:
            say(str(split))
        for note in [
            *readiness.notes,
            *(note for one in readiness.splits if one.split for note in one.split.notes),
        ]:
            say(f"note: {note}")
    readiness.require(allow_missing=allow_missing, listed=not as_json)
    talk("everything is there")


def _list(*, as_json: bool) -> None:
    from ..training.published import paper_names, published_recipes

    recipes = published_recipes()
    if as_json:
        emit_json([_entry(recipe) for recipe in recipes])
        return
    width = max(len(recipe.name) for recipe in recipes)
    say(f"{'recipe':<{width}}  {'R@1':>5}  printed in; needs")
    for recipe in recipes:
        plain = [row for row in recipe.expected if not row.normalization]
        best = f"{plain[0].t2v['R1']:5.1f}" if plain else "    -"
        where = paper_names(recipe.expected) or "none of the papers: a first stage"
        say(f"{recipe.name:<{width}}  {best}  {where}; {', '.join(_needs(recipe))}")
    talk(
        "R@1: t2v, as printed, without normalization. framesift reproduce NAME --root DIR --check says what is missing"
    )


def _needs(recipe: Recipe) -> list[str]:
    needs = [f"data of {recipe.benchmark}"]
    needs += [recipe.rerank.first_stage or recipe.encoder]
    return [*needs, *([f"{recipe.rerank.start_from} (BLIP-2)"] if recipe.rerank.start_from else [])]


def _entry(recipe: Recipe) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "name": recipe.name,
        "hash": recipe.content_hash,
        "system": recipe.system,
        "benchmark": recipe.benchmark,
        "needs": _needs(recipe),
        "expected": [asdict(row) for row in recipe.expected],
    }


METRICS = (("R@1", "1"), ("R@5", "5"), ("R@10", "10"), ("MdR", "median_rank"), ("MnR", "mean_rank"))


def _print(document: Mapping[str, Any]) -> None:
    say(document["title"])
    split = document["split"]
    say(
        f"test split: {split['captions']:,} captions x {split['videos']:,} videos, {split['protocol']}, content hash"
        f" {split['content_hash']}; recipe {document['recipe']['hash']}, seeds {_joined(document['recipe']['seeds'])}"
    )
    names: Mapping[str, str] = document["column_names"]
    _table(document["columns"], names)
    for label, columns in document["normalized"].items():
        say()
        say(f"with {label} (needs the other test queries: no result of a search)")
        _table(columns, {**names, "paper": "paper, normalized"})
    for warning in document["warnings"]:
        talk(f"warning: {warning}")


def _joined(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values))


def _table(columns: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """Rows are the paper's numbers and ours, each of ours with its difference to the paper's below it."""
    width = max(len(names[key]) for key in columns)
    for way in ("t2v", "v2t"):
        say(f"{way:<{width}}" + "".join(f"{label:>12}" for label, _ in METRICS))
        paper = _numbers(columns.get("paper", {}), way)
        for key in columns:
            ours = _numbers(columns[key], way)
            cells = [_shown(ours.get(name)) for _, name in METRICS]
            say(f"{names[key]:<{width}}" + "".join(f"{cell:>12}" for cell in cells))
            if key != "paper" and paper:
                apart = [_apart(ours.get(name), paper.get(name)) for _, name in METRICS]
                say(f"{'  difference':<{width}}" + "".join(f"{cell:>12}" for cell in apart))


def _numbers(column: Mapping[str, Any], way: str) -> dict[str, Any]:
    metrics: Mapping[str, Any] = column.get(way, {})
    return {**cast("dict[str, Any]", metrics.get("recall_at", {})), **metrics}


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return f"{value['mean']:.1f} ±{value['sd']:.1f}"
    return f"{value:.1f}"


def _apart(ours: Any, paper: Any) -> str:
    if ours is None or paper is None:
        return "-"
    mean: float = ours["mean"] if isinstance(ours, dict) else ours
    return f"{mean - paper:+.1f}"
