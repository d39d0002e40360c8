"""A paper's row beside ours: as published, selected on test as its code did, and selected on validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from .blocks import Block, Cell, Column, Note, Table
from .measured import METRICS, Metric, Score, scores_of
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
WITH_OTHERS = (
    "Columns headed “with other queries” are no results of a search: the scores of all test queries were normalized "
    "together. They are compared with each other only."
)
USUAL = METRICS[:3]  # of a normalization for which the paper printed nothing


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Numbers of the same kind: plain ones, or those with one normalization.

    Attributes:
        label: of the normalization; empty: plain.
        rows: key of the row -> scores by direction and metric.
    """

    label: str
    rows: Mapping[str, Mapping[str, Score]]

    def columns(self) -> list[tuple[str, Metric]]:
        """Directions and metrics that are shown: with a normalization, those that can be compared with the paper."""
        given = [
            (way, metric)
            for way in DIRECTION_LABELS
            for metric in METRICS
            if any(f"{way}_{metric.key}" in scores for scores in self.rows.values())
        ]
        if not self.label:
            return given
        paper = self.rows.get("paper", {})
        printed = [(way, metric) for way, metric in given if f"{way}_{metric.key}" in paper]
        return printed or [(way, metric) for way, metric in given if metric in USUAL]

    def cell(self, row: str, key: str) -> Cell:
        """The value, with its difference to the paper's below."""
        score, published = self.rows.get(row, {}).get(key), self.rows.get("paper", {}).get(key)
        cell = score_cell(score)
        if score is None or published is None or row == "paper":
            return cell
        change = score.value - published.value
        difference = f"{'+' if change >= 0 else '−'}{show_fixed(abs(change))}"
        note = "\n".join(part for part in (difference, cell.note) if part)
        return Cell(text=cell.text, note=note, sort=cell.sort)

    def head(self, way: str) -> str:
        """Above the columns of a direction."""
        return (
            f"with other queries: {self.label}, {DIRECTION_LABELS[way]}"
            if self.label
            else DIRECTION_LABELS[way]
        )


def reproduction_blocks(document: Mapping[str, Any]) -> list[Block]:
    """One table: a row each for the paper and for ours by selection; columns by direction, plain ones first.

    What was normalized over all queries (``normalized``: label -> row -> scores) has columns of its own, so labelled.
    Notes on the published rows, and what the file says in words, follow.
    """
    parts = [_Part(label="", rows=_rows(document.get("columns")))]
    parts += [
        _Part(label=str(label), rows=_rows(held))
        for label, held in _mapping(document.get("normalized")).items()
    ]
    found = list(dict.fromkeys(key for part in parts for key in part.rows))
    blocks: list[Block] = []
    if found:
        ordered = [*(key for key in LABELS if key in found), *(key for key in found if key not in LABELS)]
        labels = {
            **LABELS,
            **{key: str(name) for key, name in _mapping(document.get("column_names")).items()},
        }
        blocks.append(_table(str(document.get("title", "Reproduction")), ordered, parts, labels))
    for row in _sequence(document.get("expected")):
        published = _mapping(row)
        if published.get("note"):
            where = ", ".join(str(published[key]) for key in ("paper", "row") if published.get(key))
            blocks.append(Note(text=f"Of the published row ({where}): {published['note']}."))
    for key in ("text", "note", "deviations"):
        value = document.get(key)
        if value:
            blocks.append(Note(text=value if isinstance(value, str) else show(value)))
    return blocks


def _table(title: str, rows: Sequence[str], parts: Sequence[_Part], labels: Mapping[str, str]) -> Table:
    shown = [(part, way, metric) for part in parts for way, metric in part.columns()]
    note = SELECTION
    if any(part.label for part, *_ in shown):
        note += f" {WITH_OTHERS}"
    return Table(
        caption=title,
        columns=[
            Column(label="", number=False),
            *(Column(label=metric.label, group=part.head(way)) for part, way, metric in shown),
        ],
        rows=[
            [
                Cell(text=labels.get(row, row.replace("_", " "))),
                *(part.cell(row, f"{way}_{metric.key}") for part, way, metric in shown),
            ]
            for row in rows
        ],
        note=note,
        sortable=False,
    )


def _rows(columns: Any) -> dict[str, Mapping[str, Score]]:
    """Key of a row -> its scores, of those that have any."""
    held = {key: scores_of(row) for key, row in _mapping(columns).items() if isinstance(row, Mapping)}
    return {key: scores for key, scores in held.items() if scores}


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _sequence(value: Any) -> Sequence[Any]:
    return cast("Sequence[Any]", value) if isinstance(value, list) else []
