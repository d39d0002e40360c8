"""Evaluation is the metrics of the similarity matrix, with the field's conventions for captions."""

from __future__ import annotations

import pytest
import torch

from framesift.errors import InputError
from framesift.evaluation import (
    dual_softmax,
    dual_softmax_column,
    evaluate,
    evaluate_similarity,
    inverted_softmax_column,
    qb_norm,
    qb_norm_column,
)
from framesift.features import TextFeatures, VideoFeatures
from framesift.matchers import MeanPool
from framesift.metrics import group_captions, t2v, v2t


def _matrix(texts: int, videos: int) -> torch.Tensor:
    return torch.randn(texts, videos, generator=torch.Generator().manual_seed(0))


def test_a_matcher_is_evaluated_on_all_pairs() -> None:
    generator = torch.Generator().manual_seed(0)
    text = TextFeatures(sentence=torch.randn(9, 4, generator=generator))
    video = VideoFeatures(
        frame=torch.randn(9, 3, 4, generator=generator), frame_mask=torch.ones(9, 3, dtype=torch.bool)
    )
    similarity = MeanPool()(text, video)
    found = evaluate(MeanPool(), text, video)
    assert found.t2v == t2v(similarity)
    assert found.v2t == v2t(similarity)
    assert found.to_dict()["v2t"] == v2t(similarity).to_dict()
    assert str(found).splitlines() == [str(found.t2v), str(found.v2t)]


def test_captions_of_a_video_are_grouped_for_v2t() -> None:
    similarity = _matrix(8, 4)
    owner = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])  # video 3 has no caption
    relevance = owner[:, None] == torch.arange(4)
    found = evaluate_similarity(similarity, relevance=relevance.numpy())
    groups = group_captions(similarity, relevance)[:3, :3]
    assert found.t2v == t2v(similarity, relevance)
    assert found.v2t == v2t(groups)
    assert found.v2t.num_queries == 3


def test_texts_that_answer_several_videos_are_not_grouped() -> None:
    similarity = _matrix(3, 4)
    relevance = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]).bool()
    found = evaluate_similarity(similarity, relevance=relevance)
    assert found.v2t == v2t(similarity, relevance)
    assert found.v2t.num_queries == 4


def test_the_rule_for_ties_is_passed_on() -> None:
    found = evaluate_similarity(torch.zeros(3, 3), ties="optimistic")
    assert found.t2v.recall_at[1] == found.v2t.recall_at[1] == 100
    assert found.t2v.ties == "optimistic"


def test_normalizations_stand_beside_the_plain_numbers_and_say_where_they_come_from() -> None:
    generator = torch.Generator().manual_seed(0)
    similarity = torch.rand(6, 6, generator=generator) * 0.2 + 0.1 * torch.eye(6)
    bank = torch.rand(20, 6, generator=generator) * 0.2
    columns = [
        dual_softmax_column(temperature=50.0),
        inverted_softmax_column(temperature=50.0, v2t="transpose"),
        qb_norm_column(bank, source="20 made-up captions", beta=20.0),
    ]
    plain = evaluate_similarity(similarity)
    result = evaluate_similarity(similarity, beside=columns)
    assert (result.t2v, result.v2t) == (plain.t2v, plain.v2t), "the headline is what a search gives"
    assert list(result.beside) == [column.label for column in columns]
    dual = dual_softmax(similarity, temperature=50.0)
    assert result.beside[columns[0].label].t2v == t2v(dual.t2v)
    assert result.beside[columns[0].label].v2t == v2t(dual.v2t)
    normed = result.beside[columns[2].label]
    assert normed.t2v == t2v(qb_norm(similarity, bank, beta=20.0))
    assert normed.v2t == plain.v2t
    document = result.to_dict()
    assert document["t2v"] == plain.to_dict()["t2v"]
    assert document["beside"][columns[2].label]["source"] == "20 made-up captions"
    assert "beside, by QB-Norm, beta 20, k 1, bank of 20, t2v only from 20 made-up captions:" in str(result)
    both = qb_norm_column(bank, source="s", beta=20.0, v2t_bank=bank)
    assert "t2v only" not in both.label
    with pytest.raises(InputError, match="two columns"):
        evaluate_similarity(similarity, beside=[columns[0], columns[0]])
    with pytest.raises(InputError, match="where the query bank comes from"):
        qb_norm_column(bank, source=" ", beta=20.0)
