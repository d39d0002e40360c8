"""Every part explains what it says it does, in the shapes that are promised, and from the parts of its own score."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

import framesift as fs
from framesift.encoders import load_encoder
from framesift.errors import ShapeError
from framesift.explanation import Explanation
from framesift.features import TextFeatures, VideoFeatures
from framesift.matchers import MATCHERS, Matcher, MultiGrained, MultiGrainedConfig
from framesift.model import RetrievalModel
from framesift.rerankers import (
    RERANKERS,
    CrossTVR,
    CrossTVRConfig,
    Reranker,
)
from framesift.rerankers.qformer import QFormerConfig
from framesift.rerankers.wordpiece import WordPiece
from framesift.reranking import RerankEncoder
from framesift.temporal import TEMPORALS, Identity, Temporal, TokenSelection, TokenSelectionConfig
from tiny_models import tiny_clip

DIM, WIDTH, WORDS, FRAMES, PATCHES = 24, 48, 6, 4, 17
MASK = torch.tensor([[True, True, False, True]])
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "circle"]
TEXT = "a red circle"
TOKENS = {"patch_weight", "patch_selected"}


def features(seed: int = 0) -> tuple[TextFeatures, VideoFeatures]:
    """A text, and a video with a masked frame; patch tokens in the joint space."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    word_mask = torch.arange(WORDS)[None] < WORDS - 1
    text = TextFeatures(sentence=draw(1, DIM), word=draw(1, WORDS, DIM), word_mask=word_mask)
    frame, patch = draw(1, FRAMES, DIM), draw(1, FRAMES, PATCHES, DIM)
    return text, VideoFeatures(frame=frame, frame_mask=MASK, patch=patch)


def cross_tvr(*, width: int = DIM, **changes: object) -> CrossTVR:
    sizes = QFormerConfig(
        visual_width=width, hidden=16, num_layers=3, num_heads=2, ffn_width=24, num_queries=3, vocab_size=7
    )
    config = CrossTVRConfig(qformer=sizes, max_words=10, num_selected=3, **changes)
    return CrossTVR(config, tokenizer=WordPiece(VOCABULARY))


def build(kind: type) -> Matcher | Temporal | Reranker:
    torch.manual_seed(0)
    if kind is CrossTVR:
        part = cross_tvr(word_width=DIM)
    else:
        sizes = {"dim": DIM} if any(field.name == "dim" for field in fields(kind.Config)) else {}
        part = kind.from_config(kind.Config(**sizes))
    with torch.no_grad():
        for parameter in part.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return part.eval()


def told(explanation: Explanation) -> set[str]:
    return {
        field.name
        for field in fields(explanation)
        if field.name != "scores" and getattr(explanation, field.name) is not None
    }


@pytest.mark.parametrize("kind", [*MATCHERS.values(), *RERANKERS.values()])
@torch.no_grad()
def test_matchers_and_rerankers_tell_what_they_say(kind: type) -> None:
    part = build(kind)
    text, video = features()
    found = part.explain(text, video)
    assert told(found) == set(kind.explains)
    _check_shapes(found)
    if isinstance(part, Matcher):
        assert found.scores == {"similarity": pytest.approx(part(text, video).item())}
        torch.testing.assert_close(found.frame_weight, part.attention(text, video)[0, 0])
    else:
        score = part(text, video, torch.zeros(1, 2, dtype=torch.long)).item()
        assert found.scores == {"reranker": pytest.approx(score)}


@pytest.mark.parametrize("kind", TEMPORALS.values())
@torch.no_grad()
def test_temporal_modules_tell_what_they_say(kind: type) -> None:
    found = build(kind).explain(features()[1])
    assert told(found) == set(kind.explains)
    _check_shapes(found)


def _check_shapes(found: Explanation) -> None:
    mask = MASK[0]
    if found.frame_weight is not None:
        assert found.frame_weight.shape == (FRAMES,)
        assert found.frame_weight.sum().item() == pytest.approx(1.0, abs=1e-5)
        assert (found.frame_weight[~mask] == 0).all()
    if found.word_frame is not None:
        assert found.word_frame.shape == (WORDS - 1, FRAMES)
        assert (found.word_frame[:, ~mask] == 0).all()
    if found.patch_weight is not None:
        assert found.patch_weight.shape == (FRAMES, PATCHES)
        torch.testing.assert_close(found.patch_weight.sum(dim=1), mask.float())
    if found.patch_selected is not None:
        assert found.patch_selected.shape == (FRAMES, PATCHES)
        assert found.patch_selected.dtype == torch.bool
        counts = found.patch_selected.sum(dim=1)
        assert len(set(counts[mask].tolist())) == 1
        assert (counts[mask] > 1).all()
        assert (counts[~mask] == 0).all()
        assert found.patch_selected[mask, 0].all(), "the class token is kept"


@pytest.mark.parametrize("mask_padding", [True, False])
@torch.no_grad()
def test_contrasts_are_those_of_the_similarity(mask_padding: bool) -> None:
    config = MultiGrainedConfig(dim=DIM, max_words=WORDS, max_frames=FRAMES + 2, mask_padding=mask_padding)
    matcher = MultiGrained(config).eval()
    text, video = features()
    found = matcher.explain(text, video)
    assert found.contrasts is not None
    assert sum(found.contrasts.values()) / 4 == pytest.approx(found.scores["similarity"], abs=1e-6)
    grid = matcher.contrasts(text, video).word_frame[0, 0, : WORDS - 1, :FRAMES]
    assert found.word_frame is not None
    assert torch.equal(found.word_frame[:, MASK[0]], grid[:, MASK[0]])


@pytest.mark.parametrize("shared", [True, False])
@torch.no_grad()
def test_selected_tokens_are_those_that_the_score_reads(shared: bool) -> None:
    """Any other token of the temporal pass may change without the selection noticing."""
    torch.manual_seed(0)
    reranker = cross_tvr(word_width=DIM, shared=shared).eval()
    text, video = features()
    found = reranker.explain(text, video)
    assert found.patch_selected is not None
    assert video.patch is not None
    for frame in MASK[0].nonzero().flatten().tolist():
        kept = reranker.selector(video.patch[0, frame][None])[0]
        assert torch.equal(video.patch[0, frame][found.patch_selected[frame]], kept)


@torch.no_grad()
def test_attention_maps_are_the_weights_of_what_is_attended() -> None:
    attention = build(CrossTVR).qformer.encoder.last_look
    query, mask = torch.randn(2, 3, 16), torch.tensor([[True, True, False, True], [True, False, False, True]])
    source = attention.project(torch.randn(2, 4, DIM))
    weights = attention.weights(query, source, mask)
    attended = (weights @ source[1]).transpose(1, 2).flatten(2)
    torch.testing.assert_close(
        attention.norm(query + attention.out(attended)), attention(query, source, mask)
    )


@torch.no_grad()
def test_attention_maps_change_with_the_text() -> None:
    torch.manual_seed(0)
    reranker = build(CrossTVR)
    (one, video), (other, _) = features(), features(seed=1)
    weights = [reranker.explain(text, video).patch_weight for text in (one, other)]
    assert not torch.allclose(weights[0], weights[1])


@dataclass(frozen=True)
class Clip:
    pixels: np.ndarray


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("encoder"), dim=DIM)


def model_of(
    encoder: Path,
    temporal: Temporal | None = None,
    matcher: Matcher | None = None,
    reranker: Reranker | None = None,
) -> RetrievalModel:
    tower = load_encoder(encoder, device="cpu")
    return RetrievalModel(tower, temporal or Identity(), matcher or fs.MeanPool(), reranker).eval()


def clip(frames: int = 3) -> Clip:
    return Clip(np.random.default_rng(0).integers(0, 256, (frames, 36, 48, 3), dtype=np.uint8))


def test_words_stand_beside_their_rows(encoder: Path) -> None:
    matcher = MultiGrained(MultiGrainedConfig(dim=DIM, max_words=12, max_frames=5))
    model = model_of(encoder, matcher=matcher)
    found = fs.explain(model, TEXT, clip())
    assert found.words is not None
    assert found.word_frame is not None
    assert found.word_frame.shape == (len(found.words), 3)
    assert "".join(found.words[1:-1]) == "aredcircle"
    text, video = model.encode_text([TEXT]), model.encode_video([clip()])
    again = fs.explain(model, TEXT, video)
    assert again.scores == found.scores
    assert again.scores["similarity"] == pytest.approx(model.similarity(text, video).item(), abs=1e-5)


@pytest.mark.parametrize("own", [False, True])
def test_a_whole_system_is_explained_in_one_call(encoder: Path, own: bool) -> None:
    torch.manual_seed(0)
    reranker = cross_tvr(width=WIDTH, encoder=str(encoder) if own else "", weight=2.0)
    model = model_of(encoder, reranker=reranker)
    found = fs.explain(model, TEXT, clip())
    assert told(found) == {"frame_weight", *TOKENS}
    assert found.patch_weight is not None
    assert found.patch_weight.shape == (3, PATCHES)
    assert found.scores["fused"] == pytest.approx(2 * found.scores["reranker"] + found.scores["similarity"])
    held = RerankEncoder(model, reranker)
    assert fs.explain(model, TEXT, clip(), rerank_encoder=held).scores == found.scores
    stored = fs.explain(model, TEXT, model.encode_video([clip()]))
    assert told(stored) == {"frame_weight"}, "features without tokens explain the first stage"
    assert set(stored.scores) == {"similarity"}
    tokens = fs.explain(model, TEXT, model.encode_video([clip()], patches=True))
    assert ("fused" in tokens.scores) != own, "tokens of the first stage are not those of another encoder"


def test_token_selection_is_explained_from_pictures(encoder: Path) -> None:
    torch.manual_seed(0)
    selection = TokenSelection(TokenSelectionConfig(dim=DIM, num_layers=1, num_heads=2))
    model = model_of(
        encoder, selection, MATCHERS["selected_tokens"].from_config(MATCHERS["selected_tokens"].Config())
    )
    found = fs.explain(model, TEXT, clip())
    assert told(found) == {"frame_weight", "patch_selected"}
    assert found.patch_selected is not None
    assert found.patch_selected.sum(dim=1).tolist() == [4, 4, 4]
    encoded = model.encoder.encode_video([clip()], patches=True)
    assert encoded.patch is not None
    joint = replace(encoded, patch=model.encoder.project(encoded.patch))
    token = torch.cat([joint.frame[:, :, None], joint.patch[:, :, 1:]], dim=2)[0]
    assert torch.equal(token[found.patch_selected].unflatten(0, (3, 4)), selection.select(joint)[0])


def test_features_of_several_videos_are_refused(encoder: Path) -> None:
    model = model_of(encoder)
    with pytest.raises(ShapeError, match="one video"):
        fs.explain(model, TEXT, model.encode_video([clip(), clip()]))
