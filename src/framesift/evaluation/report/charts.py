"""Line charts, with bands for intervals, and charts of single dots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape

from .axes import (
    COLOURS,
    Axis,
    Series,
    drawing,
    frame,
    keys,
    left_of,
    mark,
    numbers_table,
    said_name,
    x_axis,
    y_axis,
)
from .blocks import Cell, Chart, Column, Table
from .numbers import show

__all__ = ["dot_chart", "line_chart"]

LOG_FROM = 100  # a positive x range with a greater ratio than this is drawn on a logarithmic axis
MARK_LIMIT = 40  # points of a series; of more, only the line is drawn


def line_chart(
    title: str,
    *,
    x_label: str,
    x: Sequence[float | str],
    y_label: str,
    series: Sequence[Series],
) -> Chart:
    """A chart of lines, with bands for intervals.

    Args:
        x: numbers, or names that are set at equal distances.
    """
    return _chart(title, x_label=x_label, x=x, y_label=y_label, series=series, log=None, lines=True)


def dot_chart(
    title: str, *, x_label: str, x: Sequence[float], y_label: str, series: Sequence[Series]
) -> Chart:
    """A chart of costs: points without lines, x on a logarithmic axis where all of it is positive."""
    drawn = _chart(title, x_label=x_label, x=x, y_label=y_label, series=series, log=True, lines=False)
    return replace(drawn, table=_dot_table(title, x_label, x, y_label, series))


def _chart(
    title: str,
    *,
    x_label: str,
    x: Sequence[float | str],
    y_label: str,
    series: Sequence[Series],
    log: bool | None,
    lines: bool,
) -> Chart:
    """``log`` None: as wide as the numbers lie apart."""
    numbers = [float(value) for value in x if not isinstance(value, str)]
    names = [str(value) for value in x] if len(numbers) != len(x) else None
    places = [float(number) for number in range(len(x))] if names is not None else numbers
    can_be_log = names is None and bool(places) and min(places) > 0
    if log is None:
        log = can_be_log and len(places) > 1 and max(places) / min(places) > LOG_FROM
    log = log and can_be_log
    along, y_marks = y_axis(series)
    left = left_of(y_marks)
    across, x_marks = x_axis(places, names, left=left, log=log)
    label = x_label + (" (logarithmic)" if log else "")
    parts = [frame(left, across, along, x_marks, y_marks, x_label=label, y_label=y_label)]
    for number, one in enumerate(series):
        parts.append(_band(one, number, places, across, along))
    shown = [show(value) if not isinstance(value, str) else value for value in x]
    for number, one in enumerate(series):
        parts.append(_line(one, number, places, shown, across, along, lines=lines))
    return Chart(
        title=title,
        svg=drawing(title, parts),
        legend=keys(series, lines=lines, marks=len(places) <= MARK_LIMIT),
        table=numbers_table(title, x_label, shown, places, y_label, series),
    )


def _points(
    values: Sequence[float | None], places: Sequence[float], across: Axis, along: Axis
) -> list[tuple[int, float, float]]:
    order = sorted(range(min(len(values), len(places))), key=lambda number: places[number])
    found: list[tuple[int, float, float]] = []
    for number in order:
        value = values[number]
        if value is not None:
            found.append((number, across.at(places[number]), along.at(value)))
    return found


def _band(series: Series, number: int, places: Sequence[float], across: Axis, along: Axis) -> str:
    if series.low is None or series.high is None:
        return ""
    pairs = zip(series.low, series.high, strict=False)
    both = [(low, high) if low is not None and high is not None else (None, None) for low, high in pairs]
    lower = _points([low for low, _ in both], places, across, along)
    upper = _points([high for _, high in both], places, across, along)
    if len(lower) == 1:
        ((_, x, bottom),), ((_, _, top),) = lower, upper
        return f'<line class="whisker s{number % COLOURS}" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom:.1f}" y2="{top:.1f}"/>'
    outline = " ".join(f"{x:.1f},{y:.1f}" for _, x, y in [*upper, *reversed(lower)])
    return f'<polygon class="band s{number % COLOURS}" points="{outline}"/>' if outline else ""


def _line(
    series: Series,
    number: int,
    places: Sequence[float],
    shown: Sequence[str],
    across: Axis,
    along: Axis,
    *,
    lines: bool,
) -> str:
    points = _points(series.values, places, across, along)
    classes = f"s{number % COLOURS}" + (" reference" if series.reference else "")
    parts: list[str] = []
    if lines and len(points) > 1:
        path = " ".join(f"{x:.1f},{y:.1f}" for _, x, y in points)
        parts.append(f'<polyline class="line {classes}" points="{path}"/>')
    if len(points) <= MARK_LIMIT:
        for row, x, y in points:
            said = f"{series.name}, {shown[row]}: {show(series.values[row])}"
            parts.append(
                f'<g class="mark {classes}" transform="translate({x:.1f} {y:.1f})"><title>{escape(said)}</title>'
                f"{mark(number)}</g>"
            )
    return "".join(parts)


def _dot_table(title: str, x_label: str, x: Sequence[float], y_label: str, series: Sequence[Series]) -> Table:
    """A row a dot: a column a series would be empty but for one place."""
    rows: list[list[Cell]] = []
    for one in series:
        for row, value in enumerate(one.values[: len(x)]):
            if value is None:
                continue
            low = one.low[row] if one.low is not None and row < len(one.low) else None
            high = one.high[row] if one.high is not None and row < len(one.high) else None
            note = "" if low is None or high is None else f"{show(low)}–{show(high)}"
            rows.append(
                [
                    Cell(text=said_name(one)),
                    Cell(text=show(x[row]), sort=x[row]),
                    Cell(text=show(value), note=note, sort=value),
                ]
            )
    return Table(
        caption=title,
        columns=[Column(label="", number=False), Column(label=x_label), Column(label=y_label)],
        rows=rows,
    )
