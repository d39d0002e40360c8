"""CrossTVR: pairs are independent, padding is never seen, gradients arrive, it learns, it is saved and loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from blip2_names import lavis
from framesift import hub
from framesift.config import from_dict, to_dict
from framesift.encoders import load_encoder
from framesift.encoders.patches import load_patch_encoder
from framesift.errors import CheckpointError, ConfigError, InputError, MissingFeatureError, ShapeError
from framesift.features import TextFeatures, VideoFeatures
from framesift.imports.blip2 import load_qformer
from framesift.matchers import MeanPool
from framesift.metrics import t2v, v2t
from framesift.model import RetrievalModel
from framesift.ranking import MemoryGallery, rank, rerank_similarity
from framesift.rerankers import RERANKERS, CrossTVR, CrossTVRConfig
from framesift.rerankers.qformer import QFormer, QFormerConfig
from framesift.rerankers.token_selection import TokenSelector
from framesift.rerankers.wordpiece import WordPiece, clean_caption
from framesift.similarity import similarity_matrix
from framesift.temporal import Identity
from framesift.training.hard_negatives import draw_matching_pairs, matching_loss
from tiny_models import tiny_clip

CLOSE = {"atol": 2e-5, "rtol": 1e-5}
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "dog", "run", "##s", "red", "blue", "circle", "square"]
QFORMER = QFormerConfig(
    visual_width=20,
    hidden=16,
    num_layers=2,
    num_heads=2,
    ffn_width=24,
    num_queries=3,
    vocab_size=len(VOCABULARY),
    max_positions=12,
)
TEXTS = ["a dog runs", "a red circle", "blue square"]


def build(**changes: Any) -> CrossTVR:
    torch.manual_seed(0)
    values = {"qformer": QFORMER, "max_words": 10, "num_selected": 3, "selection_samples": 20, **changes}
    reranker = CrossTVR(CrossTVRConfig(**values), tokenizer=WordPiece(VOCABULARY))
    with torch.no_grad():
        for parameter in reranker.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return reranker.eval()


def videos(count: int = 4, frames: int = 3, *, seed: int = 0) -> VideoFeatures:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(count, frames, generator=generator) > 0.3
    mask[:, 0] = True
    patch = torch.randn(count, frames, 5, QFORMER.visual_width, generator=generator)
    return VideoFeatures(frame=patch[:, :, 0], frame_mask=mask, patch=patch)


def texts(reranker: CrossTVR, lines: list[str] = TEXTS) -> TextFeatures:
    with torch.no_grad():
        return reranker.text_features(lines, TextFeatures(sentence=torch.ones(len(lines), 2)))


ALL = torch.cartesian_prod(torch.arange(3), torch.arange(4))


@torch.no_grad()
def test_an_ablated_pass_does_nothing() -> None:
    video, changed = videos(), videos()
    assert changed.patch is not None
    spatial, temporal, both = (build(passes=passes) for passes in ("spatial", "temporal", "both"))
    assert list(spatial.state_dict()) == list(both.state_dict())
    scores = [reranker(texts(reranker), video, ALL) for reranker in (spatial, temporal, both)]
    assert all(len(own.unique()) > 1 for own in scores)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not torch.allclose(scores[one], scores[other], atol=1e-4)
    # Tokens that the selector drops reach the spatial pass only.
    frames = video.frame_mask.nonzero(as_tuple=True)
    dropped = torch.ones(len(frames[0]), 5, dtype=torch.bool).scatter(
        1, temporal.selector.kept(changed.patch[frames]), False
    )
    rows = changed.patch[frames]
    rows[dropped] *= 0.99  # too little to change which are kept
    changed.patch[frames] = rows
    assert torch.equal(temporal.selector.kept(rows), temporal.selector.kept(videos().patch[frames]))  # type: ignore[index]
    torch.testing.assert_close(temporal(texts(temporal), changed, ALL), scores[1], **CLOSE)
    assert not torch.allclose(spatial(texts(spatial), changed, ALL), scores[0], atol=1e-5)


@pytest.mark.parametrize(
    ("passes", "weight", "selected"),
    [("both", True, True), ("spatial", True, False), ("temporal", False, True)],
)
def test_an_ablated_pass_explains_nothing(passes: str, weight: bool, selected: bool) -> None:
    reranker = build(passes=passes)
    with torch.no_grad():
        told = reranker.explain(texts(reranker)[:1], videos()[:1])
    assert (told.patch_weight is not None) == weight
    assert (told.patch_selected is not None) == selected


def test_it_is_registered_under_its_name() -> None:
    assert RERANKERS[CrossTVR.name] is CrossTVR


@pytest.mark.parametrize("shared", [True, False])
def test_a_score_depends_on_its_own_pair_only(shared: bool) -> None:
    reranker, video = build(shared=shared), videos()
    text = texts(reranker)
    with torch.no_grad():
        together = reranker(text, video, ALL)
        for (t, v), score in zip(ALL.tolist(), together, strict=True):
            alone = reranker(texts(reranker, [TEXTS[t]]), video[[v]], torch.zeros(1, 2, dtype=torch.long))
            torch.testing.assert_close(alone[0], score, **CLOSE)
        order = torch.randperm(len(ALL), generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(reranker(text, video, ALL[order]), together[order], **CLOSE)
        assert reranker(text, video, ALL[:0]).shape == (0,)


def test_what_padded_frames_and_words_hold_does_not_matter() -> None:
    reranker, video = build(), videos()
    text = texts(reranker)
    assert text.word is not None
    assert text.word_mask is not None
    assert video.patch is not None
    patch = torch.cat([video.patch, torch.full_like(video.patch, torch.nan)], dim=1)
    patch[~torch.cat([video.frame_mask, torch.zeros_like(video.frame_mask)], dim=1)] = torch.nan
    mask = torch.cat([video.frame_mask, torch.zeros_like(video.frame_mask)], dim=1)
    padded = VideoFeatures(frame=patch[:, :, 0], frame_mask=mask, patch=patch)
    word = text.word.masked_fill(~text.word_mask[..., None], torch.nan)
    longer = TextFeatures(
        sentence=text.sentence,
        word=torch.cat([word, word], dim=1),
        word_mask=torch.cat([text.word_mask, torch.zeros_like(text.word_mask)], dim=1),
    )
    with torch.no_grad():
        torch.testing.assert_close(reranker(longer, padded, ALL), reranker(text, video, ALL), **CLOSE)


def test_nothing_is_computed_twice_or_for_nobody() -> None:
    """Words: through the first layer once a text, not once a frame; never as padding; never through the last."""
    reranker, video = build(shared=False), videos()
    text = texts(reranker)
    assert text.word is not None
    assert text.word_mask is not None
    padding = torch.zeros(3, 4, dtype=torch.bool)
    longer = TextFeatures(
        sentence=text.sentence,
        word=torch.cat([text.word, text.word[:, :4]], dim=1),
        word_mask=torch.cat([text.word_mask, padding], dim=1),
    )
    seen: list[tuple[int, int]] = []
    for layer in reranker.qformer.encoder.layers:
        layer.text_ffn.register_forward_hook(lambda *given: seen.append(tuple(given[2].shape[:2])))
    with torch.no_grad():
        reranker(longer, video, ALL)
    real_frames = int(video.frame_mask.sum())
    assert seen == [(3, text.word.shape[1]), (3 * real_frames, 0)]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu() -> None:
    reranker, video = build(), videos()
    text = texts(reranker)
    with torch.no_grad():
        expected = reranker(text, video, ALL)
        found = reranker.cuda()(text.to("cuda"), video.to("cuda"), ALL.cuda())
    torch.testing.assert_close(found.cpu(), expected, atol=1e-4, rtol=1e-4)


def test_a_video_without_a_real_frame_is_blank() -> None:
    reranker, video = build(), videos()
    none = torch.zeros_like(video.frame_mask)
    empty = VideoFeatures(frame=video.frame, frame_mask=none, patch=video.patch)
    with torch.no_grad():
        scores = reranker(texts(reranker), empty, ALL).reshape(3, 4)
    assert scores.isfinite().all()
    torch.testing.assert_close(scores, scores[:, :1].expand(-1, 4), **CLOSE)


@pytest.mark.parametrize(
    "changes",
    [{}, {"shared": False}, {"adapter_from": 20}, {"word_width": 16}, {"keep_class": False}],
    ids=str,
)
def test_finite_gradients_reach_every_parameter(changes: dict[str, Any]) -> None:
    reranker = build(**changes).train()
    text = build().text_features(TEXTS, TextFeatures(sentence=torch.ones(3, 2)))
    if "word_width" not in changes:
        text = reranker.text_features(TEXTS, text)
    logits = reranker.logits(text, videos(), ALL)
    matching_loss(logits, ALL[:, 0] == ALL[:, 1]).backward()
    unused = {"qformer.word_embedding.weight", "qformer.position_embedding.weight"}
    # the last layer's feed-forward net of the text, whose output nobody reads
    last = f".layers.{QFORMER.num_layers - 1}.text_ffn."
    for name, parameter in reranker.named_parameters():
        if last in name or ("word_width" in changes and name in unused):
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_it_learns_what_a_weak_first_stage_cannot_see() -> None:
    """The first stage gives every pair the same similarity; words and patches tell them apart."""
    pairs = 6
    torch.manual_seed(0)
    sizes = QFormerConfig(
        visual_width=16,
        hidden=32,
        num_layers=2,
        num_heads=2,
        ffn_width=48,
        num_queries=4,
        vocab_size=4 + pairs,
        max_positions=6,
        dropout=0.0,
    )
    config = CrossTVRConfig(qformer=sizes, max_words=6, num_selected=2, selection_samples=10)
    words = [f"w{i}" for i in range(pairs)]
    reranker = CrossTVR(config, tokenizer=WordPiece([*VOCABULARY[:4], *words]))
    with torch.no_grad():
        for parameter in reranker.qformer.parameters():
            if parameter.ndim == 2:
                parameter *= 10  # BERT's initial values are made for 768 dimensions
    patch = torch.randn(pairs, 2, 4, 16) * 0.3
    patch[:, 1, 2] += 3 * torch.nn.functional.one_hot(torch.arange(pairs), 16)  # one telling patch a video
    video = VideoFeatures(
        frame=torch.ones(pairs, 2, 3), frame_mask=torch.ones(pairs, 2, dtype=torch.bool), patch=patch
    )
    weak = TextFeatures(sentence=torch.ones(pairs, 3))
    coarse = similarity_matrix(MeanPool(), weak, video)
    assert t2v(coarse).recall_at[1] < 50
    optimizer = torch.optim.Adam(reranker.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        drawn = draw_matching_pairs(coarse, generator=generator)
        logits = reranker.logits(reranker.text_features(words, weak), video, drawn.pairs)
        loss = matching_loss(logits, drawn.match)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < 0.01:
            break
    reranker.eval()
    text = reranker.text_features(words, weak)
    for direction, metric in (("t2v", t2v), ("v2t", v2t)):
        reranked = rerank_similarity(coarse, reranker, text, video, depth=pairs, direction=direction)
        assert metric(reranked).recall_at[1] == 100


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    encoder = load_encoder(tiny_clip(tmp_path / "clip"), device="cpu")
    reranker = build(shared=False, score="log_odds", weight=0.5)
    hub.save(RetrievalModel(encoder, Identity(), MeanPool(), reranker), tmp_path / "model")
    again = hub.load(tmp_path / "model", device="cpu").reranker
    assert isinstance(again, CrossTVR)
    assert again.config == reranker.config
    assert again.fusion == reranker.fusion
    with torch.no_grad():
        ours, theirs = (one(texts(one), videos(), ALL) for one in (reranker, again))
    assert torch.equal(ours, theirs)
    (tmp_path / "model" / "reranker" / "vocab.txt").write_text("a\n")
    with pytest.raises(CheckpointError, match="lacks"):
        hub.load(tmp_path / "model", device="cpu")


@dataclass(frozen=True)
class Clip:
    pixels: np.ndarray


def test_from_pictures_to_a_ranking(tmp_path: Path) -> None:
    """The first stage's own tokens, and those of another frozen encoder over the same videos."""
    clip = tiny_clip(tmp_path / "clip")
    encoder, tokens = load_encoder(clip, device="cpu"), load_patch_encoder(clip, device="cpu")
    qformer = QFormerConfig(**{**vars(QFORMER), "visual_width": tokens.width})
    model = RetrievalModel(encoder, Identity(), MeanPool(), build(qformer=qformer)).eval()
    assert model.reranker is not None
    random = np.random.default_rng(0)
    clips = [Clip(random.integers(0, 256, (n, 36, 48, 3), dtype=np.uint8)) for n in (3, 1, 2, 3, 2)]
    text = model.encode_text(TEXTS)
    options = {
        "reranker": model.reranker,
        "rerank_depth": 3,
        "rerank_text": model.reranker.text_features(TEXTS, text),
    }
    shared = rank(text, MemoryGallery(model.encode_video(clips, patches=True)), model.matcher, **options)
    plain = MemoryGallery(model.encode_video(clips))
    own = rank(
        text, plain, model.matcher, **options, rerank_gallery=MemoryGallery(tokens.encode_video(clips))
    )
    assert torch.equal(own.rows, shared.rows)
    torch.testing.assert_close(own.scores, shared.scores, **CLOSE)
    coarse = rank(text, plain, model.matcher)
    assert torch.equal(coarse.rows[:, 3:], shared.rows[:, 3:])
    assert not torch.equal(coarse.scores[:, :3], shared.scores[:, :3])
    with pytest.raises(MissingFeatureError, match="patches=True"):
        rank(text, plain, model.matcher, **options)


def test_configurations_survive_plain_values() -> None:
    config = CrossTVRConfig(qformer=QFORMER, max_words=5, adapter_from=7, score="probability")
    assert from_dict(CrossTVRConfig, to_dict(config)) == config


@pytest.mark.parametrize(
    "changes",
    [{"num_selected": 0}, {"max_words": 13}, {"selection_sigma": 0.0}, {"adapter_from": 0}, {"weight": -1.0}],
    ids=str,
)
def test_bad_configurations_are_refused(changes: dict[str, Any]) -> None:
    name = next(iter(changes))
    with pytest.raises(ConfigError, match=name):
        CrossTVRConfig(**{"qformer": QFORMER, "max_words": 10, **changes})


@pytest.mark.parametrize("changes", [{"num_heads": 5}, {"dropout": 1.0}, {"num_queries": 0}], ids=str)
def test_bad_sizes_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        QFormerConfig(**{**vars(QFORMER), **changes})


def test_missing_features_and_wrong_widths_are_named() -> None:
    reranker, video = build(), videos()
    text = texts(reranker)
    bare = VideoFeatures(frame=video.frame, frame_mask=video.frame_mask)
    with pytest.raises(MissingFeatureError, match="patches=True"):
        reranker(text, bare, ALL)
    with pytest.raises(MissingFeatureError, match="text_features"):
        reranker(TextFeatures(sentence=text.sentence), video, ALL)
    assert video.patch is not None
    narrow = VideoFeatures(frame=video.frame, frame_mask=video.frame_mask, patch=video.patch[..., :9])
    with pytest.raises(ShapeError, match="20 wide"):
        reranker(text, narrow, ALL)
    reranker.tokenizer = None
    with pytest.raises(MissingFeatureError, match="no vocabulary"):
        reranker.text_features(TEXTS, text)


def test_blip2_weights_load_where_they_fit() -> None:
    def published(visual_width: int) -> dict[str, torch.Tensor]:
        """A Q-Former under LAVIS' names, with another image encoder."""
        torch.manual_seed(1)
        source = QFormer(QFormerConfig(**{**vars(QFORMER), "visual_width": visual_width})).state_dict()
        return {lavis(name): x for name, x in source.items()}

    reranker = build(shared=False)
    before = {name: x.clone() for name, x in reranker.state_dict().items()}
    unset = load_qformer(reranker, published(28))
    changed = {name for name, x in reranker.state_dict().items() if not torch.equal(x, before[name])}
    assert changed | set(unset) == set(before)
    assert not changed & set(unset)
    crosses = {name for name in unset if "cross_attention" in name}
    assert {name.split(".", 1)[1].rsplit("cross_attention.")[1] for name in crosses} == {
        "key.weight",
        "key.bias",
        "value.weight",
        "value.bias",
    }
    assert {name.split(".")[0] for name in set(unset) - crosses} == {"selector", "match"}
    assert "adapter.weight" in load_qformer(build(adapter_from=7), published(20))
    damaged = published(20)
    del damaged["query_tokens"]
    with pytest.raises(CheckpointError, match="no Q-Former"):
        load_qformer(reranker, damaged)
    damaged = published(20)
    damaged.pop("Qformer.bert.embeddings.LayerNorm.bias")
    with pytest.raises(CheckpointError, match=r"lack encoder\.norm\.bias"):
        load_qformer(reranker, damaged)
    damaged = published(20)
    damaged["Qformer.bert.embeddings.word_embeddings.weight"] = torch.zeros(5, 16)
    with pytest.raises(CheckpointError, match="word_embedding"):
        load_qformer(reranker, damaged)


def test_captions_are_cleaned_as_lavis_does() -> None:
    assert clean_caption('  A "Dog" runs: (fast)!  \n') == "a dog runs fast"
    assert len(clean_caption("word " * 80).split()) == 50


def test_words_are_pieces_between_marks() -> None:
    tokenizer = WordPiece(VOCABULARY)
    ids, mask = tokenizer(["Dogs, run!", "a"], max_tokens=10)
    assert [[VOCABULARY[i] for i in row] for row in ids.tolist()] == [
        ["[CLS]", "dog", "##s", "[UNK]", "run", "[SEP]"],
        ["[CLS]", "a", "[SEP]", "[PAD]", "[PAD]", "[PAD]"],
    ]
    assert mask.sum(dim=1).tolist() == [6, 3]
    ids, mask = tokenizer(["a a a a a a"], max_tokens=4)
    assert [VOCABULARY[i] for i in ids[0].tolist()] == ["[CLS]", "a", "a", "[SEP]"]
    ids, mask = tokenizer([], max_tokens=4)
    assert ids.shape == mask.shape == (0, 0)
    with pytest.raises(InputError, match=r"lacks \[CLS\], \[SEP\]"):
        WordPiece(["[PAD]", "[UNK]", "a"])
    with pytest.raises(InputError, match="twice"):
        WordPiece([*VOCABULARY, "a"])


@pytest.mark.parametrize("keep_class", [True, False])
def test_kept_tokens_are_the_highest_scores_in_their_order(keep_class: bool) -> None:
    torch.manual_seed(0)
    selector = TokenSelector(8, 4, keep_class=keep_class, activation="softmax", samples=50, sigma=0.05).eval()
    token = torch.randn(3, 9, 8)
    with torch.no_grad():
        kept, scores = selector(token), selector.scores(token)
    torch.testing.assert_close(scores.sum(dim=1), torch.ones(3))
    for row in range(3):
        first = int(keep_class)
        best = sorted(range(first, 9), key=lambda p, r=row: -float(scores[r, p]))[: 4 - first]
        assert torch.equal(kept[row], token[row, [0] * first + sorted(best)])
    selector.train()
    assert selector(token).shape == kept.shape
