"""Reciprocal rank fusion against the formula."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framesift.errors import InputError
from framesift.search.fusing import RRF_K, reciprocal_rank

lists = st.lists(st.lists(st.integers(0, 8), unique=True), max_size=4)


@given(lists, st.floats(0, 100))
def test_scores_are_those_of_the_formula(ranked: list[list[int]], k: float) -> None:
    fused = reciprocal_rank(ranked, k=k)
    expected = {
        entry: sum(1 / (k + one.index(entry) + 1) for one in ranked if entry in one)
        for entry in {entry for one in ranked for entry in one}
    }
    assert dict(fused) == pytest.approx(expected)
    assert [score for _, score in fused] == sorted((score for _, score in fused), reverse=True)


@given(st.lists(st.integers(), unique=True))
def test_one_list_keeps_its_order(ranked: list[int]) -> None:
    assert [entry for entry, _ in reciprocal_rank([ranked, []])] == ranked


def test_two_lists_that_agree_outweigh_one_first_place() -> None:
    assert [entry for entry, _ in reciprocal_rank([["a", "b"], ["c", "b"]])] == ["b", "a", "c"]
    assert reciprocal_rank([["a"]])[0][1] == 1 / (RRF_K + 1)


def test_what_is_no_ranking_is_an_error() -> None:
    with pytest.raises(InputError, match="twice"):
        reciprocal_rank([["a", "a"]])
    with pytest.raises(InputError, match="at least 0"):
        reciprocal_rank([["a"]], k=-1)
