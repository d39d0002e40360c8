"""Charts of bars that lie: a name above its bars has room whatever its length, on a narrow screen too."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .axes import CHARACTER, COLOURS, RIGHT, WIDTH, Axis, Series, drawing, numbers_table, said_name, ticks
from .blocks import Chart, Key
from .numbers import show

__all__ = ["bar_chart"]

LEFT, TOP, FOOT = 8.0, 4.0, 44.0
NAME, BAR, GAP = 17.0, 13.0, 9.0  # height of a name, of a bar with the space around it, between two names
THICK = 10.0


def bar_chart(
    title: str, *, x_label: str, x: Sequence[float | str], y_label: str, series: Sequence[Series]
) -> Chart:
    """A bar a series for every place, with its number at the end and a line for its interval.

    Args:
        x: what the bars are of, from top to bottom.
        y_label: of the numbers.
    """
    names = [value if isinstance(value, str) else show(value) for value in x]
    height = TOP + len(names) * (NAME + BAR * len(series) + GAP) + FOOT
    along, marks = _axis(series, names)
    bottom = height - FOOT
    parts: list[str] = []
    for value, text in marks:
        at = along.at(value)
        parts.append(
            f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP:g}" y2="{bottom:g}"/>'
            f'<text x="{at:.1f}" y="{bottom + 16:g}" text-anchor="middle">{escape(text)}</text>'
        )
    parts.append(
        f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2:g}" y="{height - 6:g}" text-anchor="middle">'
        f"{escape(y_label)}</text>"
    )
    zero = along.at(0.0)
    parts.append(f'<line class="base" x1="{zero:.1f}" x2="{zero:.1f}" y1="{TOP:g}" y2="{bottom:g}"/>')
    for row, name in enumerate(names):
        top = TOP + row * (NAME + BAR * len(series) + GAP)
        parts.append(f'<text class="axis over" x="{LEFT:g}" y="{top + 12:g}">{escape(_cut(name))}</text>')
        for number, one in enumerate(series):
            parts.append(_bar(one, number, row, name, along, top + NAME + BAR * number))
    return Chart(
        title=title,
        svg=drawing(title, parts, height=height),
        legend=[
            Key(
                name=said_name(one),
                swatch=f'<rect class="column {_classes(one, number)}" x="1" y="1" width="24" height="10"/>',
            )
            for number, one in enumerate(series)
        ],
        table=numbers_table(
            title, x_label, names, [float(row) for row in range(len(names))], y_label, series
        ),
    )


def _axis(series: Sequence[Series], names: Sequence[str]) -> tuple[Axis, list[tuple[float, str]]]:
    """From zero, or from the lowest number below it, with room for the number at the end of the longest bar."""
    values = [
        value
        for one in series
        for row in (one.values, one.low or (), one.high or ())
        for value in row
        if value is not None
    ]
    places = ticks(min(0.0, *values, 0.0), max(0.0, *values, 0.0), most=5)
    widest = max(
        (len(show(value)) for one in series for value in one.values[: len(names)] if value is not None),
        default=1,
    )
    room = CHARACTER * widest + 8
    first = LEFT + (room if places[0] < 0 else 0)
    axis = Axis(start=places[0], end=places[-1], first=first, last=WIDTH - RIGHT - room)
    return axis, [(place, f"{place:,g}".replace("-", "−")) for place in places]


def _bar(series: Series, number: int, row: int, name: str, along: Axis, top: float) -> str:
    value = series.values[row] if row < len(series.values) else None
    start = along.at(0.0)
    if value is None:
        return f'<text class="over" x="{start + 5:.1f}" y="{top + 9:g}">–</text>'
    low = series.low[row] if series.low is not None and row < len(series.low) else None
    high = series.high[row] if series.high is not None and row < len(series.high) else None
    end = along.at(value)
    reach = max(end, start, along.at(high) if high is not None else end)
    said = f"{series.name}, {name}: {show(value)}"
    if low is not None and high is not None:
        said += f" ({show(low)} to {show(high)})"
    shape = (
        f'<rect class="column {_classes(series, number)}" x="{min(start, end):.1f}" y="{top:g}" '
        f'width="{max(abs(end - start), 0.5):.1f}" height="{THICK:g}"/>'
    )
    parts = [f"<g><title>{escape(said)}</title>{shape}</g>"]
    if low is not None and high is not None:
        middle = top + THICK / 2
        parts.append(
            f'<line class="interval" x1="{along.at(low):.1f}" x2="{along.at(high):.1f}" y1="{middle:g}" '
            f'y2="{middle:g}"/>'
        )
    parts.append(f'<text class="over" x="{reach + 5:.1f}" y="{top + 9:g}">{escape(show(value))}</text>')
    return "".join(parts)


def _classes(series: Series, number: int) -> str:
    return f"s{number % COLOURS}" + (" reference" if series.reference else "")


def _cut(name: str) -> str:
    """A name that is longer than the drawing is wide."""
    most = int((WIDTH - LEFT - RIGHT) / CHARACTER)
    return name if len(name) <= most else name[: most - 1] + "…"
