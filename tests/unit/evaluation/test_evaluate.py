"""Evaluation is the metrics of the similarity matrix, with the field's conventions for captions."""

from __future__ import annotations

import torch

from framesift.evaluation import evaluate, evaluate_similarity
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
