"""Line charts as SVG: text in the page's own letters, colours from its style sheet, so that both themes are legible."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .blocks import Cell, Chart, Column, Table
from .numbers import show, show_fixed

__all__ = ["COLOURS", "Series", "line_chart", "ticks"]

COLOURS = 8
"""Series colours of the style sheet, ``--series-0`` on; a ninth series starts again with another mark."""

WIDTH, HEIGHT = 440.0, 300.0
RIGHT, TOP, BOTTOM = 12.0, 14.0, 46.0
LOG_FROM = 100  # a positive x range with a greater ratio than this is drawn on a logarithmic axis
MARK_LIMIT = 40  # points of a series; of more, only the line is drawn
CHARACTER = 6.6  # width of a letter of the chart's text


@dataclass(frozen=True, kw_only=True)
class Series:
    """Values at the chart's x, None where there is none.

    Attributes:
        reference: published numbers, drawn dashed.
    """

    name: str
    values: Sequence[float | None]
    low: Sequence[float | None] | None = None
    high: Sequence[float | None] | None = None
    reference: bool = False


@dataclass(frozen=True, kw_only=True)
class _Axis:
    start: float
    end: float
    first: float  # pixels
    last: float
    log: bool = False

    def at(self, value: float) -> float:
        value, start, end = (math.log10(x) if self.log else x for x in (value, self.start, self.end))
        return self.first + (value - start) / (end - start) * (self.last - self.first)


def ticks(low: float, high: float, *, most: int = 6) -> list[float]:
    """Round numbers that span ``low`` to ``high``, at most ``most`` + 1 of them."""
    if not high > low:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


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
    numbers = [float(value) for value in x if not isinstance(value, str)]
    names = [str(value) for value in x] if len(numbers) != len(x) else None
    places = [float(number) for number in range(len(x))] if names is not None else numbers
    log = names is None and len(places) > 1 and min(places) > 0 and max(places) / min(places) > LOG_FROM
    along, y_marks = _y_axis(series)
    left = 28 + CHARACTER * max(len(text) for _, text in y_marks)
    across, x_marks = _x_axis(places, names, left=left, log=log)
    parts = [_grid(left, across, along, x_marks, y_marks)]
    label = x_label + (" (logarithmic)" if log else "")
    parts.append(
        f'<text class="axis" x="{(left + WIDTH - RIGHT) / 2:.1f}" y="{HEIGHT - 6:g}" text-anchor="middle">'
        f"{escape(label)}</text>"
        f'<text class="axis" transform="translate(13 {(TOP + HEIGHT - BOTTOM) / 2:g}) rotate(-90)" '
        f'text-anchor="middle">{escape(y_label)}</text>'
    )
    for number, one in enumerate(series):
        parts.append(_band(one, number, places, across, along))
    shown = [show(value) if not isinstance(value, str) else value for value in x]
    for number, one in enumerate(series):
        parts.append(_line(one, number, places, shown, across, along))
    svg = (
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" '
        f'aria-label="{escape(title)}: the numbers follow as a table" xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )
    return Chart(
        title=title,
        svg=svg,
        legend=[(one.name, number, one.reference) for number, one in enumerate(series)],
        table=_table(title, x_label, shown, places, y_label, series),
    )


def _x_axis(
    places: Sequence[float], names: Sequence[str] | None, *, left: float, log: bool
) -> tuple[_Axis, list[tuple[float, str]]]:
    first, last = left + 8.0, WIDTH - RIGHT - 8.0
    low, high = (min(places), max(places)) if places else (0.0, 1.0)
    if names is not None:
        margin = 0.5
        axis = _Axis(start=low - margin, end=high + margin, first=first, last=last)
        room = (last - first) / max(1, len(names)) / CHARACTER
        step = 1 if room >= 3 else math.ceil(3 / max(room, 0.1))
        marks = [
            (place, name if len(name) <= room * step else name[: max(2, int(room * step) - 1)] + "…")
            for place, name in zip(places, names, strict=True)
        ][::step]
        return axis, marks
    if not high > low:
        low, high = (low / 2, low * 2) if log else (low - 0.5, high + 0.5)
    axis = _Axis(start=low, end=high, first=first, last=last, log=log)
    if log:
        powers = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
        return axis, [(10.0**power, f"{10.0**power:,g}") for power in powers]
    if len(set(places)) <= 9 and all(place == int(place) for place in places):
        marks = [(place, f"{place:,g}") for place in sorted(set(places))]
        return axis, _apart(marks, axis)
    return axis, [(tick, f"{tick:,g}") for tick in ticks(low, high) if low <= tick <= high]


def _apart(marks: list[tuple[float, str]], axis: _Axis) -> list[tuple[float, str]]:
    """Without the marks whose text would touch that of the mark before."""
    kept: list[tuple[float, str]] = []
    end = -math.inf
    for place, text in marks:
        half = len(text) * CHARACTER / 2
        if axis.at(place) - half > end + CHARACTER:
            kept.append((place, text))
            end = axis.at(place) + half
    return kept


def _y_axis(series: Sequence[Series]) -> tuple[_Axis, list[tuple[float, str]]]:
    values = [
        value
        for one in series
        for row in (one.values, one.low or (), one.high or ())
        for value in row
        if value is not None
    ]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if 0 < low <= 0.6 * high:
        low = 0.0  # where it costs little, the axis starts at zero
    marks = ticks(low, high)
    axis = _Axis(start=marks[0], end=marks[-1], first=HEIGHT - BOTTOM, last=TOP)
    return axis, [(mark, f"{mark:,g}".replace("-", "−")) for mark in marks]


def _grid(
    left: float,
    across: _Axis,
    along: _Axis,
    x_marks: Sequence[tuple[float, str]],
    y_marks: Sequence[tuple[float, str]],
) -> str:
    parts: list[str] = []
    for value, text in y_marks:
        y = along.at(value)
        parts.append(
            f'<line class="grid" x1="{left:.1f}" x2="{WIDTH - RIGHT:g}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{left - 7:.1f}" y="{y + 4:.1f}" text-anchor="end">{escape(text)}</text>'
        )
    for value, text in x_marks:
        x = across.at(value)
        parts.append(
            f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{HEIGHT - BOTTOM:g}" y2="{HEIGHT - BOTTOM + 4:g}"/>'
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 17:g}" text-anchor="middle">{escape(text)}</text>'
        )
    bottom = HEIGHT - BOTTOM
    parts.append(
        f'<line class="base" x1="{left:.1f}" x2="{WIDTH - RIGHT:g}" y1="{bottom:g}" y2="{bottom:g}"/>'
    )
    return "".join(parts)


def _points(
    values: Sequence[float | None], places: Sequence[float], across: _Axis, along: _Axis
) -> list[tuple[int, float, float]]:
    order = sorted(range(min(len(values), len(places))), key=lambda number: places[number])
    found: list[tuple[int, float, float]] = []
    for number in order:
        value = values[number]
        if value is not None:
            found.append((number, across.at(places[number]), along.at(value)))
    return found


def _band(series: Series, number: int, places: Sequence[float], across: _Axis, along: _Axis) -> str:
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
    series: Series, number: int, places: Sequence[float], shown: Sequence[str], across: _Axis, along: _Axis
) -> str:
    points = _points(series.values, places, across, along)
    classes = f"s{number % COLOURS}" + (" reference" if series.reference else "")
    parts: list[str] = []
    if len(points) > 1:
        path = " ".join(f"{x:.1f},{y:.1f}" for _, x, y in points)
        parts.append(f'<polyline class="line {classes}" points="{path}"/>')
    if len(points) <= MARK_LIMIT:
        for row, x, y in points:
            said = f"{series.name}, {shown[row]}: {show(series.values[row])}"
            parts.append(
                f'<g class="mark {classes}" transform="translate({x:.1f} {y:.1f})"><title>{escape(said)}</title>'
                f"{_mark(number)}</g>"
            )
    return "".join(parts)


def _mark(number: int) -> str:
    shapes = (
        '<circle r="3.4"/>',
        '<rect x="-3.1" y="-3.1" width="6.2" height="6.2"/>',
        '<path d="M0-4.4 4.2 3H-4.2z"/>',
        '<path d="M0-4.6 4.6 0 0 4.6-4.6 0z"/>',
        '<path d="M0 4.4 4.2-3H-4.2z"/>',
    )
    return shapes[(number + number // COLOURS) % len(shapes)]


def _table(
    title: str,
    x_label: str,
    shown: Sequence[str],
    places: Sequence[float],
    y_label: str,
    series: Sequence[Series],
) -> Table:
    def cell(one: Series, row: int) -> Cell:
        value = one.values[row] if row < len(one.values) else None
        if value is None:
            return Cell(text="–")
        low = one.low[row] if one.low is not None and row < len(one.low) else None
        high = one.high[row] if one.high is not None and row < len(one.high) else None
        note = "" if low is None or high is None else f"{show(low)}–{show(high)}"
        text = show_fixed(value, 1) if abs(value) >= 1 else show(value)
        return Cell(text=text, note=note, sort=value)

    return Table(
        caption=f"{title} ({y_label})",
        columns=[
            Column(label=x_label),
            *(Column(label=one.name + (", as published" if one.reference else "")) for one in series),
        ],
        rows=[
            [Cell(text=text, sort=places[row]), *(cell(one, row) for one in series)]
            for row, text in enumerate(shown)
        ],
    )
