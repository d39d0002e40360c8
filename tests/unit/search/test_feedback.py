"""Rocchio's query."""

from __future__ import annotations

import pytest
import torch

from framesift.errors import ShapeError
from framesift.features import TextFeatures, VideoFeatures, unit
from framesift.search.feedback import DISLIKED, LIKED, move


def rows(*vectors: list[float]) -> VideoFeatures:
    frame = torch.tensor(vectors)[:, None]
    return VideoFeatures(frame=frame, frame_mask=torch.ones(frame.shape[:2], dtype=torch.bool))


def test_the_query_is_the_sum_that_rocchio_wrote() -> None:
    query = TextFeatures(sentence=torch.tensor([[2.0, 0.0, 0.0]]))
    found = move(query, rows([0, 3.0, 0], [0, 0, 5.0]), rows([0, 7.0, 0])).sentence[0]
    expected = torch.tensor([1.0, LIKED / 2 - DISLIKED, LIKED / 2])
    torch.testing.assert_close(found, expected)


def test_it_comes_nearer_to_what_was_liked_and_leaves_what_was_disliked() -> None:
    query = TextFeatures(sentence=torch.tensor([[1.0, 0.2, 0.2]]))
    good, bad = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 0.0, 1.0])
    moved = unit(move(query, rows(good.tolist()), rows(bad.tolist())).sentence[0])
    before = unit(query.sentence[0])
    assert moved @ good > before @ good
    assert moved @ bad < before @ bad


def test_nothing_said_moves_nothing_and_words_stay() -> None:
    word, mask = torch.randn(1, 2, 3), torch.ones(1, 2, dtype=torch.bool)
    query = TextFeatures(sentence=torch.tensor([[3.0, 4.0, 0.0]]), word=word, word_mask=mask)
    none = rows([1.0, 0, 0])[[]]
    for found in (move(query), move(query, none, none)):
        torch.testing.assert_close(unit(found.sentence), unit(query.sentence))
        assert found.word is word


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ShapeError):
        move(TextFeatures(sentence=torch.ones(2, 3)))
    with pytest.raises(ShapeError):
        move(TextFeatures(sentence=torch.ones(1, 4)), rows([1.0, 0, 0]))
