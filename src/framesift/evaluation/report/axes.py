"""What the charts of a report share: series, axes with round numbers, the grid, marks, and the numbers as a table.

Drawings are SVG: text in the page's own letters, colours from its style sheet, so that both themes are legible.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .blocks import Cell, Column, Key, Table
from .numbers import show, show_fixed

__all__ = [
    "BOTTOM",
    "CHARACTER",
    "COLOURS",
    "HEIGHT",
    "RIGHT",
    "TOP",
    "WIDTH",
    "Axis",
    "Series",
    "drawing",
    "frame",
    "keys",
    "left_of",
    "mark",
    "numbers_table",
    "said_name",
    "ticks",
    "x_axis",
    "y_axis",
]

COLOURS = 8
"""Series colours of the style sheet, ``--series-0`` on; a ninth series starts again with another mark."""

WIDTH, HEIGHT = 440.0, 300.0
RIGHT, TOP, BOTTOM = 12.0, 14.0, 46.0
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
class Axis:
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


def x_axis(
    places: Sequence[float], names: Sequence[str] | None, *, left: float, log: bool
) -> tuple[Axis, list[tuple[float, str]]]:
    """The axis along the bottom, and where it has which marks.

    Args:
        names: of the places, where they are no numbers; what does not fit is cut.
        left: pixels to the left of it.
    """
    first, last = left + 8.0, WIDTH - RIGHT - 8.0
    low, high = (min(places), max(places)) if places else (0.0, 1.0)
    if names is not None:
        margin = 0.5
        axis = Axis(start=low - margin, end=high + margin, first=first, last=last)
        room = (last - first) / max(1, len(names)) / CHARACTER
        step = 1 if room >= 3 else math.ceil(3 / max(room, 0.1))
        marks = [
            (place, name if len(name) <= room * step else name[: max(2, int(room * step) - 1)] + "…")
            for place, name in zip(places, names, strict=True)
        ][::step]
        return axis, marks
    if not high > low:
        low, high = (low / 2, low * 2) if log else (low - 0.5, high + 0.5)
    axis = Axis(start=low, end=high, first=first, last=last, log=log)
    if log:
        return axis, _apart([(value, f"{value:,g}") for value in _log_marks(low, high)], axis)
    if len(set(places)) <= 9 and all(place == int(place) for place in places):
        marks = [(place, f"{place:,g}") for place in sorted(set(places))]
        return axis, _apart(marks, axis)
    return axis, [(tick, f"{tick:,g}") for tick in ticks(low, high) if low <= tick <= high]


def _log_marks(low: float, high: float) -> list[float]:
    """Powers of ten; where there are fewer than three, 2 and 5 times them too."""
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 2, 5), tuple(range(1, 10))):
        marks = [float(f"{f}e{power}") for power in powers for f in factors]
        inside = [mark for mark in marks if low * (1 - 1e-9) <= mark <= high * (1 + 1e-9)]
        if len(inside) >= 3:
            return inside
    return [low, high] if high > low else [low]


def _apart(marks: list[tuple[float, str]], axis: Axis) -> list[tuple[float, str]]:
    """Without the marks whose text would touch that of the mark before."""
    kept: list[tuple[float, str]] = []
    end = -math.inf
    for place, text in marks:
        half = len(text) * CHARACTER / 2
        if axis.at(place) - half > end + CHARACTER:
            kept.append((place, text))
            end = axis.at(place) + half
    return kept


def y_axis(series: Sequence[Series]) -> tuple[Axis, list[tuple[float, str]]]:
    """The axis up the side, and where it has which marks; from zero where that costs little."""
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
    axis = Axis(start=marks[0], end=marks[-1], first=HEIGHT - BOTTOM, last=TOP)
    return axis, [(mark, f"{mark:,g}".replace("-", "−")) for mark in marks]


def left_of(marks: Sequence[tuple[float, str]]) -> float:
    """Pixels that the marks of the axis up the side need, with its label."""
    return 28 + CHARACTER * max(len(text) for _, text in marks)


def frame(
    left: float,
    across: Axis,
    along: Axis,
    x_marks: Sequence[tuple[float, str]],
    y_marks: Sequence[tuple[float, str]],
    *,
    x_label: str,
    y_label: str,
) -> str:
    """Grid, marks and labels of both axes."""
    bottom = HEIGHT - BOTTOM
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
            f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom:g}" y2="{bottom + 4:g}"/>'
            f'<text x="{x:.1f}" y="{bottom + 17:g}" text-anchor="middle">{escape(text)}</text>'
        )
    parts.append(
        f'<line class="base" x1="{left:.1f}" x2="{WIDTH - RIGHT:g}" y1="{bottom:g}" y2="{bottom:g}"/>'
        f'<text class="axis" x="{(left + WIDTH - RIGHT) / 2:.1f}" y="{HEIGHT - 6:g}" text-anchor="middle"'
        f"{_squeezed(x_label, WIDTH - left - RIGHT)}>{escape(x_label)}</text>"
        f'<text class="axis" transform="translate(13 {(TOP + bottom) / 2:g}) rotate(-90)" text-anchor="middle"'
        f"{_squeezed(y_label, bottom)}>{escape(y_label)}</text>"
    )
    return "".join(parts)


def _squeezed(text: str, room: float) -> str:
    """What makes a text narrower that has not the room for its letters."""
    if len(text) * CHARACTER <= room:
        return ""
    return f' textLength="{room:g}" lengthAdjust="spacingAndGlyphs"'


def drawing(title: str, parts: Sequence[str], *, height: float = HEIGHT) -> str:
    """The whole as SVG; who cannot see it is told where the numbers are."""
    return (
        f'<svg viewBox="0 0 {WIDTH:g} {height:g}" role="img" '
        f'aria-label="{escape(title)}: the numbers follow as a table" xmlns="http://www.w3.org/2000/svg">'
        f"{''.join(parts)}</svg>"
    )


def keys(series: Sequence[Series], *, lines: bool = True, marks: bool = True) -> list[Key]:
    """The legend: every series with its line, its mark, or both."""
    found: list[Key] = []
    for number, one in enumerate(series):
        classes = f"s{number % COLOURS}" + (" reference" if one.reference else "")
        line = f'<line class="line {classes}" x1="1" x2="25" y1="6" y2="6"/>' if lines else ""
        shape = f'<g class="mark {classes}" transform="translate(13 6)">{mark(number)}</g>' if marks else ""
        found.append(Key(name=said_name(one), swatch=line + shape))
    return found


def said_name(series: Series) -> str:
    """Its name, and that it was published where it is no measurement of ours."""
    return series.name + (", as published" if series.reference else "")


def mark(number: int) -> str:
    """The shape of a series' points, around (0, 0); a ninth series has the first one's colour and another shape."""
    shapes = (
        '<circle r="3.4"/>',
        '<rect x="-3.1" y="-3.1" width="6.2" height="6.2"/>',
        '<path d="M0-4.4 4.2 3H-4.2z"/>',
        '<path d="M0-4.6 4.6 0 0 4.6-4.6 0z"/>',
        '<path d="M0 4.4 4.2-3H-4.2z"/>',
    )
    return shapes[(number + number // COLOURS) % len(shapes)]


def numbers_table(
    title: str,
    x_label: str,
    shown: Sequence[str],
    places: Sequence[float],
    y_label: str,
    series: Sequence[Series],
) -> Table:
    """What a chart shows as a table: a row a place, ``shown``, to sort by ``places``; a column a series."""

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
            *(Column(label=said_name(one)) for one in series),
        ],
        rows=[
            [Cell(text=text, sort=places[row]), *(cell(one, row) for one in series)]
            for row, text in enumerate(shown)
        ],
    )
