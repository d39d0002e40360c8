"""Every matcher is a matcher: what each one in the registry promises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from framesift.config import from_dict, to_dict
from framesift.errors import ShapeError
from framesift.features import TextFeatures, VideoFeatures
from framesift.matchers import MATCHERS, Matcher, MultiGrained, MultiGrainedConfig, XPool, XPoolConfig
from framesift.similarity import similarity_matrix

TEXTS, VIDEOS, FRAMES, DIM = 7, 6, 5, 64  # 4 heads x 5 frames still fold (XPool's GRAM_WIDTH)
WORDS = 9
CLOSE = {"atol": 2e-6, "rtol": 1e-5}

BUILD = {
    **{name: cls.Config for name, cls in MATCHERS.items() if cls not in (XPool, MultiGrained)},
    "xpool": lambda: XPoolConfig(dim=DIM, dropout=0.0),
    "xpool, 4 heads": lambda: XPoolConfig(dim=DIM, num_heads=4, dropout=0.0),
    "multi_grained": lambda: MultiGrainedConfig(dim=DIM, max_words=WORDS, max_frames=FRAMES),
    "multi_grained, padding counts": lambda: MultiGrainedConfig(
        dim=DIM, max_words=WORDS, max_frames=FRAMES, mask_padding=False
    ),
}


@pytest.fixture(params=sorted(BUILD))
def matcher(request: pytest.FixtureRequest) -> Matcher:
    """A matcher whose weights all differ from their initial values."""
    kind = request.param.partition(",")[0]
    matcher = MATCHERS[kind].from_config(BUILD[request.param]())
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in matcher.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return matcher.eval()


def texts(count: int = TEXTS) -> TextFeatures:
    """Texts of different lengths; the first is full, the second has no real word at all."""
    generator = torch.Generator().manual_seed(1)
    sentence = 3 * torch.randn(count, DIM, generator=generator)
    lengths = torch.randint(1, WORDS + 1, (count, 1), generator=generator)
    lengths[:2] = torch.tensor([[WORDS], [0]])[:count]
    word = 3 * torch.randn(count, WORDS, DIM, generator=generator)
    return TextFeatures(sentence=sentence, word=word, word_mask=torch.arange(WORDS) < lengths)


def videos(count: int = VIDEOS, *, frames: int = FRAMES) -> VideoFeatures:
    """Videos of different lengths; the first is full, the second has no real frame at all."""
    generator = torch.Generator().manual_seed(2)
    lengths = torch.randint(1, frames + 1, (count, 1), generator=generator)
    lengths[:2] = torch.tensor([[frames], [0]])[:count]
    mask = torch.arange(frames) < lengths
    return VideoFeatures(frame=3 * torch.randn(count, frames, DIM, generator=generator), frame_mask=mask)


def forms(matcher: Matcher, text: TextFeatures, video: VideoFeatures) -> dict[str, Tensor]:
    """The same matrix in each of its three forms."""
    with torch.no_grad():
        return {
            "forward": matcher(text, video),
            "scorer": matcher.scorer(video)(text),
            "query_scorer": matcher.query_scorer(text)(video),
        }


def counts_padding(matcher: Matcher) -> bool:
    """X-CLIP as published: what padding does there, test_multi_grained.py and the parity tests say."""
    return isinstance(matcher, MultiGrained) and not matcher.config.mask_padding


def assert_all_close(found: dict[str, Tensor], expected: Tensor) -> None:
    for name, similarity in found.items():
        torch.testing.assert_close(similarity, expected, **CLOSE, msg=lambda m, n=name: f"{n}: {m}")


def test_every_registered_matcher_is_covered() -> None:
    assert {name.partition(",")[0] for name in BUILD} == set(MATCHERS)
    for name, cls in MATCHERS.items():
        assert cls.name == name


def test_the_three_forms_agree(matcher: Matcher) -> None:
    text, video = texts(), videos()
    expected = matcher(text, video).detach()
    assert expected.shape == (TEXTS, VIDEOS)
    assert expected.abs().max() <= 1 + 1e-5
    assert expected[:, 0].std() > 1e-3  # the scores tell texts apart
    assert_all_close(forms(matcher, text, video), expected)


def test_a_score_depends_on_its_own_pair_only(matcher: Matcher) -> None:
    text, video = texts(), videos()
    full = matcher(text, video).detach()
    for t, v in [(0, 0), (3, 2), (6, 5), (2, 1)]:
        for name, single in forms(matcher, text[[t]], video[[v]]).items():
            torch.testing.assert_close(single[0, 0], full[t, v], **CLOSE, msg=name)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("blocks", [(1, 1), (3, 2), (100, 4), (2, 100)])
def test_blocks_change_nothing(matcher: Matcher, blocks: tuple[int, int], fast: bool) -> None:
    text, video = texts(), videos()
    found = similarity_matrix(matcher, text, video, text_block=blocks[0], video_block=blocks[1], fast=fast)
    torch.testing.assert_close(found, matcher(text, video).detach(), **CLOSE)


@pytest.mark.parametrize("filling", [0.0, 1e3, float("nan"), float("inf")])
def test_padding_changes_nothing_whatever_it_holds(matcher: Matcher, filling: float) -> None:
    if counts_padding(matcher):
        pytest.skip("padding counts here")
    text, video = texts(), videos()
    words = torch.full((TEXTS, 3, DIM), filling)
    wordier = TextFeatures(
        sentence=text.sentence,
        word=torch.cat([text.word.masked_fill(~text.word_mask[..., None], filling), words], dim=1),
        word_mask=torch.cat([text.word_mask, torch.zeros(TEXTS, 3, dtype=torch.bool)], dim=1),
    )
    padding = torch.full((VIDEOS, 3, DIM), filling)
    longer = VideoFeatures(
        frame=torch.cat([video.frame.masked_fill(~video.frame_mask[..., None], filling), padding], dim=1),
        frame_mask=torch.cat([video.frame_mask, torch.zeros(VIDEOS, 3, dtype=torch.bool)], dim=1),
    )
    assert_all_close(forms(matcher, wordier, longer), matcher(text, video).detach())
    attention = matcher.attention(wordier, longer)
    torch.testing.assert_close(attention[..., :FRAMES], matcher.attention(text, video), **CLOSE)


def test_order_of_texts_videos_and_frames_does_not_matter(matcher: Matcher) -> None:
    text, video = texts(), videos()
    t, v, f = (torch.randperm(n, generator=torch.Generator().manual_seed(n)) for n in (TEXTS, VIDEOS, FRAMES))
    if isinstance(matcher, MultiGrained):
        f = torch.arange(FRAMES)  # its learned matrices know a frame by its place
    shuffled = VideoFeatures(frame=video.frame[v][:, f], frame_mask=video.frame_mask[v][:, f])
    expected = matcher(text, video).detach()[t][:, v]
    assert_all_close(forms(matcher, text[t], shuffled), expected)
    torch.testing.assert_close(
        matcher.attention(text[t], shuffled), matcher.attention(text, video)[t][:, v][:, :, f], **CLOSE
    )


def test_attention_is_a_distribution_over_real_frames(matcher: Matcher) -> None:
    text, video = texts(), videos()
    attention = matcher.attention(text, video)
    assert attention.shape == (TEXTS, VIDEOS, FRAMES)
    assert bool((attention >= 0).all())
    assert bool((attention[:, ~video.frame_mask] == 0).all())
    expected = video.frame_mask.any(dim=1).float().expand(TEXTS, VIDEOS)
    torch.testing.assert_close(attention.sum(dim=2), expected)


def test_a_video_without_real_frames_has_similarity_zero(matcher: Matcher) -> None:
    for name, similarity in forms(matcher, texts(), videos()).items():
        assert bool((similarity[:, 1] == 0).all()), name
        assert bool((similarity[:, 0] != 0).all()), name


def test_gradients_are_finite_and_reach_every_parameter_and_feature(matcher: Matcher) -> None:
    text, video = texts(), videos()
    text.sentence.requires_grad_()
    video.frame.requires_grad_()
    similarity = matcher.train()(text, video)
    (
        similarity * torch.randn(similarity.shape, generator=torch.Generator().manual_seed(3)) * 100
    ).sum().backward()
    leaves = {**dict(matcher.named_parameters()), "text": text.sentence, "frame": video.frame}
    for name, leaf in leaves.items():
        assert leaf.grad is not None, name
        assert bool(leaf.grad.isfinite().all()), name
        if not name.endswith("k_proj.bias"):  # it moves the logits of all frames alike
            assert bool((leaf.grad != 0).any()), name
    if not counts_padding(matcher):
        assert bool((video.frame.grad[~video.frame_mask] == 0).all())


def test_zero_frames_give_numbers_and_finite_gradients(matcher: Matcher) -> None:
    text = texts()
    video = VideoFeatures(
        frame=torch.zeros(2, FRAMES, DIM, requires_grad=True),
        frame_mask=torch.ones(2, FRAMES, dtype=torch.bool),
    )
    for name, similarity in forms(matcher, text, video).items():
        assert bool(similarity.isfinite().all()), name
    (matcher(text, video) * 100).sum().backward()
    assert bool(video.frame.grad.isfinite().all())


def test_half_precision_features_score_nearly_the_same(matcher: Matcher) -> None:
    text, video = texts(), videos()
    expected = matcher(text, video).detach()
    found = forms(matcher, text.to(dtype=torch.float16), video.to(dtype=torch.float16))
    for name, similarity in found.items():
        assert similarity.dtype == torch.float32, name
        # top-k and sharp softmaxes may choose otherwise between frames that fp16 cannot tell apart
        torch.testing.assert_close(similarity, expected, atol=2e-2, rtol=0, msg=name)


def test_saved_and_loaded_it_is_the_same(matcher: Matcher, tmp_path: Path) -> None:
    text, video = texts(), videos()
    save_file(matcher.state_dict(), tmp_path / "head.safetensors")
    config = from_dict(matcher.Config, to_dict(matcher.config))
    again = type(matcher).from_config(config).eval()
    again.load_state_dict(load_file(tmp_path / "head.safetensors"))
    assert config == matcher.config
    assert torch.equal(again(text, video), matcher(text, video))
    assert torch.equal(again.scorer(video)(text), matcher.scorer(video)(text))


@pytest.mark.parametrize(
    "score",
    [
        pytest.param(lambda m, text, video: m(text, video), id="forward"),
        pytest.param(lambda m, text, video: m.scorer(video)(text), id="scorer"),
        pytest.param(lambda m, text, video: m.query_scorer(text)(video), id="query_scorer"),
        pytest.param(lambda m, text, video: m.attention(text, video), id="attention"),
    ],
)
def test_features_of_another_width_are_refused(matcher: Matcher, score: Callable[..., Tensor]) -> None:
    text = TextFeatures(sentence=torch.randn(2, DIM + 1))
    with pytest.raises(ShapeError, match=rf"{matcher.name}: .* dimensions"):
        score(matcher, text, videos())


@pytest.mark.parametrize(("num_texts", "num_videos"), [(0, 3), (3, 0), (0, 0)])
def test_nothing_to_score_gives_an_empty_matrix(matcher: Matcher, num_texts: int, num_videos: int) -> None:
    text, video = texts(num_texts), videos(num_videos)
    for name, similarity in forms(matcher, text, video).items():
        assert similarity.shape == (num_texts, num_videos), name
    assert similarity_matrix(matcher, text, video).shape == (num_texts, num_videos)


def test_videos_without_a_single_frame_slot(matcher: Matcher) -> None:
    for name, similarity in forms(matcher, texts(), _slotless()).items():
        assert torch.equal(similarity, torch.zeros(TEXTS, 2)), name


def _slotless() -> VideoFeatures:
    return VideoFeatures(frame=torch.zeros(2, 0, DIM), frame_mask=torch.zeros(2, 0, dtype=torch.bool))
