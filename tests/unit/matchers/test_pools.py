"""MeanPool, TopK and SoftmaxPool against loops over pairs."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from framesift.errors import ConfigError
from framesift.features import TextFeatures, VideoFeatures
from framesift.matchers import MeanPool, SoftmaxPool, SoftmaxPoolConfig, TopK, TopKConfig
from framesift.matchers import weighted_pool as weighted_pool_module

DIM = 6


def _features() -> tuple[TextFeatures, VideoFeatures]:
    generator = torch.Generator().manual_seed(0)
    mask = torch.tensor([[True] * 5, [True, False, True, False, False], [True] + [False] * 4])
    return (
        TextFeatures(sentence=torch.randn(4, DIM, generator=generator)),
        VideoFeatures(frame=torch.randn(3, 5, DIM, generator=generator), frame_mask=mask),
    )


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


def _naive(text: TextFeatures, video: VideoFeatures, choose: object) -> Tensor:
    """Cosine of each text with the sum of weights times unit frames; ``choose``: cosines -> weights."""
    result = torch.zeros(len(text), len(video))
    for t, sentence in enumerate(text.sentence):
        for v, (frames, mask) in enumerate(zip(video.frame, video.frame_mask, strict=True)):
            real = [frame / frame.norm() for frame, good in zip(frames, mask, strict=True) if good]
            weights = choose([_cosine(sentence, frame) for frame in real])  # type: ignore[operator]
            result[t, v] = _cosine(sentence, sum(w * f for w, f in zip(weights, real, strict=True)))
    return result


def test_mean_pool() -> None:
    text, video = _features()
    expected = _naive(text, video, lambda cosines: [1 / len(cosines)] * len(cosines))
    torch.testing.assert_close(MeanPool()(text, video), expected)


@pytest.mark.parametrize("k", [1, 2, 3, 9])
def test_top_k_uses_what_a_short_video_has(k: int) -> None:
    text, video = _features()

    def choose(cosines: list[float]) -> list[float]:
        best = sorted(cosines, reverse=True)[:k]
        return [float(cosine in best) for cosine in cosines]

    torch.testing.assert_close(TopK(TopKConfig(k=k))(text, video), _naive(text, video, choose))
    attention = TopK(TopKConfig(k=k)).attention(text, video)
    counted = torch.minimum(video.frame_mask.sum(dim=1), torch.tensor(k)).expand(4, 3)
    assert torch.equal((attention > 0).sum(dim=2), counted)


@pytest.mark.parametrize("temperature", [0.01, 0.1, 10.0])
def test_softmax_pool(temperature: float) -> None:
    text, video = _features()

    def choose(cosines: list[float]) -> list[float]:
        raw = [math.exp(cosine / temperature) for cosine in cosines]
        return [value / sum(raw) for value in raw]

    matcher = SoftmaxPool(SoftmaxPoolConfig(temperature=temperature))
    torch.testing.assert_close(matcher(text, video), _naive(text, video, choose))


def test_small_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    text, video = _features()
    expected = TopK()(text, video)
    monkeypatch.setattr(weighted_pool_module, "BLOCK_ELEMENTS", 1)
    torch.testing.assert_close(TopK().scorer(video)(text), expected)


def test_frames_that_cancel_stay_within_the_range_of_a_cosine() -> None:
    """Opposite frames sum to rounding errors, which no closed form may blow up."""
    frame = torch.randn(1, 1, 512, generator=torch.Generator().manual_seed(0))
    video = VideoFeatures(
        frame=torch.cat([frame, -frame], dim=1), frame_mask=torch.ones(1, 2, dtype=torch.bool)
    )
    text = TextFeatures(sentence=torch.randn(50, 512, generator=torch.Generator().manual_seed(1)))
    for matcher in (TopK(), SoftmaxPool(SoftmaxPoolConfig(temperature=1e6))):
        assert bool((matcher.scorer(video)(text).abs() <= 1).all())


def test_a_zero_text_or_video_scores_zero() -> None:
    text, video = _features()
    text.sentence[0] = 0.0
    video.frame[1] = 0.0
    for matcher in (MeanPool(), TopK(), SoftmaxPool()):
        for found in (matcher(text, video), matcher.scorer(video)(text), matcher.query_scorer(text)(video)):
            assert bool((found[0] == 0).all())
            assert bool((found[:, 1] == 0).all())


def test_configurations_are_checked() -> None:
    with pytest.raises(ConfigError, match="k=0"):
        TopKConfig(k=0)
    for temperature in (0.0, -1.0, float("nan")):
        with pytest.raises(ConfigError, match="temperature"):
            SoftmaxPoolConfig(temperature=temperature)
