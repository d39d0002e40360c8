"""Blockwise similarity."""

from __future__ import annotations

import pytest
import torch

from framesift.errors import InputError
from framesift.features import TextFeatures, VideoFeatures
from framesift.matchers import MeanPool, XPool, XPoolConfig
from framesift.matchers.base import Matcher
from framesift.similarity import similarity_matrix

DIM = 8


def _features(texts: int, videos: int) -> tuple[TextFeatures, VideoFeatures]:
    generator = torch.Generator().manual_seed(0)
    return (
        TextFeatures(sentence=torch.randn(texts, DIM, generator=generator)),
        VideoFeatures(
            frame=torch.randn(videos, 3, DIM, generator=generator),
            frame_mask=torch.ones(videos, 3, dtype=torch.bool),
        ),
    )


class Recorder(Matcher):
    """Counts what it is given; has no fast form of its own."""

    name = "recorder"
    Config = dict

    def __init__(self) -> None:
        super().__init__({})
        self.calls: list[tuple[int, int]] = []

    def forward(self, text: TextFeatures, video: VideoFeatures) -> torch.Tensor:
        self.calls.append((len(text), len(video)))
        return text.sentence[:, :1] * video.frame[:, 0, 0]

    def attention(self, text: TextFeatures, video: VideoFeatures) -> torch.Tensor:
        raise NotImplementedError


def test_blocks_cover_the_matrix_once() -> None:
    matcher, (text, video) = Recorder(), _features(5, 7)
    found = similarity_matrix(matcher, text, video, text_block=2, video_block=3, fast=False)
    assert torch.equal(found, text.sentence[:, :1] * video.frame[:, 0, 0])
    assert sorted(matcher.calls) == sorted((t, v) for t in (2, 2, 1) for v in (3, 3, 1))


@pytest.mark.parametrize("form", ["scorer", "query_scorer", "similarity_matrix"])
def test_a_matcher_without_fast_forms_never_sees_a_large_block(form: str) -> None:
    matcher, (text, video) = Recorder(), _features(300, 2000)
    if form == "scorer":
        found = matcher.scorer(video)(text)
    elif form == "query_scorer":
        found = matcher.query_scorer(text)(video)
    else:
        found = similarity_matrix(matcher, text, video)
    assert torch.equal(found, text.sentence[:, :1] * video.frame[:, 0, 0])
    assert max(t * v for t, v in matcher.calls) <= 256 * 32


def test_results_carry_no_graph_and_can_be_changed() -> None:
    text, video = _features(2, 2)
    found = similarity_matrix(XPool(XPoolConfig(dim=DIM)).eval(), text, video)
    assert not found.requires_grad
    found[0, 0] = 1.0
    assert float(found[0, 0]) == 1.0


@pytest.mark.parametrize("block", [{"text_block": 0}, {"video_block": -1}])
def test_blocks_must_be_positive(block: dict[str, int]) -> None:
    with pytest.raises(InputError, match="must be at least 1"):
        similarity_matrix(MeanPool(), *_features(2, 2), **block)
