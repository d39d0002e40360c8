"""Rows by the best of their frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clustered_vectors import clustered, near
from framesift.candidates import ArrayVectors, ByFrame, CandidateIndex, ExactCandidates, Found
from framesift.errors import InputError, ShapeError

FRAMES = clustered(600, 24)


def by_frame(counts: list[int]) -> tuple[ByFrame, NDArray[np.int64]]:
    owner = np.repeat(np.arange(len(counts)), counts)
    return ByFrame(ExactCandidates(ArrayVectors(FRAMES[: len(owner)])), owner), owner


@given(counts=st.lists(st.integers(1, 9), min_size=1, max_size=60), depth=st.integers(1, 70), data=st.data())
def test_a_row_is_as_good_as_its_best_frame(counts: list[int], depth: int, data: st.DataObject) -> None:
    engine, owner = by_frame(counts)
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=len(counts), max_size=len(counts))))
    query = near(FRAMES, [1])
    best = [float(np.max(FRAMES[: len(owner)][owner == row] @ query[0])) for row in range(len(counts))]
    for mask in (None, allowed):
        rows = [row for row in range(len(counts)) if mask is None or mask[row]]
        expected = sorted(rows, key=lambda row: -best[row])[:depth]
        found = engine.search(query, depth, allowed=mask)
        assert found.rows[0].tolist() == expected
        assert found.scores[0] == pytest.approx([best[row] for row in expected], abs=1e-6)


class Counting(CandidateIndex):
    """An exact engine that remembers how much it was asked for."""

    name = "counting"

    def __init__(self, frames: NDArray[np.float32]) -> None:
        self.inner = ExactCandidates(ArrayVectors(frames))
        self.asked: list[int] = []

    def __len__(self) -> int:
        return len(self.inner)

    def search(self, queries, depth, *, allowed=None) -> Found:
        self.asked.append(depth)
        return self.inner.search(queries, depth, allowed=allowed)


def test_more_frames_are_fetched_until_there_are_enough_rows() -> None:
    """The 100 frames that are nearest to the query belong to one row."""
    query = near(FRAMES, [0])
    order = np.argsort(-(FRAMES @ query[0]))
    inner = Counting(FRAMES[order])
    owner = np.repeat(np.arange(51), [100, *[10] * 50])
    found = ByFrame(inner, owner).search(query, 5)
    assert found.rows[0].tolist() == [0, 1, 2, 3, 4]
    assert inner.asked == [20, 40, 80, 160]
    inner.asked.clear()
    found = ByFrame(inner, owner, fetched=1.3).search(query, 5)
    assert found.rows[0].tolist() == [0, 1, 2, 3, 4]
    assert inner.asked == [7, 14, 28, 56, 112, 224]


def test_frames_of_no_row_or_of_unordered_rows_are_refused() -> None:
    frames = ExactCandidates(ArrayVectors(FRAMES[:4]))
    with pytest.raises(ShapeError, match="owner"):
        ByFrame(frames, np.arange(3))
    for owner in ([0, 2, 2, 3], [1, 1, 2, 3], [0, 1, 0, 2], [3, 2, 1, 0]):
        with pytest.raises(InputError, match="owner must number the rows"):
            ByFrame(frames, np.array(owner))
