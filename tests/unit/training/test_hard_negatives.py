"""Hard negatives: never a positive, as likely as the first stage says, the same for the same generator."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from framesift.errors import InputError, ShapeError
from framesift.training.hard_negatives import draw_matching_pairs, matching_loss, negative_probabilities
from golden_files import golden_files, read_golden


@pytest.mark.parametrize("path", golden_files("crosstvr_rerank_*.safetensors"))
def test_probabilities_equal_the_recorded_ones(path: Path) -> None:
    golden, _ = read_golden(path)
    logits = golden["coarse_sim"]
    own = torch.eye(len(logits), dtype=torch.bool)
    torch.testing.assert_close(negative_probabilities(logits, own), golden["neg_video_prob_per_text"])
    torch.testing.assert_close(negative_probabilities(logits.T, own), golden["neg_text_prob_per_video"])


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(2, 4), st.sampled_from([1.0, 100.0]))
def test_a_positive_is_never_drawn(seed: int, size: int, videos: int, scale: float) -> None:
    """Captions of the same few videos in one batch: every column of a text's own video belongs to it."""
    generator = torch.Generator().manual_seed(seed)
    owner = torch.randint(0, videos, (size,), generator=generator)
    owner[:2] = torch.tensor([0, 1])  # or there might be no negative at all
    relevance = owner[:, None] == owner
    logits = scale * (torch.randn(size, size, generator=generator) + 5 * relevance)
    drawn = draw_matching_pairs(logits, relevance, generator=generator)
    assert drawn.pairs.shape == (3 * size, 2)
    assert torch.equal(relevance[drawn.pairs[:, 0], drawn.pairs[:, 1]], drawn.match)
    own = torch.arange(size)
    assert torch.equal(drawn.pairs[:size], torch.stack([own, own], dim=1))
    assert torch.equal(drawn.pairs[size : 2 * size, 0], own)
    assert torch.equal(drawn.pairs[2 * size :, 1], own)


def test_the_draws_follow_the_similarity() -> None:
    logits = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    counts = torch.zeros(2, 4, 4)
    draws = 4000
    for _ in range(draws):
        pairs = draw_matching_pairs(logits, generator=generator).pairs
        for part, block in enumerate((pairs[4:8], pairs[8:])):
            counts[part, block[:, 0], block[:, 1]] += 1
    own = torch.eye(4, dtype=torch.bool)
    expected = torch.stack([negative_probabilities(logits, own), negative_probabilities(logits.T, own).T])
    assert (counts / draws - expected).abs().max() < 5 * math.sqrt(0.25 / draws)


def test_the_same_generator_draws_the_same_pairs() -> None:
    logits = torch.randn(9, 9, generator=torch.Generator().manual_seed(0))
    first, again, other = (
        draw_matching_pairs(logits, generator=torch.Generator().manual_seed(seed)).pairs for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_sampling_carries_no_gradient() -> None:
    logits = torch.randn(3, 3, requires_grad=True)
    assert not draw_matching_pairs(logits).pairs.requires_grad


def test_the_loss_is_the_mean_binary_cross_entropy() -> None:
    logits = torch.tensor([[0.5, 2.0], [1.0, -1.0], [0.0, 3.0]])
    match = torch.tensor([True, False, False])
    odds = (logits[:, 1] - logits[:, 0]).tolist()
    expected = (math.log1p(math.exp(-odds[0])) + sum(math.log1p(math.exp(o)) for o in odds[1:])) / 3
    assert matching_loss(logits, match).item() == pytest.approx(expected)


def test_what_has_no_negative_is_refused() -> None:
    with pytest.raises(InputError, match="row 0 has no negative"):
        draw_matching_pairs(torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.bool))
    with pytest.raises(InputError, match="row 0 has no negative"):
        draw_matching_pairs(torch.zeros(1, 1))
    with pytest.raises(InputError, match="not all finite"):
        draw_matching_pairs(torch.full((2, 2), torch.nan))
    with pytest.raises(ShapeError, match="square"):
        draw_matching_pairs(torch.zeros(2, 3))
