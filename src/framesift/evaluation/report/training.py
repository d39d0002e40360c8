"""Training curves from the logs that training writes: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import InputError
from .axes import Series
from .blocks import Block, Chart, Folded, Note, Preformatted
from .charts import line_chart
from .numbers import as_number, as_words, show, show_duration

__all__ = ["TrainingLog", "read_logs", "training_blocks"]

LOG_FILE = "log.jsonl"
RECIPE_FILE = "recipe.toml"
MOST_POINTS = 200  # of a curve; of longer ones every n-th is drawn, and the last
CLOCKS = ("seconds", "elapsed_s", "step", "epoch", "samples_per_s", "time")
NO_LINE = ("seed",)


@dataclass(frozen=True, kw_only=True)
class TrainingLog:
    """One run's log.

    Attributes:
        name: of its folder.
        rows: in the order of writing.
        recipe: text of the recipe beside it, or empty.
        unfinished: its last line was cut off: the run was still writing, or was killed.
    """

    name: str
    rows: tuple[Mapping[str, Any], ...]
    recipe: str = ""
    unfinished: bool = False


def read_logs(folder: Path) -> list[TrainingLog]:
    """The ``log.jsonl`` of every folder in ``folder``, however deep; none where there is no such folder.

    Raises:
        InputError: a line that is not the last one is no JSON object.
    """
    return [_read(path, folder) for path in sorted(folder.rglob(LOG_FILE))] if folder.is_dir() else []


def _read(path: Path, folder: Path) -> TrainingLog:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        recipe_file = path.with_name(RECIPE_FILE)
        recipe = recipe_file.read_text(encoding="utf-8") if recipe_file.is_file() else ""
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the training log {str(path)!r}: {error}") from None
    rows: list[Mapping[str, Any]] = []
    unfinished = False
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        elif number == len(lines):
            unfinished = True
        else:
            raise InputError(
                f"line {number} of the training log {str(path)!r} is no JSON object: {line[:60]!r}"
            )
    name = path.parent.relative_to(folder).as_posix()
    return TrainingLog(
        name=folder.name if name == "." else name, rows=tuple(rows), recipe=recipe, unfinished=unfinished
    )


def training_blocks(log: TrainingLog) -> list[Block]:
    """Loss, validation and learning rate against the step, and the recipe."""
    if not log.rows:
        return [Note(text="The log is empty.")]
    x_key = next((key for key in ("step", "epoch") if any(key in row for row in log.rows)), "")
    blocks: list[Block] = [Note(text=_summary(log))]
    if log.unfinished:
        blocks.append(
            Note(text="The last line of the log is cut off: the run was killed, or goes on.", tone="warning")
        )
    blocks += [
        chart
        for title, keys, y_label in _charts(log)
        if (chart := _chart(log, f"{log.name}: {title}", keys, x_key, y_label)) is not None
    ]
    if log.recipe:
        blocks.append(Folded(title="Recipe", blocks=[Preformatted(text=log.recipe)]))
    return blocks


def _summary(log: TrainingLog) -> str:
    last = log.rows[-1]
    parts = [f"{as_words(key)} {show(last[key])}" for key in ("step", "epoch", "loss") if key in last]
    seconds = as_number(last.get("seconds"))
    if seconds is not None:
        parts.append(show_duration(seconds))
    return "At the end: " + ", ".join(parts) + "."


def _charts(log: TrainingLog) -> list[tuple[str, list[str], str]]:
    keys = [
        key
        for key in dict.fromkeys(key for row in log.rows for key in row)
        if any(as_number(row.get(key)) is not None for row in log.rows) and key not in (*CLOCKS, *NO_LINE)
    ]
    losses = [key for key in keys if "loss" in key]
    validation = [key for key in keys if key.startswith("val") and key not in losses]
    rates = [key for key in keys if key == "lr" or key.startswith(("lr_", "lr."))]
    return [
        (title, chosen, label)
        for title, chosen, label in (
            ("loss", losses, "loss (lower is better)"),
            ("validation", [key for key in validation if "rank" not in key], "on the validation split"),
            ("validation, ranks", [key for key in validation if "rank" in key], "rank (lower is better)"),
            ("learning rate", rates, "learning rate"),
        )
        if chosen
    ]


def _chart(log: TrainingLog, title: str, keys: Sequence[str], x_key: str, y_label: str) -> Chart | None:
    rows = [row for row in log.rows if any(as_number(row.get(key)) is not None for key in keys)]
    if len(rows) < 2:
        return None
    every = -(-len(rows) // MOST_POINTS)
    rows = [row for number, row in enumerate(rows) if number % every == 0 or number == len(rows) - 1]
    places = [as_number(row.get(x_key)) for row in rows]
    x: list[float] = [
        float(number) if place is None else place for number, place in enumerate(places, start=1)
    ]
    series = [Series(name=as_words(key), values=[as_number(row.get(key)) for row in rows]) for key in keys]
    return line_chart(
        title, x_label=as_words(x_key) or "line of the log", x=x, y_label=y_label, series=series
    )
