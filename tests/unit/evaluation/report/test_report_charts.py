"""Axes, lines and bands."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framesift.evaluation.report.axes import Series, ticks
from framesift.evaluation.report.bars import bar_chart
from framesift.evaluation.report.charts import dot_chart, line_chart

FINITE = st.floats(-1e9, 1e9, allow_nan=False)


@given(FINITE, st.floats(1e-6, 1e9))
def test_ticks_span_the_values_at_equal_distances(low: float, span: float) -> None:
    high = low + span
    found = ticks(low, high)
    room = 1e-6 * max(1.0, abs(low), abs(high))
    assert found[0] <= low + room
    assert found[-1] >= high - room
    assert 2 <= len(found) <= 9
    steps = [after - before for before, after in pairwise(found)]
    assert max(steps) - min(steps) <= room


@pytest.mark.parametrize(
    ("x", "values"),
    [
        ([1.0], [5.0]),
        ([1.0, 2.0], [None, None]),
        ([], []),
        ([3.0, 1.0, 2.0], [0.0, -1.0, 7.0]),
        ([0.001, 1.0, 1000.0], [1.0, 2.0, 3.0]),
        (["a", "b"], [1.0, None]),
        ([1.0, 2.0], [1.0]),
        ([5.0, 5.0], [1e-9, 1e-9]),
    ],
)
def test_every_mark_is_inside_the_drawing(x: list[float | str], values: list[float | None]) -> None:
    chart = line_chart("t", x_label="x", x=x, y_label="y", series=[Series(name="s", values=values)])
    assert "nan" not in chart.svg
    marks = re.findall(r"translate\(([-\d.]+) ([-\d.]+)\)\"><title>", chart.svg)
    assert len(marks) == sum(value is not None for value in values)
    for across, along in marks:
        assert 0 <= float(across) <= 440
        assert 0 <= float(along) <= 300
    assert len(chart.table.rows) == len(x)


def test_a_line_follows_its_x_and_higher_is_further_up() -> None:
    chart = line_chart(
        "t", x_label="x", x=[3.0, 1.0, 2.0], y_label="y", series=[Series(name="s", values=[30.0, 10.0, 20.0])]
    )
    (path,) = re.findall(r'<polyline class="line s0" points="([^"]+)"', chart.svg)
    points = [tuple(map(float, point.split(","))) for point in path.split()]
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert [y for _, y in points] == sorted((y for _, y in points), reverse=True)


def test_wide_ranges_are_logarithmic_and_say_so() -> None:
    chart = line_chart(
        "t",
        x_label="cost",
        x=[0.01, 1.0, 100.0],
        y_label="y",
        series=[Series(name="s", values=[1.0, 2.0, 3.0])],
    )
    assert "cost (logarithmic)" in chart.svg
    (path,) = re.findall(r'points="([^"]+)"', chart.svg)
    first, middle, last = (float(point.split(",")[0]) for point in path.split())
    assert math.isclose(middle, (first + last) / 2, abs_tol=0.2)


def test_names_are_escaped() -> None:
    chart = line_chart(
        "<t>", x_label="<x>", x=["<a>"], y_label="<y>", series=[Series(name="<s>", values=[1.0])]
    )
    assert not re.search("<[txyas]>", chart.svg.replace("<title>", ""))


def test_bars_are_as_long_as_their_numbers_and_missing_ones_are_said() -> None:
    series = [Series(name="R@1", values=[10.0, 40.0, None], low=[8.0, 35.0, None], high=[12.0, 45.0, None])]
    chart = bar_chart("t", x_label="", x=["one", "<two>", "three"], y_label="%", series=series)
    widths = [float(width) for width in re.findall(r'<rect[^>]* width="([\d.]+)"', chart.svg)]
    assert len(widths) == 2
    assert math.isclose(widths[1], 4 * widths[0], rel_tol=0.01)
    assert "&lt;two&gt;" in chart.svg
    assert "<two>" not in chart.svg
    assert ">–</text>" in chart.svg
    assert chart.svg.count('class="interval"') == 2
    assert [row[1].text for row in chart.table.rows] == ["10.0", "40.0", "–"]


@pytest.mark.parametrize("values", [[None], [0.0], [-3.0, 5.0], [1e-6, 2e6], []])
def test_bars_stay_inside_the_drawing(values: list[float | None]) -> None:
    names = [f"a name that is far longer than any chart of this page is wide, number {n}" for n in range(9)]
    chart = bar_chart("t", x_label="", x=names, y_label="y", series=[Series(name="s", values=values)])
    assert "nan" not in chart.svg
    for x, width in re.findall(r'<rect[^>]* x="([-\d.]+)"[^>]* width="([\d.]+)"', chart.svg):
        assert 0 <= float(x) <= float(x) + float(width) <= 440


def test_dots_have_no_lines_and_a_row_each() -> None:
    series = [Series(name="a", values=[1.0, None]), Series(name="b", values=[None, 2.0])]
    chart = dot_chart("t", x_label="ms", x=[0.2, 0.5], y_label="y", series=series)
    assert "polyline" not in chart.svg
    assert "ms (logarithmic)" in chart.svg
    assert [[cell.text for cell in row] for row in chart.table.rows] == [["a", "0.2", "1"], ["b", "0.5", "2"]]
    marks = re.findall(r'class="tick" x1="([\d.]+)"', chart.svg)
    assert len(marks) >= 2, "a range without a power of ten has marks too"
