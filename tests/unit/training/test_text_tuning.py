"""The text recipe's parts: sentences in groups, and the choice inside pairs."""

from __future__ import annotations

import math

import pytest
import torch

from framesift.encoders import Encoder, load_encoder
from framesift.training.text_tuning import _choice, real, sentences, told_apart
from tiny_models import tiny_clip

TEXTS = [
    "a red circle moves to the left",
    "a dog",
    "two cats jump, then a small blue square turns green",
    "a dog runs",
    "a man is playing the guitar while it rains",
    "a dog",
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return load_encoder(tiny_clip(tmp_path_factory.mktemp("clip")), device="cpu")


@pytest.mark.parametrize("count", [1, 3, 4, 6])
def test_sentences_keep_their_order_and_values(encoder: Encoder, count: int) -> None:
    found = sentences(encoder, TEXTS[:count])
    torch.testing.assert_close(found, encoder.encode_text(TEXTS[:count]).sentence, atol=1e-5, rtol=0)
    assert found.requires_grad


def test_told_apart_counts_texts_that_prefer_their_own_video() -> None:
    assert told_apart(torch.tensor([[1.0, 0.0], [0.0, 1.0]])) == 100
    assert told_apart(torch.tensor([[0.0, 1.0], [1.0, 0.0]])) == 0
    assert told_apart(torch.tensor([[1.0, 0.0], [1.0, 0.0]])) == 50, "one text of two"
    assert told_apart(torch.full((4, 4), 0.3)) == 50, "ties"


def test_told_apart_looks_inside_pairs_only() -> None:
    similarity = torch.full((4, 4), 9.0)  # other pairs are far more similar
    similarity[:2, :2] = torch.tensor([[1.0, 0.5], [0.5, 1.0]])
    similarity[2:, 2:] = torch.tensor([[1.0, 0.5], [0.7, 0.2]])
    assert told_apart(similarity) == 75


def naive_choice(logits: torch.Tensor) -> float:
    total = 0.0
    for own in range(len(logits)):
        other = own + 1 if own % 2 == 0 else own - 1
        right = math.exp(logits[own, own])
        video = right / (right + math.exp(logits[own, other]))
        text = right / (right + math.exp(logits[other, own]))
        total -= math.log(video) + math.log(text)
    return total / len(logits)


def test_the_choice_is_a_cross_entropy_of_two() -> None:
    logits = 3 * torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert float(_choice(logits)) == pytest.approx(naive_choice(logits), rel=1e-9)
    assert float(_choice(torch.zeros(4, 4))) == pytest.approx(2 * math.log(2))
    other = logits.clone()
    other[0, 2:] += 5  # no pair of its own
    assert float(_choice(other)) == float(_choice(logits))


def test_videos_without_padding() -> None:
    video = real(torch.randn(2, 3, 4))
    assert video.frame_mask.shape == (2, 3)
    assert bool(video.frame_mask.all())
