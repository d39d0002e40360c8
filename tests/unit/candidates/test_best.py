"""The best of scored rows."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from framesift.candidates.arrays import ArrayVectors
from framesift.candidates.best import best, stacked
from framesift.candidates.exact import ROWS_AT_ONCE, ExactCandidates

# few different scores, so that ties are common
scored = st.lists(st.integers(-3, 3), min_size=1, max_size=60)


def sorted_by_hand(scores: list[int], depth: int) -> list[int]:
    return sorted(range(len(scores)), key=lambda row: (-scores[row], row))[:depth]


@given(scores=scored, depth=st.integers(0, 70), shuffle=st.randoms())
def test_the_order_is_that_of_a_sort_however_the_rows_come(scores: list[int], depth: int, shuffle) -> None:
    rows = list(range(len(scores)))
    shuffle.shuffle(rows)
    found, values = best(np.array(rows), np.array(scores, np.float32)[rows], depth)
    assert found.tolist() == sorted_by_hand(scores, depth)
    assert values.tolist() == [scores[row] for row in found]


class InPieces(ArrayVectors):
    """Vectors in blocks that end where a test wants them to."""

    def __init__(self, array: NDArray[np.float32], ends: list[int]) -> None:
        super().__init__(array)
        self.ends = ends

    def blocks(self):
        starts = [0, *self.ends]
        for start, end in zip(starts, [*self.ends, len(self)], strict=True):
            yield start, self._array[start:end]


@given(
    scores=scored, depth=st.integers(1, 70), data=st.data(), masked=st.booleans(), queries=st.integers(1, 7)
)
def test_merging_blocks_is_sorting_all(
    scores: list[int], depth: int, data: st.DataObject, masked: bool, queries: int
) -> None:
    """One dimension: a row's score is its vector, and that of the second query twice as much."""
    vectors = np.array(scores, np.float32)[:, None]
    ends = sorted(data.draw(st.lists(st.integers(0, len(scores)), max_size=4)))
    size = len(scores)
    allowed = data.draw(st.lists(st.booleans(), min_size=size, max_size=size)) if masked else [True] * size
    texts = np.arange(1, queries + 1, dtype=np.float32)[:, None]
    mask = np.array(allowed) if masked else None
    found = ExactCandidates(InPieces(vectors, ends)).search(texts, depth, allowed=mask)
    expected = [row for row in sorted_by_hand(scores, size) if allowed[row]][:depth]
    assert found.rows.tolist() == [expected] * queries
    assert found.scores.tolist() == [
        [text * scores[row] for row in expected] for text in range(1, queries + 1)
    ]


def test_a_block_that_is_larger_than_what_is_scored_at_once_is_no_different() -> None:
    scores = np.random.default_rng(0).integers(0, 1000, 2 * ROWS_AT_ONCE + 5).astype(np.float32)
    found = ExactCandidates(ArrayVectors(scores[:, None])).search(np.ones((1, 1), np.float32), 300)
    assert found.rows[0].tolist() == np.lexsort((np.arange(len(scores)), -scores))[:300].tolist()


def test_nothing_found_keeps_its_shape() -> None:
    assert stacked([], 4).rows.shape == (0, 4)
    assert stacked([], 4).scores.shape == (0, 4)
