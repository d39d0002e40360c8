"""Intervals cover what they should, and tests of differences equal counting by hand."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest

from framesift.errors import DatasetError, InputError, ShapeError
from framesift.evaluation import (
    OverSeeds,
    bootstrap_interval,
    metric_intervals,
    paired_differences,
    summarise_seeds,
)
from framesift.evaluation.significance import mcnemar, sign_flip, t_quantile


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    trials, inside = 300, 0
    for _ in range(trials):
        low, high = bootstrap_interval(generator.random(200) < 0.4, draws=400)
        inside += low <= 40 <= high
    assert 0.91 <= inside / trials <= 0.98


def test_captions_of_one_video_count_as_one_draw() -> None:
    """Ten captions that are answered alike are no ten times surer; resampling captions would say they are."""
    generator = np.random.default_rng(0)
    trials, inside, inside_naive = 200, 0, 0
    clusters = np.repeat(np.arange(60), 10)
    for _ in range(trials):
        hits = np.repeat(generator.random(60) < 0.4, 10)
        low, high = bootstrap_interval(hits, clusters=clusters, draws=400)
        inside += low <= 40 <= high
        low, high = bootstrap_interval(hits, draws=400)
        inside_naive += low <= 40 <= high
    assert 0.90 <= inside / trials <= 0.99
    assert inside_naive / trials < 0.7


def test_metrics_of_resamples_equal_those_of_drawn_queries() -> None:
    ranks = np.random.default_rng(0).geometric(0.1, size=101)
    found = metric_intervals(ranks, recall_at=(1, 5), draws=4000)
    drawn = ranks[np.random.default_rng(1).integers(0, 101, size=(4000, 101))]
    expected = {
        "R@1": 100 * (drawn <= 1).mean(axis=1),
        "R@5": 100 * (drawn <= 5).mean(axis=1),
        "MdR": np.median(drawn, axis=1),
        "MnR": drawn.mean(axis=1),
    }
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name] == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=1.0), name
    assert metric_intervals(ranks)["R@1"] == metric_intervals(ranks)["R@1"], "the seed decides"


@pytest.mark.parametrize("clusters", [None, np.arange(40) // 4])
def test_a_system_does_not_differ_from_itself(clusters: np.ndarray | None) -> None:
    ranks = np.random.default_rng(0).geometric(0.2, size=40)
    for name, difference in paired_differences(ranks, ranks, clusters=clusters).items():
        assert (difference.value, difference.low, difference.high) == (0, 0, 0)
        assert difference.p == (None if name == "MdR" else 1)


def test_a_difference_is_that_of_the_metrics_and_a_large_one_is_significant() -> None:
    generator = np.random.default_rng(0)
    worse = generator.geometric(0.1, size=400)
    better = np.maximum(1, worse - generator.integers(0, 5, size=400))
    found = paired_differences(worse, better)
    assert found["R@1"].value == pytest.approx(100 * ((better <= 1).mean() - (worse <= 1).mean()))
    assert found["MdR"].value == np.median(better) - np.median(worse)
    assert found["MnR"].value == pytest.approx((better - worse).mean())
    for name in ("R@1", "MnR"):
        difference = found[name]
        assert difference.low <= difference.value <= difference.high
        assert (difference.low > 0) == (name == "R@1")
        assert difference.p is not None
        assert difference.p < 0.001
        assert difference.n == 400
    assert "p < 0.0001" in str(found["R@1"])
    json.dumps(found["R@1"].to_dict())


def test_under_the_null_small_p_are_as_rare_as_they_say() -> None:
    generator = np.random.default_rng(0)
    trials = 300
    small = 0
    for _ in range(trials):
        common = generator.random(150)
        a, b = (generator.random(150) < 0.2 + 0.6 * common for _ in range(2))
        small += mcnemar(a, b) < 0.05
    assert small / trials <= 0.07, "the exact test is never too bold"


def test_mcnemar_equals_brute_force() -> None:
    """Every assignment of the queries that the systems answer differently is equally likely."""
    generator = np.random.default_rng(0)
    for n in (1, 2, 5, 10):
        a, b = generator.random(n) < 0.7, generator.random(n) < 0.3
        wins = (b.astype(int) - a)[a != b]
        observed = abs(wins.sum())
        patterns = [abs(np.dot(signs, np.abs(wins))) for signs in product((-1, 1), repeat=len(wins))]
        assert mcnemar(a, b) == pytest.approx(np.mean([value >= observed for value in patterns]))
        assert sign_flip(b * 1.0 - a) == pytest.approx(mcnemar(a, b)), "on 0/1 values the two are one test"
    assert mcnemar([True] * 2000, [False] * 2000) == pytest.approx(2.0**-1999)


def test_sampled_sign_flips_agree_with_exact_ones() -> None:
    d = np.random.default_rng(0).normal(0.35, 1, size=14)
    exact = np.mean(
        [abs(np.dot(signs, d)) >= abs(d.sum()) - 1e-9 for signs in product((-1, 1), repeat=len(d))]
    )
    assert sign_flip(d) == pytest.approx(exact, abs=0.015)
    clusters = np.arange(14) // 7
    assert sign_flip(d, clusters=clusters) in (0.5, 1.0), "two videos have four sign patterns"


def test_mistakes_are_named() -> None:
    with pytest.raises(InputError, match="at least one query"):
        bootstrap_interval([])
    with pytest.raises(ShapeError, match="clusters"):
        bootstrap_interval([1, 0], clusters=[1])
    with pytest.raises(ShapeError, match="two systems"):
        paired_differences([1, 2], [1])
    with pytest.raises(InputError, match="t_quantile"):
        t_quantile(0.3, 2)


@pytest.mark.parametrize(  # tables of Student's t
    ("degrees", "expected"), [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (10, 2.2281), (30, 2.0423)]
)
def test_quantiles_of_student(degrees: int, expected: float) -> None:
    assert t_quantile(0.975, degrees) == pytest.approx(expected, abs=5e-5)


def _result(r1: float, *, content_hash: str = "a" * 16, ties: str = "pessimistic") -> dict[str, object]:
    metrics = {"recall_at": {"1": r1, "5": 80.0}, "median_rank": 2.0, "mean_rank": 9.0, "ties": ties}
    return {"split": {"content_hash": content_hash}, "t2v": metrics, "v2t": metrics}


def test_seeds_are_summarised() -> None:
    found = summarise_seeds([_result(40.0), _result(42.0), _result(44.0)])["t2v"]
    r1 = found["R@1"]
    assert (r1.mean, r1.sd, r1.n) == (42.0, 2.0, 3)
    assert r1.low == pytest.approx(42 - 4.3027 * 2 / 3**0.5, abs=1e-3)
    assert found["R@5"].low == found["R@5"].high == 80
    assert "3 seeds" in str(r1)
    single = summarise_seeds([_result(40.0)])["v2t"]["R@1"]
    assert single == OverSeeds(mean=40.0, sd=None, low=None, high=None, n=1)
    assert "single seed" in str(single)


def test_seeds_of_different_splits_or_rules_are_refused() -> None:
    with pytest.raises(DatasetError, match=r"a{16}, b{16}"):
        summarise_seeds([_result(40.0), _result(42.0, content_hash="b" * 16)])
    with pytest.raises(InputError, match="different rules"):
        summarise_seeds([_result(40.0), _result(42.0, ties="mean")])
    with pytest.raises(InputError, match="no result"):
        summarise_seeds([])
    with pytest.raises(InputError, match="which split"):
        summarise_seeds([{"t2v": {}}])
    with pytest.raises(InputError, match="lacks the metrics of t2v"):
        summarise_seeds([{"split": {"content_hash": "x"}}])
