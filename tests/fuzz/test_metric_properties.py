"""Ranks and metrics against lists that are sorted one text at a time."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from framesift.errors import InputError
from framesift.evaluation import evaluate_similarity
from framesift.metrics import Metrics, group_captions, mean_average_precision, ranks, t2v, v2t

SETTINGS = settings(deadline=None, max_examples=80, derandomize=True)
RULES = ["pessimistic", "mean", "optimistic", "clip4clip"]  # xpool: as torch.argsort leaves it, no rule

levels = st.sampled_from([-math.inf, -1.0, -0.5, 0.0, 0.25, 1.0, math.inf]) | st.floats(-1, 1, width=32)


def matrix(draw: st.DrawFn, texts: int, videos: int) -> Tensor:
    cells = draw(st.lists(levels, min_size=texts * videos, max_size=texts * videos))
    similarity = torch.tensor(cells, dtype=draw(st.sampled_from([torch.float32, torch.float64])))
    return similarity.view(texts, videos)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Many ties, duplicate rows and columns; every text has a video, perhaps several, some videos have none."""
    texts, videos = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    similarity = matrix(draw, texts, videos)
    if draw(st.booleans()):
        similarity = similarity[draw(st.lists(st.integers(0, texts - 1), min_size=texts, max_size=texts))]
        similarity = similarity[
            :, draw(st.lists(st.integers(0, videos - 1), min_size=videos, max_size=videos))
        ]
    bits = st.sets(st.integers(0, videos - 1), min_size=1, max_size=draw(st.integers(1, videos)))
    relevance = torch.zeros(texts, videos, dtype=torch.bool)
    for row in range(texts):
        relevance[row, sorted(draw(bits))] = True
    return similarity, relevance


@st.composite
def captioned(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Every text belongs to one video; videos have none, one or several texts."""
    texts, videos = draw(st.integers(1, 9)), draw(st.integers(1, 5))
    owner = draw(st.lists(st.integers(0, videos - 1), min_size=texts, max_size=texts))
    return matrix(draw, texts, videos), torch.eye(videos, dtype=torch.bool)[owner]


def naive_ranks(row: list[float], relevant: list[bool], rule: str) -> list[float]:
    """The places that a tie rule gives the best relevant video of one text."""
    best = max(score for score, good in zip(row, relevant, strict=True) if good)
    before = sum(score > best for score in row)
    tied = sum(score == best for score in row)
    rivals = sum(score == best and not good for score, good in zip(row, relevant, strict=True))
    match rule:
        case "pessimistic":
            return [before + rivals + 1.0]
        case "optimistic":
            return [before + 1.0]
        case "mean":
            return [before + 1 + rivals / 2]
        case _:
            return [before + place for place in range(1, tied + 1)]


def naive_metrics(similarity: list[list[float]], relevance: list[list[bool]], rule: str) -> tuple[float, ...]:
    found = [
        rank
        for row, good in zip(similarity, relevance, strict=True)
        if any(good)
        for rank in naive_ranks(row, good, rule)
    ]
    recall = [100 * sum(rank <= k for rank in found) / len(found) for k in (1, 5, 10, 50)]
    return (*recall, statistics.median(found), statistics.fmean(found), len(found))


def numbers(metrics: Metrics) -> tuple[float, ...]:
    return (
        *(metrics.recall_at[k] for k in (1, 5, 10, 50)),
        metrics.median_rank,
        metrics.mean_rank,
        metrics.num_queries,
    )


def transposed(rows: Tensor) -> list[list]:
    return rows.T.tolist()


@pytest.mark.parametrize("rule", RULES)
@SETTINGS
@given(problem=problems())
def test_both_directions_are_those_of_brute_force(problem: tuple[Tensor, Tensor], rule: str) -> None:
    similarity, relevance = problem
    expected = naive_metrics(similarity.tolist(), relevance.tolist(), rule)
    assert numbers(t2v(similarity, relevance, ties=rule)) == pytest.approx(expected)  # type: ignore[arg-type]
    expected = naive_metrics(transposed(similarity), transposed(relevance), rule)
    assert numbers(v2t(similarity, relevance, ties=rule)) == pytest.approx(expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", RULES)
@SETTINGS
@given(problem=captioned())
def test_groups_of_captions_rank_by_their_best_caption(problem: tuple[Tensor, Tensor], rule: str) -> None:
    similarity, relevance = problem
    groups = [column for column in range(relevance.shape[1]) if relevance[:, column].any()]
    best = [
        [float(similarity[relevance[:, group], video].max()) for group in groups] for video in groups
    ]  # [video, group]
    diagonal = torch.eye(len(groups), dtype=torch.bool).tolist()
    found = evaluate_similarity(similarity, relevance=relevance, ties=rule)  # type: ignore[arg-type]
    if any(int(relevance[:, group].sum()) > 1 for group in groups):
        assert numbers(found.v2t) == pytest.approx(naive_metrics(best, diagonal, rule))
    assert found.t2v == t2v(similarity, relevance, ties=rule)  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", [*RULES, "xpool"])
@SETTINGS
@given(problem=problems(), data=st.data())
def test_the_order_of_texts_and_videos_does_not_matter(
    problem: tuple[Tensor, Tensor], data: st.DataObject, rule: str
) -> None:
    similarity, relevance = problem
    if rule == "xpool":  # promises nothing about ties: break them
        similarity = torch.randperm(similarity.numel()).view(similarity.shape).float()
    rows = data.draw(st.permutations(range(similarity.shape[0])))
    columns = data.draw(st.permutations(range(similarity.shape[1])))
    for measure in (t2v, v2t):
        before = measure(similarity, relevance, ties=rule)
        after = measure(similarity[rows][:, columns], relevance[rows][:, columns], ties=rule)
        assert numbers(after) == pytest.approx(numbers(before))


@SETTINGS
@given(problems())
def test_rules_are_ordered_and_agree_without_ties(problem: tuple[Tensor, Tensor]) -> None:
    similarity, relevance = problem
    best, middle, worst, other = (
        ranks(similarity, relevance, ties=rule) for rule in ("optimistic", "mean", "pessimistic", "xpool")
    )
    assert (best <= middle).all()
    assert (middle <= worst).all()
    assert ((best <= other) & (other <= worst)).all()
    distinct = similarity.sort(dim=1).values
    if not bool((distinct[:, 1:] == distinct[:, :-1]).any()):
        assert torch.equal(best, worst)


@SETTINGS
@given(problems())
def test_average_precision_counts_irrelevant_equals_first(problem: tuple[Tensor, Tensor]) -> None:
    similarity, relevance = problem
    precisions = []
    for row, good in zip(similarity.tolist(), relevance.tolist(), strict=True):
        order = sorted(range(len(row)), key=lambda column, row=row, good=good: (-row[column], good[column]))
        places = [place for place, column in enumerate(order, start=1) if good[column]]
        precisions.append(statistics.fmean(i / place for i, place in enumerate(places, start=1)))
    expected = 100 * statistics.fmean(precisions)
    assert mean_average_precision(similarity, relevance) == pytest.approx(expected)


@SETTINGS
@given(problems(), st.data())
def test_a_nan_anywhere_is_refused(problem: tuple[Tensor, Tensor], data: st.DataObject) -> None:
    similarity, relevance = problem
    row = data.draw(st.integers(0, similarity.shape[0] - 1))
    column = data.draw(st.integers(0, similarity.shape[1] - 1))
    similarity = similarity.clone()
    similarity[row, column] = math.nan
    measures: list[Callable[[Tensor, Tensor], object]] = [t2v, ranks, mean_average_precision]
    for measure in measures:
        with pytest.raises(InputError, match=f"text {row} and video {column} is NaN"):
            measure(similarity, relevance)


@SETTINGS
@given(captioned())
def test_a_group_without_captions_is_below_everything(problem: tuple[Tensor, Tensor]) -> None:
    similarity, relevance = problem
    groups = group_captions(similarity, relevance)
    assert groups.dtype == similarity.dtype
    for group in range(relevance.shape[1]):
        own = similarity[relevance[:, group]]
        expected = own.amax(dim=0) if len(own) else torch.full((relevance.shape[1],), -math.inf)
        assert groups[group].tolist() == expected.tolist()
