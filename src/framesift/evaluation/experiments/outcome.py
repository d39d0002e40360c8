"""What an experiment is, and what it found: series over an axis, tables, and sentences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ...model import RetrievalModel
from .bench import Bench

__all__ = ["Experiment", "Outcome", "Series", "Table", "rounded"]

COST_UNITS = (", ms", ", s", ", GiB")

Values = tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line, one set of bars, or one dot of a picture.

    Attributes:
        name: in the legend.
        values: one for every place of the axis; None where there is none.
        low, high: 95 % interval of each.
        reference: what is compared with (a paper's numbers, a constant), drawn dashed.
        panel: series of one panel share axes; it is the label of the y axis, where that is not the outcome's.
    """

    name: str
    values: Values
    low: Values | None = None
    high: Values | None = None
    reference: bool = False
    panel: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under columns; a cell is a text, a number or nothing."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an experiment found.

    Attributes:
        x_label, x_values: the axis; texts where it names models.
        y_label: with its unit.
        better: which way is better; None where neither is.
        chart: how it is drawn: lines over the axis, bars at each of its places, or a dot a series, x on a log scale.
        shows: sentences with the numbers that matter.
    """

    x_label: str
    x_values: tuple[Any, ...]
    y_label: str
    better: Literal["higher", "lower"] | None = "higher"
    chart: Literal["line", "bar", "dot"] = "line"
    series: tuple[Series, ...]
    tables: tuple[Table, ...]
    shows: str

    def to_dict(self) -> dict[str, Any]:
        """The part of a result file that is measured, as plain values for JSON.

        ``y`` and ``series`` are the first panel's; further panels follow in ``panels``, over the same ``x``.
        """
        panels: dict[str, list[dict[str, Any]]] = {}
        for one in self.series:
            panels.setdefault(one.panel or self.y_label, []).append(
                {
                    "name": one.name,
                    "values": rounded(one.values),
                    "low": None if one.low is None else rounded(one.low),
                    "high": None if one.high is None else rounded(one.high),
                    "reference": one.reference,
                }
            )
        first, *others = (
            {"y": {"label": label, "better": self._better(label)}, "series": series}
            for label, series in panels.items()
        )
        return {
            "chart": self.chart,
            "x": {"label": self.x_label, "values": list(self.x_values)},
            **first,
            "panels": others,
            "tables": [
                {
                    "title": table.title,
                    "columns": list(table.columns),
                    "rows": [rounded(row) for row in table.rows],
                }
                for table in self.tables
            ],
        }

    def _better(self, label: str) -> str | None:
        """Costs are better when they are lower, whatever else the outcome is about."""
        return "lower" if label.endswith(COST_UNITS) else self.better


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A question with a command.

    Attributes:
        title: in words.
        source: the figure or table that asks it, or what makes it worth asking.
        done: what is measured, in a sentence or two.
        paper: what the paper has.
        differs: how ours differs from it.
        measure: the measurement; its second argument is a ``config``.
        config: frozen dataclass of what can be changed.
        suits: which bundled models it is about, where none are named; None: it needs no model.
        storyboard_only: it takes scenes apart, which no other benchmark allows.
    """

    title: str
    source: str
    done: str
    paper: str
    differs: str
    measure: Callable[[Bench, Any], Outcome]
    config: type[Any]
    suits: Callable[[RetrievalModel], bool] | None
    storyboard_only: bool = False


def rounded(values: Any) -> list[Any]:
    """A row with its numbers at six digits: more are noise."""
    return [float(f"{value:.6g}") if isinstance(value, float) else value for value in values]
