"""CLIP4Clip: its four ways from frames to a similarity, its 3-D patches, end to end, equal the reference's numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from framesift.encoders import ClipEncoder
from framesift.encoders.clip import channels_of_3d
from framesift.encoders.openai import clip_from_state
from framesift.features import TextFeatures, VideoFeatures
from framesift.imports import import_state
from framesift.matchers import MeanPool
from framesift.ranking import MemoryGallery, rank
from framesift.rerankers import CrossTransformer, CrossTransformerConfig
from framesift.temporal import (
    Identity,
    Temporal,
    TemporalLSTM,
    TemporalLSTMConfig,
    TemporalTransformer,
    TemporalTransformerConfig,
)
from framesift.training.losses import symmetric_contrastive
from framesift.training.optim import BertAdam, joined_cosine
from golden_files import golden_files, read_golden

CLOSE = {"atol": 2e-5, "rtol": 1e-5}
LOGITS = {"atol": 1e-4, "rtol": 1e-5}


def parameters(golden: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The reference's parameters below ``prefix``, without it."""
    prefix = f"param.{prefix}"
    return {key.removeprefix(prefix): x for key, x in golden.items() if key.startswith(prefix)}


def features(golden: dict[str, Tensor]) -> tuple[TextFeatures, VideoFeatures]:
    return (
        TextFeatures(sentence=golden["sequence_output"][:, 0]),
        VideoFeatures(frame=golden["visual_output"], frame_mask=golden["video_mask"].bool()),
    )


def transformer(golden: dict[str, Tensor], metadata: dict[str, Any]) -> TemporalTransformer:
    positions = golden["param.frame_position_embeddings.weight"]
    blocks = parameters(golden, "transformerClip.resblocks.")
    temporal = TemporalTransformer(
        TemporalTransformerConfig(
            dim=metadata["embed_dim"],
            num_layers=metadata["head_layers"],
            num_heads=metadata["heads"],
            max_frames=len(positions),
        )
    )
    temporal.load_state_dict(
        {"position_embedding.weight": positions, **{f"blocks.{name}": x for name, x in blocks.items()}}
    )
    return temporal.eval()


def lstm(golden: dict[str, Tensor], metadata: dict[str, Any]) -> TemporalLSTM:
    temporal = TemporalLSTM(TemporalLSTMConfig(dim=metadata["embed_dim"]))
    temporal.lstm.load_state_dict(parameters(golden, "lstm_visual."))
    return temporal.eval()


def cross_transformer(golden: dict[str, Tensor], metadata: dict[str, Any]) -> CrossTransformer:
    positions = golden["param.cross.embeddings.position_embeddings.weight"]
    reranker = CrossTransformer(
        CrossTransformerConfig(
            dim=metadata["embed_dim"],
            num_layers=metadata["head_layers"],
            num_heads=metadata["heads"],
            max_frames=len(positions) - 1,
        )
    )
    parts = {
        "blocks.": parameters(golden, "cross.transformer.resblocks."),
        "pooler.": parameters(golden, "cross.pooler."),
        "similarity_dense.": parameters(golden, "similarity_dense."),
    }
    named = {prefix + name: x for prefix, part in parts.items() for name, x in part.items()}
    reranker.load_state_dict({"position_embedding.weight": positions, **named})
    return reranker.eval()


TEMPORAL: dict[str, Callable[[dict[str, Tensor], dict[str, Any]], Temporal]] = {
    "meanP": lambda golden, metadata: Identity(),
    "seqTransf": transformer,
    "seqLSTM": lstm,
}


@pytest.mark.parametrize(
    "path", [case for kind in TEMPORAL for case in golden_files(f"clip4clip_head_{kind}_*.safetensors")]
)
@torch.no_grad()
def test_loose_heads(path: Path) -> None:
    golden, metadata = read_golden(path)
    text, video = features(golden)
    encoded = TEMPORAL[metadata["sim_header"]](golden, metadata)(video)
    scale = golden["param.clip.logit_scale"].exp()
    matcher = MeanPool()
    for similarity in (matcher(text, encoded), matcher.scorer(encoded)(text)):
        torch.testing.assert_close(scale * similarity, golden["logits"], **LOGITS)


@pytest.mark.parametrize("path", golden_files("clip4clip_head_tightTransf_*.safetensors"))
@torch.no_grad()
def test_tight_head(path: Path) -> None:
    golden, metadata = read_golden(path)
    text, video = features(golden)
    reranker = cross_transformer(golden, metadata)
    pairs = torch.cartesian_prod(torch.arange(len(text)), torch.arange(len(video)))
    scores = reranker(text, video, pairs).view(len(text), len(video))
    torch.testing.assert_close(scores, golden["logits"], **CLOSE)
    # as the only scorer of a gallery
    ranking = rank(text, MemoryGallery(video), MeanPool(), reranker=reranker, rerank_depth=len(video))
    expected, rows = golden["logits"].sort(dim=1, descending=True)
    assert torch.equal(ranking.rows, rows)
    torch.testing.assert_close(ranking.scores, expected, **CLOSE)


@pytest.mark.parametrize("path", golden_files("clip4clip_e2e_*.safetensors"))
def test_end_to_end_with_loss_and_gradients(path: Path) -> None:
    """Ids and pixels through the imported checkpoint."""
    golden, _ = read_golden(path)
    model = import_state(parameters(golden, ""), None, layout="clip4clip")
    ids = golden["input_ids"]
    mask = golden["video_mask"].bool()
    pixels = golden["video"].flatten(0, 3)
    sentence = model.encoder.forward_text(ids, golden["attention_mask"].bool())
    frame = model.encoder.forward_pixels(pixels).unflatten(0, mask.shape)
    torch.testing.assert_close(sentence.detach(), golden["sequence_output"][:, 0], **CLOSE)
    torch.testing.assert_close(frame.detach(), golden["visual_output"], **CLOSE)
    video = model.temporal(VideoFeatures(frame=frame, frame_mask=mask))
    similarity = model.matcher(TextFeatures(sentence=sentence), video)
    torch.testing.assert_close(model.logit_scale.exp() * similarity.detach(), golden["logits"], **LOGITS)
    loss = symmetric_contrastive(similarity, model.logit_scale)
    torch.testing.assert_close(loss.detach(), golden["loss"], **LOGITS)
    loss.backward()
    tower = model.encoder.model
    found = {
        "logit_scale": model.logit_scale.grad,
        "text_projection": tower.text_projection.weight.grad.T,
        "visual.proj": tower.visual_projection.weight.grad.T,
        "visual.conv1.weight": tower.vision_model.embeddings.patch_embedding.weight.grad,
    }
    expected = {key.removeprefix("grad.clip."): x for key, x in golden.items() if key.startswith("grad.")}
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-4, rtol=1e-4, msg=name)


def encoder_3d(golden: dict[str, Tensor], *, conv2: Tensor | None) -> ClipEncoder:
    """The golden's visual tower beside the text tower of another one."""
    (other, *_) = golden_files("clip4clip_e2e_*.safetensors")
    text = parameters(read_golden(other.values[0])[0], "clip.")
    tower = {f"visual.{name}": x for name, x in parameters(golden, "").items() if name != "conv2.weight"}
    state = {name: x for name, x in text.items() if not name.startswith("visual.")} | tower
    if conv2 is not None:
        state["visual.conv2.weight"] = conv2
    return clip_from_state(state, tokenizer=None)


def frames_of(golden: dict[str, Tensor], encoder: ClipEncoder, frames: int) -> list[Tensor]:
    """The encoder's input for every clip of the golden's preprocessed pixels."""
    encoder.preprocessing = lambda pixels: torch.from_numpy(pixels)  # type: ignore[assignment]
    return [encoder.preprocess(clip.numpy()) for clip in golden["video"].split(frames)]


@pytest.mark.parametrize("path", golden_files("clip4clip_linear_patch_3d*.safetensors"))
def test_3d_patches(path: Path) -> None:
    golden, metadata = read_golden(path)
    encoder = encoder_3d(golden, conv2=golden["param.conv2.weight"])
    clips = frames_of(golden, encoder, metadata["frames"])
    found = encoder.encode_pixels(torch.cat(clips))
    torch.testing.assert_close(found, golden["image_features"], **CLOSE)
    # a kernel of three frames over the clip, with zeros before and behind it
    kernel = golden["param.conv2.weight"]
    flat = encoder.model.vision_model.embeddings.patch_embedding
    for clip, channels in zip(golden["video"].split(metadata["frames"]), clips, strict=True):
        patch = metadata["patch"]
        expected = torch.conv3d(
            clip.transpose(0, 1)[None], kernel, stride=(1, patch, patch), padding=(1, 0, 0)
        )
        torch.testing.assert_close(flat(channels).detach(), expected[0].transpose(0, 1), **CLOSE)


@pytest.mark.parametrize("path", golden_files("clip4clip_linear_patch_3d*.safetensors"))
def test_3d_patches_start_as_the_2d_ones(path: Path) -> None:
    golden, metadata = read_golden(path)
    flat = encoder_3d(golden, conv2=None)
    encoder = flat.with_3d_patches()
    weight = encoder.model.vision_model.embeddings.patch_embedding.weight.detach()
    assert torch.equal(weight, channels_of_3d(golden["conv2_init"]))
    (one, two) = (torch.cat(frames_of(golden, x, metadata["frames"])) for x in (flat, encoder))
    torch.testing.assert_close(encoder.encode_pixels(two), flat.encode_pixels(one), **CLOSE)
    ids = torch.tensor([[62, 5, 63]])
    texts = [x.encode_tokens(ids, ids > 0).sentence for x in (flat, encoder)]
    assert torch.equal(*texts)


@pytest.mark.parametrize("path", golden_files("clip4clip_bertadam_*.safetensors"))
def test_optimiser_and_schedule(path: Path) -> None:
    golden, metadata = read_golden(path)
    parameters = [torch.nn.Parameter(golden[f"p{i}_init"].clone()) for i in (1, 2)]
    rates = torch.tensor([metadata["lr_group1"], metadata["lr_group2"]])
    optimizer = BertAdam(
        [
            {
                "params": [p],
                "lr": metadata[f"lr_group{i}"],
                "weight_decay": metadata[f"weight_decay_group{i}"],
            }
            for i, p in enumerate(parameters, start=1)
        ],
        betas=(metadata["b1"], metadata["b2"]),
        eps=metadata["eps"],
        max_norm=metadata["per_param_clip"],
    )
    schedule = joined_cosine(optimizer, total_steps=metadata["t_total"], warmup=metadata["warmup"])
    for step in range(metadata["t_total"]):
        for number, parameter in enumerate(parameters, start=1):
            parameter.grad = golden[f"grads{number}"][step].clone()
        torch.nn.utils.clip_grad_norm_(parameters, metadata["global_clip"])
        used = torch.tensor([group["lr"] for group in optimizer.param_groups])
        torch.testing.assert_close(used, golden["lr_multiplier"][step] * rates, atol=1e-9, rtol=1e-5)
        optimizer.step()
        schedule.step()
        for number, parameter in enumerate(parameters, start=1):
            torch.testing.assert_close(
                parameter.detach(), golden[f"p{number}_after"][step], atol=1e-6, rtol=1e-5
            )


def norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    centred = x - x.mean()
    return centred / torch.sqrt((centred**2).mean() + 1e-12) * weight + bias


def naive_blocks(tokens: list[Tensor], weight: dict[str, Tensor], layers: int, heads: int) -> list[Tensor]:
    """CLIP's blocks one token and one head at a time."""

    def gelu(x: Tensor) -> Tensor:
        return x / (1 + torch.exp(-1.702 * x))

    for i in range(layers):
        w = {name.removeprefix(f"blocks.{i}."): x for name, x in weight.items()}
        normed = [norm(x, w["ln_1.weight"], w["ln_1.bias"]) for x in tokens]
        q, k, v = zip(
            *((w["attn.in_proj_weight"] @ x + w["attn.in_proj_bias"]).chunk(3) for x in normed), strict=True
        )
        attended: list[Tensor] = []
        for query, x in zip(q, tokens, strict=True):
            parts: list[Tensor] = []
            for own in torch.arange(len(query)).chunk(heads):
                raw = [math.exp(float(query[own] @ key[own]) / math.sqrt(len(own))) for key in k]
                parts.append(sum(e / sum(raw) * value[own] for e, value in zip(raw, v, strict=True)))
            attended.append(x + w["attn.out_proj.weight"] @ torch.cat(parts) + w["attn.out_proj.bias"])
        tokens = []
        for x in attended:
            hidden = gelu(
                w["mlp.c_fc.weight"] @ norm(x, w["ln_2.weight"], w["ln_2.bias"]) + w["mlp.c_fc.bias"]
            )
            tokens.append(x + w["mlp.c_proj.weight"] @ hidden + w["mlp.c_proj.bias"])
    return tokens


def perturbed(module: torch.nn.Module) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    module.eval()
    return {name: x.detach() for name, x in module.named_parameters()}


def some_features(dim: int) -> tuple[TextFeatures, VideoFeatures]:
    generator = torch.Generator().manual_seed(1)
    mask = torch.arange(5) < torch.tensor([[5], [2], [3]])
    frame = torch.randn(3, 5, dim, generator=generator).masked_fill(~mask[..., None], float("nan"))
    return (
        TextFeatures(sentence=torch.randn(4, dim, generator=generator)),
        VideoFeatures(frame=frame, frame_mask=mask),
    )


@torch.no_grad()
def test_the_transformer_equals_a_naive_loop_over_videos_tokens_and_heads() -> None:
    temporal = TemporalTransformer(TemporalTransformerConfig(dim=12, num_layers=2, num_heads=3, max_frames=7))
    weight = perturbed(temporal)
    _, video = some_features(12)
    encoded = temporal(video).frame
    for v in range(len(video)):
        frames = list(video.frame[v, video.frame_mask[v]])
        tokens = [x + weight["position_embedding.weight"][i] for i, x in enumerate(frames)]
        for f, (x, token) in enumerate(zip(frames, naive_blocks(tokens, weight, 2, 3), strict=True)):
            torch.testing.assert_close(encoded[v, f], x + token, **CLOSE)


@torch.no_grad()
def test_the_lstm_equals_a_naive_loop_over_frames_and_gates() -> None:
    temporal = TemporalLSTM(TemporalLSTMConfig(dim=6))
    weight = perturbed(temporal)
    _, video = some_features(6)
    encoded = temporal(video).frame
    for v in range(len(video)):
        hidden = cell = torch.zeros(6)
        for f, x in enumerate(video.frame[v, video.frame_mask[v]]):
            gates = weight["lstm.weight_ih_l0"] @ x + weight["lstm.bias_ih_l0"]
            gates = gates + weight["lstm.weight_hh_l0"] @ hidden + weight["lstm.bias_hh_l0"]
            enter, forget, new, leave = gates.chunk(4)
            cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
            hidden = leave.sigmoid() * cell.tanh()
            torch.testing.assert_close(encoded[v, f], x + hidden, **CLOSE)


@torch.no_grad()
def test_the_cross_transformer_equals_a_naive_loop_over_pairs() -> None:
    reranker = CrossTransformer(CrossTransformerConfig(dim=12, num_layers=2, num_heads=3, max_frames=6))
    weight = perturbed(reranker)
    text, video = some_features(12)
    pairs = torch.tensor([[0, 0], [3, 2], [1, 1], [3, 0], [1, 1]])
    for (t, v), score in zip(pairs.tolist(), reranker(text, video, pairs), strict=True):
        sequence = [text.sentence[t], *video.frame[v, video.frame_mask[v]]]
        tokens = [x + weight["position_embedding.weight"][i] for i, x in enumerate(sequence)]
        first = naive_blocks(tokens, weight, 2, 3)[0]
        normed = norm(first, weight["pooler.ln_pool.weight"], weight["pooler.ln_pool.bias"])
        pooled = weight["pooler.dense.weight"] @ normed + weight["pooler.dense.bias"]
        pooled = pooled * torch.sigmoid(1.702 * pooled)
        expected = weight["similarity_dense.weight"] @ pooled + weight["similarity_dense.bias"]
        torch.testing.assert_close(score, expected[0], **CLOSE)
