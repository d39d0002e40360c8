"""X-Pool: training, and the corners of its fast forms."""

from __future__ import annotations

import pytest
import torch

from framesift.features import TextFeatures, VideoFeatures
from framesift.matchers import XPool, XPoolConfig, xpool_folded
from framesift.metrics import t2v
from framesift.similarity import similarity_matrix
from framesift.training.losses import symmetric_contrastive
from framesift.training.optim import adamw

CLOSE = {"atol": 2e-6, "rtol": 1e-5}


def _head(dim: int, *, heads: int = 1, dropout: float = 0.3) -> XPool:
    generator = torch.Generator().manual_seed(0)
    matcher = XPool(XPoolConfig(dim=dim, num_heads=heads, dropout=dropout))
    with torch.no_grad():
        for parameter in matcher.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return matcher.eval()


def _features(texts: int, videos: int, frames: int, dim: int) -> tuple[TextFeatures, VideoFeatures]:
    generator = torch.Generator().manual_seed(1)
    mask = torch.rand(videos, frames, generator=generator) > 0.2
    return (
        TextFeatures(sentence=3 * torch.randn(texts, dim, generator=generator)),
        VideoFeatures(frame=3 * torch.randn(videos, frames, dim, generator=generator), frame_mask=mask),
    )


def test_it_overfits_a_few_pairs() -> None:
    """Texts that mean-pooling cannot tell apart: videos hold the same frames in pairs, one scene different."""
    torch.manual_seed(0)
    dim, pairs = 32, 12
    shared = torch.randn(pairs // 2, 3, dim).repeat_interleave(2, dim=0)
    own = torch.randn(pairs, 1, dim)
    mask = torch.ones(pairs, 4, dtype=torch.bool)
    video = VideoFeatures(frame=torch.cat([shared, own], dim=1), frame_mask=mask)
    text = TextFeatures(sentence=torch.randn(pairs, dim))  # unrelated: everything has to be learned
    matcher = XPool(XPoolConfig(dim=dim, dropout=0.0))
    assert t2v(similarity_matrix(matcher, text, video)).recall_at[1] < 50
    optimizer = adamw([{"params": list(matcher.parameters()), "lr": 1e-2}], weight_decay=0.0)
    scale = torch.tensor(3.0)
    for _ in range(60):
        optimizer.zero_grad()
        symmetric_contrastive(matcher(text, video), scale).backward()
        optimizer.step()
    assert t2v(similarity_matrix(matcher.eval(), text, video)).recall_at[1] == 100


def test_dropout_is_on_the_linear_branch_in_training_only() -> None:
    text, video = _features(3, 4, 5, 16)
    matcher = _head(16, dropout=0.5)
    assert torch.equal(matcher(text, video), matcher(text, video))
    matcher.train()
    assert not torch.equal(matcher(text, video), matcher(text, video))
    without = _head(16, dropout=0.0).train()
    torch.testing.assert_close(without(text, video), without.scorer(video)(text), **CLOSE)
    torch.testing.assert_close(without.query_scorer(text)(video), matcher.scorer(video)(text), **CLOSE)


@pytest.mark.parametrize(("frames", "heads"), [(4, 1), (16, 1), (17, 1), (4, 4), (8, 4), (9, 4)])
def test_wide_and_narrow_videos_score_the_same_way(frames: int, heads: int) -> None:
    """Both sides of the width from which Gram matrices no longer pay."""
    text, video = _features(5, 6, frames, 32)
    matcher = _head(32, heads=heads)
    torch.testing.assert_close(matcher.scorer(video)(text), matcher(text, video).detach(), **CLOSE)


@pytest.mark.parametrize("heads", [1, 4])
@pytest.mark.parametrize("texts", [0, 3])
def test_attention_is_the_same_without_gradients(texts: int, heads: int) -> None:
    """The projection of the keys moves to the texts, and what is masked may hold anything."""
    text, video = _features(texts, 6, 9, 32)
    video.frame_mask[1, 4:] = False
    video.frame_mask[2] = False
    matcher = _head(32, heads=heads)
    expected = matcher.attention(text, video)
    assert expected.requires_grad
    video.frame[~video.frame_mask] = torch.nan
    with torch.no_grad():
        torch.testing.assert_close(matcher.attention(text, video), expected.detach(), **CLOSE)


def test_small_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    text, video = _features(9, 11, 4, 32)
    matcher = _head(32, heads=2)
    expected = matcher(text, video).detach()
    for name in ("TEXT_BLOCK", "FOLD_BLOCK", "CANDIDATE_BLOCK"):
        monkeypatch.setattr(xpool_folded, name, 2)
    monkeypatch.setattr(xpool_folded, "BLOCK_ELEMENTS", 1)
    torch.testing.assert_close(matcher.scorer(video)(text), expected, **CLOSE)
    torch.testing.assert_close(matcher.query_scorer(text)(video), expected, **CLOSE)


def test_an_untrained_head_scores_zero_frames_zero() -> None:
    """The published form divides zero by zero here."""
    matcher = XPool(XPoolConfig(dim=16)).eval()
    text, video = _features(3, 4, 5, 16)
    video.frame[1] = 0.0
    for found in (matcher(text, video), matcher.scorer(video)(text), matcher.query_scorer(text)(video)):
        assert bool((found[:, 1] == 0).all())
        assert bool((found[:, 0] != 0).all())


def test_a_zero_text_scores_zero() -> None:
    matcher = _head(16)
    text, video = _features(3, 4, 5, 16)
    text.sentence[2] = 0.0
    for found in (matcher(text, video), matcher.scorer(video)(text), matcher.query_scorer(text)(video)):
        assert bool((found[2] == 0).all())
        assert bool(found.isfinite().all())


def test_extreme_features_stay_finite() -> None:
    matcher = _head(16)
    text, video = _features(3, 4, 5, 16)
    for factor in (1e-12, 1e12):
        big = VideoFeatures(frame=video.frame * factor, frame_mask=video.frame_mask)
        expected = matcher(text, big).detach()
        assert bool(expected.isfinite().all())
        torch.testing.assert_close(matcher.scorer(big)(text), expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(matcher.query_scorer(text)(big), expected, atol=1e-5, rtol=1e-5)


def test_scores_do_not_depend_on_the_length_of_a_text() -> None:
    """The cosine ignores it, and so does attention, up to LayerNorm's epsilon."""
    matcher = _head(64)
    text, video = _features(4, 5, 3, 64)
    longer = TextFeatures(sentence=100 * text.sentence)
    torch.testing.assert_close(matcher(text, video), matcher(longer, video), atol=1e-5, rtol=1e-5)


def test_double_precision_agrees_to_its_own_rounding() -> None:
    """The closed form is exact, not an approximation that float32 hides."""
    matcher = _head(64, heads=2).double()
    text, video = _features(6, 7, 5, 64)
    expected = matcher(text, video).detach()
    assert expected.dtype == torch.float64
    torch.testing.assert_close(matcher.scorer(video)(text), expected, atol=1e-13, rtol=1e-11)
    torch.testing.assert_close(matcher.query_scorer(text)(video), expected, atol=1e-13, rtol=1e-11)


def test_a_half_precision_head_is_folded_in_single_precision() -> None:
    text, video = _features(6, 7, 5, 64)
    half = _head(64).bfloat16()
    expected = _head(64).bfloat16().float()(text, video).detach()
    torch.testing.assert_close(half.scorer(video)(text), expected, **CLOSE)
    torch.testing.assert_close(half.query_scorer(text)(video), expected, **CLOSE)
    assert half.linear_proj.weight.dtype == torch.bfloat16


def test_pooled_vectors_give_the_similarity() -> None:
    text, video = _features(3, 4, 5, 16)
    matcher = _head(16)
    pooled = matcher.pool(text, video)
    assert pooled.shape == (3, 4, 16)
    cosine = torch.nn.functional.cosine_similarity(text.sentence[:, None], pooled, dim=2)
    torch.testing.assert_close(matcher(text, video), cosine)


def test_folded_queries_follow_weights_that_change_or_are_replaced() -> None:
    text, video = _features(3, 4, 5, 16)
    matcher = _head(16)

    def check() -> None:
        found = matcher.query_scorer(text)(video)
        torch.testing.assert_close(found, matcher(text, video).detach(), **CLOSE)

    check()
    with torch.no_grad():
        matcher.cross_attn.v_proj.weight += 0.5 * torch.randn(16, 16)
    check()
    matcher.cross_attn.out_proj = torch.nn.Linear(16, 16)
    check()
    matcher.load_state_dict(_head(16).state_dict(), assign=True)
    check()
