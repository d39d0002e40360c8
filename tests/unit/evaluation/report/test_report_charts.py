"""Axes, lines and bands."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framesift.evaluation.report.charts import Series, line_chart, ticks

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
