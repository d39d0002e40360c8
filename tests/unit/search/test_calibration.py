"""Relevance: the same for every scale of scores, honest about what luck reaches, silent where nothing can be told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from colour_model import ColourModel
from framesift.features import VideoFeatures
from framesift.ranking import MemoryGallery
from framesift.search.calibration import (
    THRESHOLD,
    Luck,
    Neutral,
    expected_maximum,
    luck_of,
    neutral,
    nothing_fits,
    relevance,
)
from framesift.search.neutral import EVERYDAY, neutral_texts
from framesift.search.terms import background


@pytest.mark.parametrize("n", [2, 10, 100, 1000])
def test_the_best_of_n_draws(n: int) -> None:
    drawn = np.random.default_rng(0).normal(size=(4000, n)).max(axis=1)
    assert expected_maximum(n) == pytest.approx(drawn.mean(), abs=0.04)
    if n >= 100:
        assert luck_of(n).spread == pytest.approx(drawn.std(), abs=0.06)


@given(factor=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
def test_relevance_does_not_depend_on_the_scale_of_scores(factor: float, shift: float) -> None:
    sample = np.random.default_rng(0).normal(size=100)
    scores = np.array([0.5, 2.0, 4.0])
    same = relevance(scores * factor + shift, sample * factor + shift, 100)
    np.testing.assert_allclose(same, relevance(scores, sample, 100), atol=1e-6)


def test_more_is_more_relevant_and_a_larger_gallery_asks_for_more() -> None:
    sample = np.random.default_rng(0).normal(size=256)
    found = relevance([1.0, 3.0, 6.0], sample, 256)
    assert found is not None
    assert 0 <= found[0] < found[1] < found[2] <= 1
    assert found[2] > 0.9
    larger = relevance([3.0], sample, 100_000)
    assert larger is not None
    assert larger[0] < found[1]


def test_of_a_few_moments_nothing_is_told() -> None:
    sample = np.arange(29.0)
    assert relevance([100.0], sample, 29) is None
    assert not nothing_fits([0.0], sample, 29)
    assert relevance([100.0], np.arange(30.0), 30) is not None


def test_noise_is_told_from_an_answer() -> None:
    dice = np.random.default_rng(0)
    alarms = hits = 0
    for _ in range(200):
        noise = dice.normal(size=300)
        alarms += nothing_fits(noise, noise[:256], 300)
        answered = np.append(noise, 5.0)
        hits += not nothing_fits(answered, answered[:256], 301)
    assert hits > 190
    assert (
        alarms > 50
    )  # the best of noise is at its own typical height: it is said where luck was no better than usual


def test_the_threshold_is_where_nothing_fits_begins() -> None:
    sample, luck = np.array([-1.0, 1.0] * 50), Luck(typical=2.0, spread=0.5)
    heights = np.linspace(0, 4, 81)
    told = [relevance([height], sample, 100, luck) for height in heights]
    said = [nothing_fits([height], sample, 100, luck) for height in heights]
    assert said == [bool(one is not None and one[0] < THRESHOLD) for one in told]
    assert said[0]
    assert not said[-1]


def test_neutral_sentences_set_the_height_of_luck() -> None:
    """A query whose best is what neutral sentences reach is told as such, on the query's own scale."""
    own = np.array([-2.0, 2.0] * 50)  # mean 0, deviation 2
    bank = Neutral(best=np.array([5.0, 7.0]), deviation=np.array([1.0, 1.0]), sample=100)
    luck = bank.luck(own, 100)
    assert luck.typical == pytest.approx(3.0)
    assert luck.spread == pytest.approx(0.5)
    assert bank.luck(own, 10_000).typical > luck.typical
    low, high = relevance([6.0], own, 100, luck), relevance([12.0], own, 100, luck)
    assert low is not None
    assert high is not None
    assert low[0] < 0.5 < high[0]


def test_sentences_that_all_reach_the_same_tell_nothing() -> None:
    bank = Neutral(best=np.ones(3), deviation=np.zeros(3), sample=50)
    assert bank.luck(np.arange(50.0), 50) == luck_of(50)


def test_luck_of_several_terms_is_their_weighted_mean() -> None:
    one, other = Luck(typical=1.0, spread=0.2), Luck(typical=3.0, spread=0.4)
    both = luck_of(100, [(1.0, one), (3.0, other)])
    assert (both.typical, both.spread) == (pytest.approx(2.5), pytest.approx(0.35))


def test_what_neutral_sentences_reach_is_measured_in_the_background() -> None:
    dice = torch.Generator().manual_seed(0)
    video = VideoFeatures(
        frame=torch.randn(40, 3, 4, generator=dice), frame_mask=torch.ones(40, 3, dtype=torch.bool)
    )
    found = neutral(ColourModel(), background(MemoryGallery(video)))
    assert found.best.shape == found.deviation.shape == (len(EVERYDAY),)
    assert found.sample == 40


def test_models_are_asked_what_they_know() -> None:
    bundled = ColourModel(name="storyboard-clip")
    assert neutral_texts(ColourModel()) == EVERYDAY
    assert not set(neutral_texts(bundled)) & set(EVERYDAY)
    assert neutral_texts(bundled) == neutral_texts(bundled)
