"""The Q-Former equals LAVIS' numbers and transformers' own; CrossTVR equals the recorded reconstruction of its
equations, and a version of them that takes one pair at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Blip2Config, Blip2ForImageTextRetrieval

from framesift.features import TextFeatures, VideoFeatures
from framesift.imports.blip2 import load_qformer, qformer_from_blip2
from framesift.perturbed_top_k import perturbed_top_k, top_k
from framesift.ranking import rerank_similarity
from framesift.rerankers import CrossTVR, CrossTVRConfig, Fusion, Reranker
from framesift.rerankers import cross_tvr as cross_tvr_module
from framesift.rerankers.qformer import QFormer, QFormerConfig
from golden_files import GOLDEN_DIR, golden_files, read_golden

FEATURES = {"atol": 2e-5, "rtol": 1e-5}
LOGITS = {"atol": 1e-4, "rtol": 1e-5}


def sizes(metadata: dict[str, Any]) -> QFormerConfig:
    return QFormerConfig(
        visual_width=metadata["enc"],
        hidden=metadata["H"],
        num_layers=metadata["L"],
        num_heads=metadata["heads"],
        ffn_width=metadata["inter"],
        cross_every=metadata["freq"],
        num_queries=metadata["num_query"],
        vocab_size=metadata["vocab"],
        max_positions=metadata["maxpos"],
    )


def lavis_names(golden: dict[str, Tensor]) -> dict[str, Tensor]:
    """The golden file's weights as a BLIP-2 checkpoint has them."""
    state = {f"Qformer.bert.{key[6:]}": x for key, x in golden.items() if key.startswith("param.")}
    head = {f"itm_head.{part}": golden[f"itm_{part}"] for part in ("weight", "bias")}
    return {"query_tokens": golden["query_tokens"], **state, **head}


@pytest.mark.parametrize("path", golden_files("qformer_*.safetensors"))
def test_qformer(path: Path) -> None:
    golden, metadata = read_golden(path)
    qformer = QFormer(sizes(metadata)).eval()
    qformer.load_state_dict(qformer_from_blip2(lavis_names(golden)))
    encoder, ids, word_mask = qformer.encoder, golden["input_ids"], golden["text_mask"].bool()
    tokens, partial = golden["encoder_hidden_states"], golden["encoder_mask_partial"].bool()
    with torch.no_grad():
        query, word = qformer.query_tokens.expand(len(ids), -1, -1), qformer.embed_words(ids)
        torch.testing.assert_close(qformer(ids, word_mask, tokens), golden["joint_last_hidden"], **FEATURES)
        torch.testing.assert_close(
            qformer(ids, word_mask, tokens, partial),
            golden["joint_last_hidden_partial_encoder_mask"],
            **FEATURES,
        )
        images = encoder.project(tokens)
        alone = encoder(query, word[:, :0], word_mask[:, :0], images)
        torch.testing.assert_close(alone, golden["query_only_last_hidden"], **FEATURES)
        alone = encoder(query[:, :0], word, word_mask, None)
        torch.testing.assert_close(alone, golden["text_only_last_hidden"], **FEATURES)
        again = encoder(query[:2], word[:2], word_mask[:2], images.take(torch.tensor([1, 0])))
        swapped = encoder(query[:2], word[:2], word_mask[:2], encoder.project(tokens[[1, 0]]))
        torch.testing.assert_close(again, swapped, **FEATURES)


@pytest.mark.parametrize("path", golden_files("qformer_*.safetensors"))
def test_hidden_states_of_every_layer(path: Path) -> None:
    golden, metadata = read_golden(path)
    qformer = QFormer(sizes(metadata)).eval()
    qformer.load_state_dict(qformer_from_blip2(lavis_names(golden)))
    words: list[Tensor] = []
    queries: list[Tensor] = []
    for layer in qformer.encoder.layers:
        layer.text_ffn.register_forward_hook(lambda *given: words.append(given[2]))
        layer.query_ffn.register_forward_hook(lambda *given: queries.append(given[2]))
    with torch.no_grad():
        qformer(golden["input_ids"], golden["text_mask"].bool(), golden["encoder_hidden_states"])
    for i, (query, word) in enumerate(zip(queries, words, strict=True), start=1):
        torch.testing.assert_close(torch.cat([query, word], dim=1), golden[f"joint_hidden_{i}"], **FEATURES)


@pytest.mark.parametrize("path", golden_files("qformer_*.safetensors"))
def test_matching_logits(path: Path) -> None:
    """A video of one frame, whose spatial pass alone is BLIP-2's matching."""
    golden, metadata = read_golden(path)
    reranker = CrossTVR(CrossTVRConfig(qformer=sizes(metadata), max_words=8)).eval()
    unset = load_qformer(reranker, lavis_names(golden))
    assert all(name.startswith("selector.") for name in unset)
    with torch.no_grad():
        hidden = reranker.qformer(
            golden["input_ids"], golden["text_mask"].bool(), golden["encoder_hidden_states"]
        )
        logits = reranker.match(hidden[:, : metadata["num_query"]]).mean(dim=1)
    torch.testing.assert_close(logits, golden["itm_logits"], **LOGITS)


class Recorded(torch.nn.Module):
    """Selects the tokens that the golden file says."""

    def __init__(self, index: Tensor) -> None:
        super().__init__()
        self.index = index

    def forward(self, token: Tensor) -> Tensor:
        return token.gather(1, self.index[..., None].expand(-1, -1, token.shape[2]))


@pytest.mark.parametrize("path", golden_files("crosstvr_reconstruction_*.safetensors"))
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("variant", ["A", "B"])
def test_reconstruction(path: Path, variant: str, shared: bool) -> None:
    golden, metadata = read_golden(path)
    weights, qformer = read_golden(GOLDEN_DIR / str(metadata["weights_from"]).split()[0])
    config = CrossTVRConfig(qformer=sizes(qformer), max_words=8, temporal_words=variant == "A", shared=shared)
    reranker = CrossTVR(config).eval()
    load_qformer(reranker, lavis_names(weights))
    reranker.selector = Recorded(golden["selected_index"].flatten(0, 1))
    tokens = golden["visual_tokens"]
    word = reranker.qformer.embed_words(golden["input_ids"]).detach()
    text = TextFeatures(sentence=word[:, 0], word=word, word_mask=golden["text_mask"].bool())
    mask = torch.ones(tokens.shape[:2], dtype=torch.bool)
    video = VideoFeatures(frame=tokens.mean(dim=2), frame_mask=mask, patch=tokens)
    seen: list[Tensor] = []
    reranker.match.register_forward_hook(lambda *given: seen.append(given[1][0]))
    own = torch.arange(len(tokens))
    with torch.no_grad():
        logits = reranker.logits(text, video, torch.stack([own, own], dim=1))
    torch.testing.assert_close(torch.cat(seen), golden[f"temporal_queries_variant{variant}"], **FEATURES)
    torch.testing.assert_close(logits, golden[f"itm_logits_variant{variant}"], **LOGITS)


class Table(Reranker):
    """Scores from a table; texts and videos carry their row in their features."""

    def __init__(self, score: Tensor) -> None:
        super().__init__()
        self.score = score

    def forward(self, text: TextFeatures, video: VideoFeatures, pairs: Tensor) -> Tensor:
        rows, columns = text.sentence[pairs[:, 0], 0].long(), video.frame[pairs[:, 1], 0, 0].long()
        return self.score[rows, columns]


def table_features(texts: int, videos: int) -> tuple[TextFeatures, VideoFeatures]:
    return TextFeatures(sentence=torch.arange(texts)[:, None].float()), VideoFeatures(
        frame=torch.arange(videos)[:, None, None].float(),
        frame_mask=torch.ones(videos, 1, dtype=torch.bool),
    )


@pytest.mark.parametrize("path", golden_files("crosstvr_rerank_*.safetensors"))
def test_fused_scores(path: Path) -> None:
    golden, metadata = read_golden(path)
    coarse = golden["coarse_sim"]
    text, video = table_features(*coarse.shape)
    options = {"depth": metadata["K"], "fusion": Fusion(weight=1.0, coarse_scale=1.0)}
    table = Table(golden["cross_score"])
    t2v = rerank_similarity(coarse, table, text, video, **options, tail="fill")
    v2t = rerank_similarity(coarse, table, text, video, **options, tail="fill", direction="v2t")
    torch.testing.assert_close(t2v.float(), golden["fused_t2v"])
    torch.testing.assert_close(v2t.T.float(), golden["fused_v2t"])


@pytest.mark.parametrize("path", golden_files("ts2_selection_*.safetensors"))
def test_selection_under_noise(path: Path) -> None:
    golden, metadata = read_golden(path)
    score, k = golden["scores"][:, 1:].clone().requires_grad_(), metadata["topk_excluding_cls"]
    assert torch.equal(top_k(score, k), golden["hard_indices"])
    soft = perturbed_top_k(score, k, noise=golden["noise"], sigma=metadata["sigma"])
    torch.testing.assert_close(soft, golden["indicator_perturbed"], **FEATURES)
    tokens = golden["x"].reshape(len(score), -1, golden["x"].shape[-1])
    upstream = golden["upstream_grad"].reshape(len(score), k + 1, -1)[:, 1:]
    (soft @ tokens[:, 1:]).backward(upstream)
    chosen = torch.zeros(len(score), k, *golden["noise"].shape[1:])
    for s in range(golden["noise"].shape[1]):  # the estimate, one sample at a time
        kept = top_k(score.detach() + metadata["sigma"] * golden["noise"][:, s], k)
        chosen[:, :, s].scatter_(2, kept[..., None], 1.0)
    slope = torch.einsum("rksp,rsp->rkp", chosen, golden["noise"]) / chosen.shape[2] / metadata["sigma"]
    expected = (slope * (upstream @ tokens[:, 1:].transpose(1, 2))).sum(dim=1)
    torch.testing.assert_close(score.grad, expected, atol=1e-4, rtol=1e-4)


def tiny(**changes: Any) -> CrossTVR:
    """A small CrossTVR with weights far from their initial values."""
    qformer = QFormerConfig(
        visual_width=20,
        hidden=16,
        num_layers=3,
        num_heads=2,
        ffn_width=24,
        num_queries=3,
        vocab_size=30,
        max_positions=12,
    )
    torch.manual_seed(0)
    reranker = CrossTVR(CrossTVRConfig(**{"qformer": qformer, "max_words": 12, "num_selected": 3, **changes}))
    with torch.no_grad():
        for parameter in reranker.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return reranker.eval()


def tiny_features(width: int = 20) -> tuple[TextFeatures, VideoFeatures]:
    generator = torch.Generator().manual_seed(1)
    word_mask = torch.arange(5) < torch.tensor([[5], [2], [3]])
    frame_mask = torch.arange(4) < torch.tensor([[4], [1], [3], [2]])
    frame_mask[2] = torch.tensor([True, False, True, True])
    patch = torch.randn(4, 4, 6, width, generator=generator)
    text = TextFeatures(
        sentence=torch.randn(3, 16, generator=generator),
        word=torch.randn(3, 5, 16, generator=generator),
        word_mask=word_mask,
    )
    return text, VideoFeatures(frame=patch[:, :, 0], frame_mask=frame_mask, patch=patch)


def naive_logits(reranker: CrossTVR, text: TextFeatures, video: VideoFeatures, t: int, v: int) -> Tensor:
    """Equations 1 to 6 for one pair, one frame at a time; padding is never seen."""
    config, layers = reranker.config, reranker.qformer.encoder
    assert text.word is not None
    assert text.word_mask is not None
    assert video.patch is not None
    word = text.word[t, text.word_mask[t]][None]
    if reranker.word_map is not None:
        word = reranker.word_map(word)
    everything, num_queries = torch.ones(1, word.shape[1], dtype=torch.bool), config.qformer.num_queries
    queries, kept = [], []
    for f in range(video.patch.shape[1]):
        if not video.frame_mask[v, f]:
            continue
        token = video.patch[v, f]
        token = token if reranker.adapter is None else reranker.adapter(token)
        start = reranker.qformer.query_tokens[None]
        queries.append(layers(start, word, everything, layers.project(token[None]))[0, :num_queries])
        importance = reranker.selector.score(token)[:, 0].softmax(dim=0)
        ranked = sorted(range(1, len(token)), key=lambda p, a=importance: -float(a[p]))
        best = sorted([0, *ranked[: config.num_selected - 1]])
        if not config.keep_class:
            ranked = sorted(range(len(token)), key=lambda p, a=importance: -float(a[p]))
            best = sorted(ranked[: config.num_selected])
        kept += [token[p] for p in best]
    query = sum(queries[1:], queries[0]) / len(queries)
    again = layers if reranker.temporal is None else reranker.temporal
    if not config.temporal_words:
        word, everything = word[:, :0], everything[:, :0]
    last = again(query[None], word, everything, again.project(torch.stack(kept)[None]))[0, :num_queries]
    return sum(reranker.match(one) for one in last) / num_queries


VARIANTS: list[dict[str, Any]] = [
    {},
    {"shared": False},
    {"temporal_words": False},
    {"keep_class": False},
    {"adapter_from": 14},
    {"word_width": 16},
    {"num_selected": 50},
    {"num_selected": 1},
]


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
@pytest.mark.parametrize("blocks", [(128, 8192), (1, 1), (9, 50)], ids=str)
def test_equals_one_pair_at_a_time(
    changes: dict[str, Any], blocks: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_tvr_module, "PAIR_FRAMES", blocks[0])
    monkeypatch.setattr(cross_tvr_module, "TOKENS", blocks[1])
    reranker = tiny(**changes)
    text, video = tiny_features(changes.get("adapter_from", 20))
    pairs = torch.tensor([[2, 3], [0, 0], [1, 0], [0, 2], [2, 1], [2, 3], [1, 2]])
    with torch.no_grad():
        found = reranker.logits(text, video, pairs)
        expected = torch.stack([naive_logits(reranker, text, video, t, v) for t, v in pairs.tolist()])
        torch.testing.assert_close(found, expected, **FEATURES)
        torch.testing.assert_close(reranker(text, video, pairs), expected[:, 1], **FEATURES)
    difference = expected[:, 1] - expected[:, 0]
    for score, value in (("log_odds", difference), ("probability", expected.softmax(dim=1)[:, 1])):
        reranker.config = replace(reranker.config, score=score)
        with torch.no_grad():
            torch.testing.assert_close(reranker(text, video, pairs), value, **FEATURES)


def tiny_blip2() -> Blip2ForImageTextRetrieval:
    config = Blip2Config(
        vision_config={
            "hidden_size": 20,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "image_size": 16,
            "patch_size": 8,
        },
        qformer_config={
            "hidden_size": 16,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "intermediate_size": 24,
            "encoder_hidden_size": 20,
            "vocab_size": 30,
            "max_position_embeddings": 12,
            "use_qformer_text_input": True,
            "cross_attention_frequency": 2,
        },
        num_query_tokens=3,
        image_text_hidden_size=8,
    )
    torch.manual_seed(0)
    model = Blip2ForImageTextRetrieval(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def test_weights_under_the_names_of_transformers() -> None:
    model, reranker = tiny_blip2(), tiny()
    unset = load_qformer(reranker, model.state_dict())
    assert {name.split(".")[0] for name in unset} == {"selector"}
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(2, 3, 16, 16, generator=generator)
    ids = torch.randint(0, 30, (2, 6), generator=generator)
    with torch.no_grad():
        theirs = model(
            pixel_values=pixels,
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            use_image_text_matching_head=True,
        ).logits_per_image
        tokens = model.vision_model(pixels).last_hidden_state
        hidden = reranker.qformer(ids, torch.ones_like(ids).bool(), tokens)[:, :3]
    torch.testing.assert_close(reranker.match(hidden).mean(dim=1).detach(), theirs, **LOGITS)
