"""Metrics against brute force over sorted lists."""

from __future__ import annotations

import inspect
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from framesift.errors import InputError, ShapeError
from framesift.metrics import (
    ROW_BLOCK,
    group_captions,
    mean_average_precision,
    ranks,
    summarise,
    t2v,
    v2t,
)

SETTINGS = settings(deadline=None, max_examples=60)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """A small matrix with many ties, and a relevance in which every text has a video."""
    texts, videos = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    cells = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, float("-inf")])
    similarity = torch.tensor(draw(st.lists(cells, min_size=texts * videos, max_size=texts * videos)))
    relevance = torch.tensor(draw(st.lists(st.booleans(), min_size=texts * videos, max_size=texts * videos)))
    relevance = relevance.view(texts, videos)
    for row in range(texts):
        relevance[row, draw(st.integers(0, videos - 1))] = True
    return similarity.view(texts, videos), relevance


def places(row: list[float], relevant: list[bool], *, relevant_first: bool) -> int:
    """Sort by score, then by relevance one way or the other; the place of the first relevant one."""
    key = [(-score, good != relevant_first) for score, good in zip(row, relevant, strict=True)]
    order = sorted(range(len(row)), key=key.__getitem__)
    return 1 + next(i for i, column in enumerate(order) if relevant[column])


@SETTINGS
@given(problems())
def test_ranks_are_places_in_a_sorted_list(problem: tuple[Tensor, Tensor]) -> None:
    similarity, relevance = problem
    rows = list(zip(similarity.tolist(), relevance.tolist(), strict=True))
    best = [places(row, good, relevant_first=True) for row, good in rows]
    worst = [places(row, good, relevant_first=False) for row, good in rows]
    assert ranks(similarity, relevance, ties="optimistic").tolist() == best
    assert ranks(similarity, relevance, ties="pessimistic").tolist() == worst
    middle = [(a + b) / 2 for a, b in zip(best, worst, strict=True)]
    assert ranks(similarity, relevance, ties="mean").tolist() == middle
    for low, rank, high in zip(best, ranks(similarity, relevance, ties="xpool").tolist(), worst, strict=True):
        assert low <= rank <= high


@SETTINGS
@given(problems())
def test_clip4clip_counts_every_place_of_a_tie(problem: tuple[Tensor, Tensor]) -> None:
    similarity, relevance = problem
    expected = []
    for row, good in zip(similarity.tolist(), relevance.tolist(), strict=True):
        own = max(score for score, relevant in zip(row, good, strict=True) if relevant)
        expected += [place for place, score in enumerate(sorted(row, reverse=True), start=1) if score == own]
    assert ranks(similarity, relevance, ties="clip4clip").tolist() == expected


@SETTINGS
@given(problems())
def test_v2t_is_t2v_of_the_transpose_for_videos_that_have_texts(problem: tuple[Tensor, Tensor]) -> None:
    similarity, relevance = problem
    described = relevance.any(dim=0)
    found = v2t(similarity, relevance)
    expected = t2v(similarity.T[described], relevance.T[described])
    assert (found.recall_at, found.median_rank, found.mean_rank) == (
        expected.recall_at,
        expected.median_rank,
        expected.mean_rank,
    )
    assert (found.direction, found.num_queries) == ("v2t", int(described.sum()))


@SETTINGS
@given(problems())
def test_grouped_captions_take_the_best_caption(problem: tuple[Tensor, Tensor]) -> None:
    similarity, relevance = problem
    groups = group_captions(similarity, relevance)
    videos = similarity.shape[1]
    for group in range(videos):
        for video in range(videos):
            own = [float(similarity[t, video]) for t in range(len(similarity)) if relevance[t, group]]
            assert float(groups[group, video]) == max(own, default=float("-inf"))


@SETTINGS
@given(problems())
def test_mean_average_precision(problem: tuple[Tensor, Tensor]) -> None:
    similarity, relevance = problem
    total = 0.0
    for row, good in zip(similarity.tolist(), relevance.tolist(), strict=True):
        order = sorted(range(len(row)), key=lambda column: (-row[column], good[column]))
        found, precisions = 0, []
        for place, column in enumerate(order, start=1):
            if good[column]:
                found += 1
                precisions.append(found / place)
        total += sum(precisions) / len(precisions)
    assert mean_average_precision(similarity, relevance) == pytest.approx(100 * total / len(similarity))


@SETTINGS
@given(st.lists(st.integers(1, 60), min_size=1, max_size=12))
def test_summary_of_ranks(values: list[int]) -> None:
    found = summarise(torch.tensor(values, dtype=torch.float64), ties="mean", direction="t2v")
    assert found.recall_at == {
        k: pytest.approx(100 * sum(value <= k for value in values) / len(values)) for k in (1, 5, 10, 50)
    }
    assert found.median_rank == statistics.median(values)
    assert found.mean_rank == pytest.approx(statistics.mean(values))
    low = summarise(
        torch.tensor(values, dtype=torch.float64), ties="mean", direction="t2v", lower_median=True
    )
    assert low.median_rank == statistics.median_low(values)


def test_matrices_longer_than_a_block() -> None:
    similarity = torch.randn(ROW_BLOCK + 3, 4, generator=torch.Generator().manual_seed(0))
    relevance = torch.nn.functional.one_hot(torch.arange(ROW_BLOCK + 3) % 4).bool()
    expected = [1 + int((row > row[good]).sum()) for row, good in zip(similarity, relevance, strict=True)]
    assert ranks(similarity, relevance).tolist() == expected
    own = similarity[relevance][:, None]
    precision = 100 / (1 + (similarity > own).sum(dim=1).double())
    assert mean_average_precision(similarity, relevance) == pytest.approx(float(precision.mean()))


def test_relevance_is_the_diagonal_unless_given() -> None:
    similarity = torch.tensor([[0.9, 0.1], [0.8, 0.2]])
    assert ranks(similarity).tolist() == [1, 2]
    assert ranks(similarity, ~torch.eye(2, dtype=torch.bool)).tolist() == [2, 1]


def test_metrics_print_and_serialise() -> None:
    found = t2v(torch.tensor([[0.9, 0.1], [0.8, 0.2]]))
    assert str(found) == "t2v  R@1 50.0  R@5 100.0  R@10 100.0  R@50 100.0  MdR 1.5  MnR 1.5"
    assert found.to_dict() == {
        "recall_at": {"1": 50.0, "5": 100.0, "10": 100.0, "50": 100.0},
        "median_rank": 1.5,
        "mean_rank": 1.5,
        "num_queries": 2,
        "ties": "pessimistic",
        "direction": "t2v",
    }


def test_what_has_no_rank_is_refused() -> None:
    square = torch.zeros(2, 2)
    with pytest.raises(InputError, match="text 1 and video 0 is NaN"):
        t2v(torch.tensor([[0.0, 0.0], [float("nan"), 0.0]]))
    with pytest.raises(InputError, match="text 1 has no relevant video"):
        t2v(square, torch.tensor([[True, False], [False, False]]))
    with pytest.raises(InputError, match="did you mean 'optimistic'"):
        inspect.unwrap(ranks)(square, ties="optimist")  # past the tests' own check of types
    with pytest.raises(ShapeError, match="as many texts as videos"):
        t2v(torch.zeros(2, 3))
    with pytest.raises(ShapeError, match="relevance"):
        inspect.unwrap(mean_average_precision)(square, torch.ones(2, 1, dtype=torch.bool))
    for empty in (torch.zeros(0, 0), torch.zeros(0, 3)):
        relevance = torch.zeros(empty.shape, dtype=torch.bool)
        for measure in (t2v, v2t, mean_average_precision):
            with pytest.raises(InputError, match="nothing to rank"):
                measure(empty, relevance)
