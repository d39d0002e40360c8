"""A paper's row beside ours: as published, selected on test as its code did, and selected on validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from .blocks import Block, Cell, Column, Note, Table
from .measured import METRICS, Score, scores_of
from .numbers import show, show_fixed
from .tables import DIRECTION_LABELS, score_cell

__all__ = ["reproduction_blocks"]

LABELS = {
    "paper": "as published",
    "selected_on_test": "ours, checkpoint selected on test (as their code did)",
    "selected_on_val": "ours, checkpoint selected on validation",
    "last": "ours, last checkpoint",
}
SELECTION = (
    "A checkpoint that was selected on the test split has seen the answers: its numbers say how well the published "
    "ones are matched, not how good the system is. The honest row is the one selected on validation. No row is "
    "marked as best. Small numbers: the difference to the paper."
)
WITH_OTHERS = "No results of a search: the scores of all test queries were normalized together."


def reproduction_blocks(document: Mapping[str, Any]) -> list[Block]:
    """One table of ``columns``: paper, selected on test, selected on val, by metric and direction."""
    columns = document.get("columns")
    if not isinstance(columns, Mapping):
        return []
    given = {
        str(key): held
        for key, held in cast("Mapping[Any, Any]", columns).items()
        if isinstance(held, Mapping)
    }
    ordered = [*(key for key in LABELS if key in given), *(key for key in given if key not in LABELS)]
    rows = [(key, scores_of(cast("Mapping[str, Any]", given[key]))) for key in ordered]
    if not rows:
        return []
    names = document.get("column_names")
    labels = {**LABELS, **(cast("Mapping[str, str]", names) if isinstance(names, Mapping) else {})}
    title = str(document.get("title", "Reproduction"))
    blocks: list[Block] = [_table(title, rows, labels)]
    normalized = document.get("normalized")
    if isinstance(normalized, Mapping):
        for label, held in cast("Mapping[str, Any]", normalized).items():
            beside = [
                (key, scores_of(held[key])) for key in (*ordered, *held) if isinstance(held.get(key), Mapping)
            ]
            blocks.append(
                _table(
                    f"{title}, with other queries: {label}", list(dict(beside).items()), labels, WITH_OTHERS
                )
            )
    for key in ("text", "note", "deviations"):
        value = document.get(key)
        if value:
            blocks.append(Note(text=value if isinstance(value, str) else show(value)))
    return blocks


def _table(
    title: str, rows: Sequence[tuple[str, Mapping[str, Score]]], labels: Mapping[str, str], note: str = ""
) -> Table:
    metrics = [
        (way, metric)
        for way in DIRECTION_LABELS
        for metric in METRICS
        if any(f"{way}_{metric.key}" in scores for _, scores in rows)
    ]
    paper = dict(rows).get("paper", {})
    lines: list[list[Cell]] = []
    for key, scores in rows:
        line = [Cell(text=str(labels.get(key, key.replace("_", " "))))]
        for way, metric in metrics:
            name = f"{way}_{metric.key}"
            cell = score_cell(scores.get(name))
            if key != "paper" and name in paper and name in scores:
                change = scores[name].value - paper[name].value
                sign = "+" if change >= 0 else "−"
                note = " ".join(part for part in (f"{sign}{show_fixed(abs(change))}", cell.note) if part)
                cell = Cell(text=cell.text, note=note, sort=cell.sort)
            line.append(cell)
        lines.append(line)
    return Table(
        caption=title,
        columns=[
            Column(label="", number=False),
            *(Column(label=metric.label, group=DIRECTION_LABELS[way]) for way, metric in metrics),
        ],
        rows=lines,
        note=f"{note} {SELECTION}".strip(),
        sortable=False,
    )
