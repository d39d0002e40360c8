"""An experiment's page: what was done, what came out, and how it compares with the paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .outcome import Experiment

__all__ = ["page"]


def page(name: str, experiment: Experiment, result: Mapping[str, Any], *, picture: str | None) -> str:
    """Markdown.

    Args:
        result: the content of the result file.
        picture: file of the plot, beside the page; None: there is none.
    """
    split, settings = result["split"], result["settings"]
    notes = split.get("notes", [])
    data = (
        f"{split['benchmark']} ({split['split']}): {split['captions']:,} texts, {split['videos']:,} videos, content"
        f" {split['content_hash']}"
        if split
        else "random data"
    )
    models = ", ".join(settings["models"]) or "none"
    changed = ", ".join(f"`{key}` {value}" for key, value in settings["config"].items())
    parts = [
        f"# {experiment.title}",
        f"*{experiment.source}.* Made by `framesift experiment {name}`.",
        experiment.done,
        f"- Data: {data}.\n- Models: {models}.\n- Settings: seed {settings['seed']}, {settings['device']}; {changed}.",
        "\n".join(f"- {note}" for note in notes),
        f"![{experiment.title}]({picture})" if picture else "",
        "## What it shows",
        result["shows"],
        *(_table(table) for table in result["tables"]),
        "## In the paper",
        experiment.paper,
        "## What differs",
        experiment.differs,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(table: Mapping[str, Any]) -> str:
    head = f"| {' | '.join(table['columns'])} |"
    numeric = [
        all(isinstance(row[column], int | float) or row[column] is None for row in table["rows"])
        for column in range(len(table["columns"]))
    ]
    line = f"|{'|'.join('--:' if number else '---' for number in numeric)}|"
    rows = [f"| {' | '.join(_cell(value) for value in row)} |" for row in table["rows"]]
    return "\n".join([f"**{table['title']}**", "", head, line, *rows])


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        size = abs(value)
        return f"{value:.1f}" if size >= 10 or value == round(value, 1) else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")
