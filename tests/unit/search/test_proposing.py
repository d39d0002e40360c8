"""Rows of several lists taken in turn."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from framesift.search.proposing import in_turn


@pytest.mark.parametrize(
    ("n", "expected"),
    [(1, [7]), (2, [3, 7]), (3, [3, 7, 9]), (4, [3, 5, 7, 9]), (5, [3, 4, 5, 7, 9]), (9, [3, 4, 5, 7, 9])],
)
def test_the_best_of_every_list_come_first_and_each_row_once(n: int, expected: list[int]) -> None:
    lists = [np.array([7, 9, 5]), np.array([3, 7, 4])]
    assert in_turn(lists, n).tolist() == expected


def test_one_list_is_its_beginning_in_ascending_order() -> None:
    assert in_turn([np.array([5, 1, 9, 0])], 3).tolist() == [1, 5, 9]


def test_more_are_never_fewer_of_the_same() -> None:
    """Pages go on where they ended: what a smaller number proposes, a larger one does, too."""
    rng = np.random.default_rng(0)
    lists = [rng.permutation(50) for _ in range(3)]
    proposed = [set(in_turn(lists, n).tolist()) for n in range(1, 51)]
    assert [len(rows) for rows in proposed] == list(range(1, 51))
    assert all(fewer < more for fewer, more in pairwise(proposed))
