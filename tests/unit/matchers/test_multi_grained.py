"""X-CLIP: its equations pair by pair, training, padding, and the corners of its folded form."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from framesift import hub
from framesift.encoders.tokenize import padded_ids, ragged_ids
from framesift.errors import ConfigError, InputError, MissingFeatureError, ShapeError
from framesift.features import TextFeatures, VideoFeatures, masked_mean, unit
from framesift.matchers import MultiGrained, MultiGrainedConfig, build_matcher, multi_grained_folded
from framesift.metrics import t2v
from framesift.model import RetrievalModel
from framesift.ranking import MemoryGallery, rank
from framesift.similarity import similarity_matrix
from framesift.training.losses import symmetric_contrastive
from framesift.training.optim import adamw
from tiny_models import tiny_clip

CLOSE = {"atol": 2e-6, "rtol": 1e-5}
DIM, WORDS, FRAMES = 16, 6, 4


def _head(*, noise: float = 0.2, **config: int | bool) -> MultiGrained:
    """A head whose matrices all differ from the identity."""
    generator = torch.Generator().manual_seed(0)
    given = {"dim": DIM, "max_words": WORDS, "max_frames": FRAMES, **config}
    head = MultiGrained(MultiGrainedConfig(**given))  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in head.parameters():
            parameter += noise * torch.randn(parameter.shape, generator=generator)
    return head.eval()


def _features(texts: int, videos: int, *, full: bool = False) -> tuple[TextFeatures, VideoFeatures]:
    """Texts and videos of different lengths, padded with random numbers."""
    generator = torch.Generator().manual_seed(1)

    def noise(*shape: int) -> Tensor:
        return 3 * torch.randn(*shape, generator=generator)

    words = torch.randint(2, WORDS + 1, (texts, 1), generator=generator)
    frames = torch.randint(1, FRAMES + 1, (videos, 1), generator=generator)
    text = TextFeatures(
        sentence=noise(texts, DIM),
        word=noise(texts, WORDS, DIM),
        word_mask=(torch.arange(WORDS) < words) | full,
    )
    mask = (torch.arange(FRAMES) < frames) | full
    return text, VideoFeatures(frame=noise(videos, FRAMES, DIM), frame_mask=mask)


def _forms(head: MultiGrained, text: TextFeatures, video: VideoFeatures) -> dict[str, Tensor]:
    with torch.no_grad():
        return {
            "forward": head(text, video),
            "scorer": head.scorer(video)(text),
            "query_scorer": head.query_scorer(text)(video),
        }


def _assert_forms(head: MultiGrained, text: TextFeatures, video: VideoFeatures, expected: Tensor) -> None:
    for name, found in _forms(head, text, video).items():
        torch.testing.assert_close(found, expected, **CLOSE, msg=lambda m, n=name: f"{n}: {m}")


def _attended(scores: list[float], matrix: Tensor) -> float:
    """Attention over scores (equations 8 to 13), with the released code's matrix between weights and scores."""
    largest = max(scores)
    raw = [math.exp((score - largest) / 0.01) for score in scores]
    weights = [value / sum(raw) for value in raw]
    mixed = [sum(weights[i] * float(matrix[i, j]) for i in range(len(scores))) for j in range(len(scores))]
    return sum(weight * score for weight, score in zip(mixed, scores, strict=True))


@pytest.mark.parametrize("mask_padding", [True, False])
def test_it_equals_a_naive_loop_over_the_equations(mask_padding: bool) -> None:
    head = _head(mask_padding=mask_padding)
    text, video = _features(4, 5)
    weight = {name: x.detach() for name, x in head.named_parameters()}

    def attended(scores: list[float], name: str) -> float:
        return _attended(scores, weight[name][: len(scores), : len(scores)])

    expected: dict[str, Tensor] = {
        name: torch.zeros(4, 5) for name in ("video_sentence", "video_word", "sentence_frame", "frame_word")
    }
    for t in range(4):
        for v in range(5):
            sentence = text.sentence[t] / text.sentence[t].norm()
            words = [word / word.norm() for word in text.word[t]]
            frames = [frame / frame.norm() for frame in video.frame[v]]
            real = [frame for frame, shown in zip(frames, video.frame_mask[v], strict=True) if shown]
            whole = sum(real) / len(real)
            whole = whole / whole.norm()
            if mask_padding:
                words = [word for word, shown in zip(words, text.word_mask[t], strict=True) if shown]
                frames = real
            expected["video_sentence"][t, v] = sentence @ weight["global_mat_weight"] @ whole
            expected["video_word"][t, v] = attended(
                [float(word @ whole) for word in words], "word_logit_weight"
            )
            expected["sentence_frame"][t, v] = attended(
                [float(sentence @ frame) for frame in frames], "frame_logit_weight"
            )
            grid = [[float(word @ weight["local_mat_weight"] @ frame) for frame in frames] for word in words]
            by_frame = [attended([row[j] for row in grid], "word_mat_weight") for j in range(len(frames))]
            by_word = [attended(row, "frame_mat_weight") for row in grid]
            expected["frame_word"][t, v] = (
                attended(by_frame, "frame_mat_weight2") + attended(by_word, "word_mat_weight2")
            ) / 2
    found = head.contrasts(text, video)
    for name, value in expected.items():
        torch.testing.assert_close(
            getattr(found, name).detach(), value, atol=1e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )
    mean = sum(expected.values()) / 4
    for name, similarity in _forms(head, text, video).items():
        torch.testing.assert_close(similarity, mean, atol=1e-5, rtol=1e-4, msg=name)


def test_the_components_make_the_score() -> None:
    head = _head()
    text, video = _features(3, 5)
    found = head.contrasts(text, video)
    parts = [found.video_sentence, found.video_word, found.sentence_frame, found.frame_word]
    torch.testing.assert_close(torch.stack(parts).mean(dim=0), head(text, video))
    assert found.word_frame.shape == (3, 5, WORDS, FRAMES)
    left_out = ~(text.word_mask[:, None, :, None] & video.frame_mask[None, :, None])
    assert bool((found.word_frame[left_out] == 0).all())
    assert bool((found.word_frame[~left_out] != 0).all())


def test_untrained_scores_of_one_word_and_one_frame_are_cosines() -> None:
    head = MultiGrained(MultiGrainedConfig(dim=DIM, max_words=WORDS, max_frames=FRAMES))
    text, video = _features(3, 4)
    one = TextFeatures(
        sentence=text.sentence, word=text.word, word_mask=(torch.arange(WORDS) == 0).repeat(3, 1)
    )
    still = VideoFeatures(frame=video.frame, frame_mask=(torch.arange(FRAMES) == 0).repeat(4, 1))
    found = head.contrasts(one, still)
    frame = unit(video.frame[:, 0])
    torch.testing.assert_close(found.video_sentence.detach(), unit(text.sentence) @ frame.T)
    torch.testing.assert_close(found.sentence_frame.detach(), found.video_sentence.detach())
    torch.testing.assert_close(found.video_word.detach(), unit(text.word[:, 0]) @ frame.T)
    torch.testing.assert_close(found.frame_word.detach(), found.video_word.detach())


def test_it_overfits_a_few_pairs() -> None:
    torch.manual_seed(0)
    pairs = 12
    text, video = _features(pairs, pairs)
    head = MultiGrained(MultiGrainedConfig(dim=DIM, max_words=WORDS, max_frames=FRAMES))
    assert t2v(similarity_matrix(head, text, video)).recall_at[1] < 50
    optimizer = adamw([{"params": list(head.parameters()), "lr": 1e-2}], weight_decay=0.0)
    scale = torch.tensor(3.0)
    for _ in range(60):
        optimizer.zero_grad()
        symmetric_contrastive(head(text, video), scale).backward()
        optimizer.step()
    assert t2v(similarity_matrix(head.eval(), text, video)).recall_at[1] == 100


# ---- padding


def test_without_padding_the_two_behaviours_agree() -> None:
    text, video = _features(5, 6, full=True)
    masked, published = _head(), _head(mask_padding=False)
    torch.testing.assert_close(masked(text, video), published(text, video))
    text, video = _features(5, 6)
    assert not torch.allclose(masked(text, video), published(text, video), atol=1e-3)


def test_as_published_an_empty_slot_counts_as_a_blank_frame() -> None:
    """Whether the gallery kept the slot, with zeros in it, or not."""
    head = _head(mask_padding=False)
    text, video = _features(5, 6)
    head.padding_frame.copy_(torch.randn(DIM, generator=torch.Generator().manual_seed(2)))
    mask = video.frame_mask & (torch.arange(FRAMES) < 2)
    encoded = VideoFeatures(
        frame=torch.where(mask[..., None], video.frame, head.padding_frame), frame_mask=mask
    )
    expected = head(text, encoded).detach()
    zeros = VideoFeatures(frame=video.frame.masked_fill(~mask[..., None], 0.0), frame_mask=mask)
    _assert_forms(head, text, zeros, expected)
    shorter = VideoFeatures(frame=zeros.frame[:, :2], frame_mask=mask[:, :2])
    _assert_forms(head, text, shorter, expected)


def test_as_published_the_attention_mask_of_texts_is_ignored() -> None:
    head = _head(mask_padding=False)
    text, video = _features(5, 6)
    everything = TextFeatures(
        sentence=text.sentence, word=text.word, word_mask=torch.ones_like(text.word_mask)
    )
    assert torch.equal(head(text, video), head(everything, video))


@pytest.mark.parametrize("mask_padding", [True, False])
def test_a_video_without_real_frames_has_similarity_zero(mask_padding: bool) -> None:
    """The published form divides zero by zero here."""
    head = _head(mask_padding=mask_padding)
    text, video = _features(3, 4)
    video.frame_mask[1] = False
    for name, found in _forms(head, text, video).items():
        assert bool((found[:, 1] == 0).all()), name
        assert bool((found[:, 0] != 0).all()), name


# ---- what it needs


def test_a_video_feature_is_used_where_there_is_one() -> None:
    head, strict = _head(), _head(needs_video=True)
    text, video = _features(3, 4)
    mean = VideoFeatures(
        frame=video.frame,
        frame_mask=video.frame_mask,
        video=5 * masked_mean(video.frame, video.frame_mask),
    )
    expected = head(text, video).detach()
    _assert_forms(head, text, mean, expected)
    _assert_forms(strict, text, mean, expected)
    other = VideoFeatures(frame=video.frame, frame_mask=video.frame_mask, video=torch.randn(4, DIM))
    assert not torch.allclose(head(text, other), expected, atol=1e-3)
    for form in (strict, lambda text, video: strict.query_scorer(text)(video)):
        with pytest.raises(MissingFeatureError, match=r"needs VideoFeatures\.video.*encode_video"):
            form(text, video)
    with pytest.raises(MissingFeatureError):
        strict.scorer(video)


def test_texts_without_words_are_refused() -> None:
    head = _head()
    text, video = _features(3, 4)
    bare = TextFeatures(sentence=text.sentence)
    for form in (head, lambda text, video: head.scorer(video)(text)):
        with pytest.raises(MissingFeatureError, match=r"words=True, num_words=6"):
            form(bare, video)
    with pytest.raises(MissingFeatureError):
        head.query_scorer(bare)
    assert head.attention(bare, video).shape == (3, 4, FRAMES)


def test_lengths_are_those_of_the_config() -> None:
    text, video = _features(3, 4, full=True)
    with pytest.raises(ShapeError, match=r"multi_grained: words: expected at most 5"):
        _head(max_words=5)(text, video)
    with pytest.raises(ShapeError, match=r"multi_grained: frames: expected at most 3"):
        _head(max_frames=3).scorer(video)
    with pytest.raises(ShapeError, match=r"expected 7 words, padding included"):
        _head(max_words=7, mask_padding=False)(text, video)
    for name in ("dim", "max_words", "max_frames"):
        with pytest.raises(ConfigError, match=f"{name}=0"):
            build_matcher("multi_grained", {name: 0})


# ---- the folded form


@pytest.mark.parametrize("mask_padding", [True, False])
def test_small_blocks_change_nothing(mask_padding: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    head = _head(mask_padding=mask_padding)
    text, video = _features(9, 11)
    expected = head(text, video).detach()
    monkeypatch.setattr(multi_grained_folded, "BLOCK_ELEMENTS", 1)
    monkeypatch.setattr(multi_grained_folded, "OTHER_ROWS", 2)
    _assert_forms(head, text, video, expected)


@pytest.mark.parametrize("mask_padding", [True, False])
def test_scores_far_apart_do_not_underflow(mask_padding: bool) -> None:
    """A word that fits every frame beside one that fits none: one maximum cannot serve both softmaxes."""
    head = _head(noise=0.05, mask_padding=mask_padding)
    text, video = _features(5, 6)
    direction = torch.randn(DIM, generator=torch.Generator().manual_seed(3))
    text.word[:, 0], text.word[:, 1] = direction, -direction
    video.frame.mul_(0.1).add_(direction)
    grid = head.contrasts(text, video).word_frame
    assert grid.amax() - grid.amin() > 1.5
    _assert_forms(head, text, video, head(text, video).detach())


def test_masks_need_not_be_prefixes() -> None:
    head = _head()
    text, video = _features(7, 8)
    generator = torch.Generator().manual_seed(4)
    text.word_mask.copy_(torch.rand(text.word_mask.shape, generator=generator) > 0.5)
    video.frame_mask.copy_(torch.rand(video.frame_mask.shape, generator=generator) > 0.5)
    _assert_forms(head, text, video, head(text, video).detach())


# ---- inside a model


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.mark.parametrize("mask_padding", [True, False])
def test_a_model_encodes_words_for_it(clip: Path, mask_padding: bool) -> None:
    config = MultiGrainedConfig(dim=24, max_words=8, max_frames=FRAMES, mask_padding=mask_padding)
    model = hub.load(clip, device="cpu", matcher=MultiGrained(config))
    text = model.encode_text(["a dog", "the quick brown fox is a very lazy animal indeed"])
    assert text.word is not None
    assert text.word.shape == (2, 8, 24)
    assert text.word_mask[1].all()  # cut, with the end mark kept
    torch.testing.assert_close(text.word[1, 7], text.sentence[1])
    ids, mask = padded_ids(ragged_ids(model.encoder.tokenizer, ["a dog"], context=8), pad_id=0, length=8)
    assert not mask.all()  # padded as OpenAI's tokenize does: the states of the padding depend on it
    torch.testing.assert_close(model.encoder.encode_tokens(ids, mask, words=True).word, text.word[:1])
    alone = model.encode_text(["a dog"])
    torch.testing.assert_close(alone.word, text.word[:1])
    _, video = _features(1, 5)
    frames = VideoFeatures(frame=torch.randn(5, FRAMES, 24), frame_mask=video.frame_mask)
    torch.testing.assert_close(model.similarity(text, frames)[:1], model.similarity(alone, frames), **CLOSE)


@pytest.mark.parametrize("texts", [3, 20])  # few fold the query, many the gallery
def test_ranking_a_gallery_gives_the_columns_of_the_matrix(texts: int) -> None:
    head = _head(needs_video=True)
    text, video = _features(texts, 9)
    video = replace(video, video=torch.randn(9, DIM, generator=torch.Generator().manual_seed(6)))
    full = head(text, video).detach()
    for depth in (None, 4):
        ranking = rank(text, MemoryGallery(video), head, depth=depth)
        torch.testing.assert_close(ranking.scores, full.gather(1, ranking.rows), **CLOSE)


def test_a_model_that_compares_sentences_encodes_no_words(clip: Path) -> None:
    model = hub.load(clip, device="cpu")
    assert model.matcher.num_words is None
    assert model.encode_text(["a dog"]).word is None


def test_a_length_that_the_text_tower_does_not_take(clip: Path) -> None:
    model = hub.load(clip, device="cpu")
    for num_words in (2, 17):
        with pytest.raises(InputError, match=rf"num_words={num_words}: expected 3 to 16"):
            model.encoder.encode_text(["a dog"], words=True, num_words=num_words)


def test_it_is_saved_and_loaded(clip: Path, tmp_path: Path) -> None:
    head = _head(dim=24, max_words=8, mask_padding=False)
    head.padding_frame.copy_(torch.randn(24, generator=torch.Generator().manual_seed(5)))
    model = hub.load(clip, device="cpu", matcher=head)
    hub.save(model, tmp_path / "saved")
    again = hub.load(tmp_path / "saved", device="cpu")
    assert isinstance(again, RetrievalModel)
    assert again.matcher.config == head.config
    assert again.fingerprint() == model.fingerprint()
    text = model.encode_text(["a dog", "two cats"])
    video = VideoFeatures(frame=torch.randn(3, 2, 24), frame_mask=torch.ones(3, 2, dtype=torch.bool))
    assert torch.equal(
        again.similarity(again.encode_text(["a dog", "two cats"]), video), model.similarity(text, video)
    )
