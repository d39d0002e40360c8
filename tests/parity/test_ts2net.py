"""TS2-Net: token shift, token selection with its gradients, similarity, and pixels to loss equal the reference's
numbers, and versions of them that take one video, frame and token at a time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm

from framesift.encoders import TokenShiftClipEncoder
from framesift.encoders.token_shift import adjacent_frames, shift_tokens
from framesift.features import TextFeatures, VideoFeatures
from framesift.imports import import_state
from framesift.matchers import SelectedTokens
from framesift.perturbed_top_k import perturbed_top_k, top_k
from framesift.temporal import TokenSelection, TokenSelectionConfig
from framesift.training.losses import symmetric_contrastive
from golden_files import golden_files, read_golden

CLOSE = {"atol": 2e-5, "rtol": 1e-5}
LOGITS = {"atol": 1e-4, "rtol": 1e-5}


def parameters(golden: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The reference's parameters below ``prefix``, without it."""
    prefix = f"param.{prefix}"
    return {key.removeprefix(prefix): x for key, x in golden.items() if key.startswith(prefix)}


@pytest.mark.parametrize("path", golden_files("ts2_shift_*.safetensors"))
def test_token_shift(path: Path) -> None:
    golden, metadata = read_golden(path)
    lengths = [metadata["frames"]] * metadata["batch"]
    frames = golden["x"].transpose(0, 1)
    shifted = shift_tokens(frames, *adjacent_frames(lengths, frames.device))
    assert torch.equal(shifted.transpose(0, 1), golden["y"])


def selection(golden: dict[str, Tensor], metadata: dict[str, Any], **options: Any) -> TokenSelection:
    """The reference's scorer; the transformer behind it stays as it starts."""
    config = TokenSelectionConfig(
        dim=metadata["dim"],
        num_selected=1 + metadata["topk_excluding_cls"],
        samples=metadata["num_samples"],
        sigma=metadata["sigma"],
        num_heads=1,
        **options,
    )
    temporal = TokenSelection(config)
    temporal.scorer.load_state_dict(parameters(golden, "score_predictor."))
    return temporal.eval()


def tokens_of(x: Tensor, frames: int) -> VideoFeatures:
    """Videos ``[video, frame * token, dim]`` of the reference, without padding."""
    token = x.unflatten(1, (frames, -1))
    mask = torch.ones(token.shape[:2], dtype=torch.bool)
    return VideoFeatures(frame=token[:, :, 0], frame_mask=mask, patch=token)


@pytest.mark.parametrize("path", golden_files("ts2_selection_*.safetensors"))
@torch.no_grad()
def test_selection_in_evaluation(path: Path) -> None:
    golden, metadata = read_golden(path)
    temporal = selection(golden, metadata)
    video = tokens_of(golden["x"], metadata["frames"])
    score = temporal.scorer(video.patch.flatten(0, 1))
    torch.testing.assert_close(score, golden["scores"], **CLOSE)
    assert torch.equal(top_k(score[:, 1:], metadata["topk_excluding_cls"]), golden["hard_indices"])
    assert torch.equal(temporal.select(video).flatten(1, 2), golden["output_hard"])


@pytest.mark.parametrize("path", golden_files("ts2_selection_*.safetensors"))
@pytest.mark.parametrize("training", [True, False])
def test_selection_under_noise_with_its_gradients(
    path: Path, training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden, metadata = read_golden(path)
    temporal = selection(golden, metadata, noisy_evaluation=not training).train(training)
    monkeypatch.setattr(torch, "randn", lambda *sizes, **options: golden["noise"])
    x = golden["x"].clone().requires_grad_()
    selected = temporal.select(tokens_of(x, metadata["frames"])).flatten(1, 2)
    torch.testing.assert_close(selected.detach(), golden["output_perturbed"], **CLOSE)
    selected.backward(golden["upstream_grad"])
    torch.testing.assert_close(x.grad, golden["grad_x"], **CLOSE)
    for name, parameter in temporal.scorer.named_parameters():
        torch.testing.assert_close(
            parameter.grad, golden[f"grad.score_predictor.{name}"], atol=2e-5, rtol=1e-4
        )


@pytest.mark.parametrize("path", golden_files("ts2_selection_*.safetensors"))
def test_perturbed_top_k(path: Path) -> None:
    golden, metadata = read_golden(path)
    score, k = golden["scores"][:, 1:].clone().requires_grad_(), metadata["topk_excluding_cls"]
    soft = perturbed_top_k(score, k, noise=golden["noise"], sigma=metadata["sigma"])
    torch.testing.assert_close(soft.detach(), golden["indicator_perturbed"], **CLOSE)
    hard = torch.nn.functional.one_hot(top_k(score, k), score.shape[1]).float()
    assert torch.equal(hard, golden["indicator_hard"])


def head(golden: dict[str, Tensor], metadata: dict[str, Any], **options: Any) -> TokenSelection:
    """The reference's transformer; the scorer, which its tokens do not need, stays as it starts."""
    positions = golden["param.frame_position_embeddings.weight"]
    config = TokenSelectionConfig(
        dim=metadata["embed_dim"],
        num_selected=metadata["tokens_per_frame"],
        num_layers=metadata["head_layers"],
        num_heads=metadata["heads"],
        num_positions=len(positions),
        **options,
    )
    temporal = TokenSelection(config)
    temporal.position_embedding.load_state_dict({"weight": positions})
    temporal.blocks.load_state_dict(parameters(golden, "transformerClip.resblocks."))
    return temporal.eval()


@pytest.mark.parametrize("path", golden_files("ts2_head_*.safetensors"))
@pytest.mark.parametrize("masks", ["full", "partial"])
@torch.no_grad()
def test_similarity(path: Path, masks: str) -> None:
    """All tokens are kept, so that the reference's selected ones go through; with partial masks, as released."""
    golden, metadata = read_golden(path)
    text = TextFeatures(sentence=golden["sequence_output"][:, 0])
    video = tokens_of(golden["visual_tokens"], metadata["max_frames"])
    mask = golden[f"video_mask_{masks}"].bool()
    video = VideoFeatures(frame=video.frame, frame_mask=mask, patch=video.patch)
    expected = golden[f"logits_final_{masks}mask"]
    scale, matcher = golden["param.clip.logit_scale"].exp(), SelectedTokens()
    encoded = head(golden, metadata, tile_mask=True)(video)
    for similarity in (
        matcher(text, encoded),
        matcher.scorer(encoded)(text),
        matcher.query_scorer(text)(encoded),
    ):
        torch.testing.assert_close(scale * similarity, expected, **LOGITS)
    right = scale * matcher(text, head(golden, metadata)(video))
    if masks == "full":
        torch.testing.assert_close(right, expected, **LOGITS)
    else:
        whole = mask.all(dim=1)
        torch.testing.assert_close(right[:, whole], expected[:, whole], **LOGITS)
        assert (right - expected)[:, ~whole].abs().max() > 1e-2


@pytest.mark.parametrize("path", golden_files("ts2_e2e_*.safetensors"))
def test_end_to_end_with_loss(path: Path) -> None:
    """Ids and pixels through the imported checkpoint."""
    golden, metadata = read_golden(path)
    state = parameters(golden, "")
    block = "clip.visual.transformer.resblocks."
    for i in range(1, min(metadata["shift_layers"])):  # tied, and not stored
        state |= {
            name.replace(f"{block}0.", f"{block}{i}."): x
            for name, x in state.items()
            if name.startswith(f"{block}0.")
        }
    model = import_state(state, None)
    assert isinstance(model.encoder, TokenShiftClipEncoder)
    assert list(model.encoder.shift_layers) == [i for i in metadata["shift_layers"] if i < metadata["vl"]]
    mask = golden["video_mask"].bool()
    lengths = [mask.shape[1]] * len(mask)
    frame, tokens = model.encoder.forward_patches(golden["video"].flatten(0, 3), lengths=lengths)
    torch.testing.assert_close(model.encoder.project(tokens).detach(), golden["visual_hidden"], **CLOSE)
    video = VideoFeatures(
        frame=frame.unflatten(0, mask.shape), frame_mask=mask, patch=tokens.unflatten(0, mask.shape)
    )
    projected = VideoFeatures(
        frame=video.frame, frame_mask=mask, patch=model.encoder.project(tokens).unflatten(0, mask.shape)
    )
    assert isinstance(model.temporal, TokenSelection)
    selected = model.temporal.select(projected).flatten(1, 2)
    torch.testing.assert_close(selected.detach(), golden["selected_tokens_hard"], **CLOSE)
    sentence = model.encoder.forward_text(golden["input_ids"], golden["attention_mask"].bool())
    torch.testing.assert_close(sentence.detach(), golden["sequence_output"][:, 0], **CLOSE)
    similarity = model.matcher(TextFeatures(sentence=sentence), model.inform(video))
    torch.testing.assert_close(model.logit_scale.exp() * similarity.detach(), golden["logits_hard"], **LOGITS)
    loss = symmetric_contrastive(similarity, model.logit_scale)
    torch.testing.assert_close(loss.detach(), golden["loss_hard"], **LOGITS)
    loss.backward()
    for name, parameter in model.named_parameters():
        if not name.startswith("temporal.scorer.") and name != "encoder.model.logit_scale":
            assert parameter.grad is not None, name
            assert bool(parameter.grad.isfinite().all()), name


@torch.no_grad()
def test_scores_and_selection_equal_a_naive_loop_over_frames_and_tokens() -> None:
    temporal = TokenSelection(TokenSelectionConfig(dim=12, num_selected=3, num_heads=3)).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in temporal.parameters():
        parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    weight = dict(temporal.scorer.named_parameters())
    token = torch.randn(2, 4, 9, 12, generator=generator)
    video = VideoFeatures(frame=token[:, :, 0], frame_mask=torch.ones(2, 4, dtype=torch.bool), patch=token)
    selected = temporal.select(video)

    def local(x: Tensor) -> Tensor:
        normed = layer_norm(x, (12,), weight["in_conv.0.weight"], weight["in_conv.0.bias"])
        return gelu(weight["in_conv.1.weight"] @ normed)

    for v, f in torch.cartesian_prod(torch.arange(2), torch.arange(4)).tolist():
        scores: list[float] = []
        for x in token[v, f, 1:]:
            both = torch.cat([local(x), local(token[v, f, 0])])
            hidden = gelu(weight["out_conv.0.weight"] @ both)
            scores.append(math.tanh((weight["out_conv.2.weight"] @ hidden).item()))
        best = sorted(sorted(range(8), key=lambda i: -scores[i])[:2])
        expected = torch.stack([token[v, f, 0], *(token[v, f, 1 + i] for i in best)])
        assert torch.equal(selected[v, f], expected)


@torch.no_grad()
def test_similarity_equals_a_naive_loop_over_pairs_and_frames() -> None:
    generator = torch.Generator().manual_seed(1)
    mask = torch.arange(5) < torch.tensor([[5], [2], [1]])
    frame = torch.randn(3, 5, 6, generator=generator).masked_fill(~mask[..., None], float("nan"))
    text = TextFeatures(sentence=torch.randn(4, 6, generator=generator))
    similarity = SelectedTokens()(text, VideoFeatures(frame=frame, frame_mask=mask))
    for t in range(4):
        for v in range(3):
            cosines = [torch.cosine_similarity(text.sentence[t], x, dim=0).item() for x in frame[v, mask[v]]]
            length = math.sqrt(sum(a * a for a in cosines))
            weights = [math.exp(4 * a / length) for a in cosines]
            expected = sum(w * a for w, a in zip(weights, cosines, strict=True)) / sum(weights)
            assert similarity[t, v].item() == pytest.approx(expected, abs=1e-6)
