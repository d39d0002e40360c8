"""X-Pool and its baselines: forward, initial values, loss, gradients, optimiser and schedule equal the reference's."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from framesift.features import TextFeatures, VideoFeatures
from framesift.matchers import (
    Matcher,
    MeanPool,
    SoftmaxPool,
    SoftmaxPoolConfig,
    TopK,
    TopKConfig,
    XPool,
    XPoolConfig,
)
from framesift.matchers.weighted_pool import WeightedPool
from framesift.metrics import group_captions, t2v, v2t
from framesift.training.losses import symmetric_contrastive
from framesift.training.optim import adamw, warmup_cosine
from golden_files import golden_files, read_golden

CLOSE = {"atol": 2e-5, "rtol": 1e-5}
RECALL_AT = (1, 5, 10, 50, 100)


def features(text: Tensor, video: Tensor) -> tuple[TextFeatures, VideoFeatures]:
    mask = torch.ones(video.shape[:2], dtype=torch.bool)
    return TextFeatures(sentence=text), VideoFeatures(frame=video, frame_mask=mask)


def head(golden: dict[str, Tensor], metadata: dict[str, Any], prefix: str = "param.") -> XPool:
    """The reference's parameters under our names, which are theirs."""
    matcher = XPool(XPoolConfig(dim=metadata["embed_dim"], num_heads=metadata["num_heads"]))
    weights = {key.removeprefix(prefix): x for key, x in golden.items() if key.startswith(prefix)}
    matcher.load_state_dict(weights)
    return matcher.eval()


def grouped(golden: dict[str, Tensor], sims: Tensor) -> tuple[Tensor, Tensor]:
    """Reference tensor ``[video, caption, video]`` -> our ``[text, video]`` and relevance, in the order of texts."""
    valid = golden["valid_text_mask"].bool()
    owner = valid.nonzero()[:, 0]
    return sims[valid], owner[:, None] == torch.arange(len(valid))


def assert_metrics(expected: dict[str, Any], similarity: Tensor, relevance: Tensor, direction: str) -> None:
    """Against X-Pool's own metric dictionary; ties in column order, as its sort leaves them."""
    if direction == "t2v":
        found = t2v(similarity, relevance, ties="xpool", recall_at=RECALL_AT)
    else:
        found = v2t(group_captions(similarity, relevance), ties="xpool", recall_at=RECALL_AT)
    assert {k: pytest.approx(expected[f"R{k}"]) for k in RECALL_AT} == found.recall_at
    assert found.median_rank == pytest.approx(expected["MedR"])
    assert found.mean_rank == pytest.approx(expected["MeanR"])


@pytest.mark.parametrize("path", golden_files("xpool_transformer_*.safetensors"))
def test_forward(path: Path) -> None:
    golden, metadata = read_golden(path)
    matcher = head(golden, metadata)
    text, video = features(golden["text_embeds"], golden["video_embeds"])
    with torch.no_grad():
        sentence, frame = matcher.layer_norm1(text.sentence), matcher.layer_norm1(video.frame)
        attended = matcher.cross_attn(sentence, frame, video.frame_mask)
        torch.testing.assert_close(attended.movedim(1, 0), golden["attn_out"], **CLOSE)
        torch.testing.assert_close(matcher.pool(text, video).movedim(1, 0), golden["pooled"], **CLOSE)
    for similarity in every_form(matcher, text, video):
        torch.testing.assert_close(similarity, golden["sims_training"], **CLOSE)
        for direction in ("t2v", "v2t"):
            ours, relevance = grouped(golden, golden["sims_inference"])
            torch.testing.assert_close(similarity, ours, **CLOSE)
            assert_metrics(metadata[f"{direction}_metrics"], similarity, relevance, direction)


@pytest.mark.parametrize("path", golden_files("xpool_transformer_*.safetensors"))
def test_initial_values(path: Path) -> None:
    golden, metadata = read_golden(path)
    initial = {key.removeprefix("init."): x for key, x in golden.items() if key.startswith("init.")}
    if not initial:
        pytest.skip(f"{path.name} has no initial values")
    fresh = XPool(XPoolConfig(dim=metadata["embed_dim"], num_heads=metadata["num_heads"])).state_dict()
    assert fresh.keys() == initial.keys()
    for key, value in initial.items():
        assert torch.equal(fresh[key], value), key


@pytest.mark.parametrize("path", golden_files("xpool_baselines_*.safetensors"))
def test_baselines(path: Path) -> None:
    golden, metadata = read_golden(path)
    text, video = features(golden["text_embeds_normalised"], golden["video_embeds_normalised"])
    names = [key.removeprefix("sims_training.") for key in golden if key.startswith("sims_training.")]
    assert len(names) > 1
    for name in names:
        matcher = baseline(name)
        for similarity in every_form(matcher, text, video):
            torch.testing.assert_close(similarity, golden[f"sims_training.{name}"], **CLOSE)
        if isinstance(matcher, WeightedPool):
            pooled = matcher.pool(text, video).movedim(1, 0)
            # the reference sums the k frames, we average them
            count = min(matcher.config.k, video.frame.shape[1]) if isinstance(matcher, TopK) else 1
            torch.testing.assert_close(pooled * count, golden[f"pooled.{name}"], **CLOSE)
        similarity, relevance = grouped(golden, golden[f"sims_inference.{name}"])
        for direction in ("t2v", "v2t"):
            assert_metrics(metadata[f"{direction}.{name}"], similarity, relevance, direction)


def baseline(name: str) -> Matcher:
    """``avg``, ``topk_3``, ``attention_0p01`` -> ours."""
    kind, _, value = name.partition("_")
    match kind:
        case "avg":
            return MeanPool()
        case "topk":
            return TopK(TopKConfig(k=int(value)))
        case _:
            return SoftmaxPool(SoftmaxPoolConfig(temperature=float(value.replace("p", "."))))


def every_form(matcher: Matcher, text: TextFeatures, video: VideoFeatures) -> list[Tensor]:
    with torch.no_grad():
        return [matcher(text, video), matcher.scorer(video)(text), matcher.query_scorer(text)(video)]


@pytest.mark.parametrize("path", golden_files("xpool_loss_grad_*.safetensors"))
def test_loss_and_every_gradient(path: Path) -> None:
    golden, metadata = read_golden(path)
    matcher = head(golden, metadata)
    text, video = features(golden["text_embeds"].requires_grad_(), golden["video_embeds"].requires_grad_())
    scale = golden["logit_scale"].requires_grad_()
    similarity = matcher(text, video)
    similarity.retain_grad()
    loss = symmetric_contrastive(similarity, scale)
    loss.backward()
    torch.testing.assert_close(similarity.detach(), golden["sims"], **CLOSE)
    torch.testing.assert_close(loss.detach(), golden["loss"], atol=1e-4, rtol=1e-5)
    found = {
        "grad_sims": similarity.grad,
        "grad_text": text.sentence.grad,
        "grad_video": video.frame.grad,
        "grad_logit_scale": scale.grad,
        **{f"grad.{name}": parameter.grad for name, parameter in matcher.named_parameters()},
    }
    assert {key for key in golden if key.startswith("grad")} == set(found)
    for key, gradient in found.items():
        torch.testing.assert_close(
            gradient, golden[key], atol=1e-4, rtol=1e-4, msg=lambda m, k=key: f"{k}: {m}"
        )


@pytest.mark.parametrize("path", golden_files("xpool_adamw_*.safetensors"))
def test_optimiser_and_schedule(path: Path) -> None:
    golden, metadata = read_golden(path)
    parameters = [torch.nn.Parameter(golden[f"p{i}_init"].clone()) for i in (1, 2)]
    optimizer = adamw(
        [{"params": [p], "lr": lr} for p, lr in zip(parameters, metadata["base_lrs"], strict=True)],
        betas=tuple(metadata["betas"]),
        eps=metadata["eps"],
        weight_decay=metadata["weight_decay"],
    )
    schedule = warmup_cosine(
        optimizer, total_steps=metadata["total_steps"], warmup_steps=metadata["warmup_steps"]
    )
    for step in range(metadata["total_steps"]):
        for number, parameter in enumerate(parameters, start=1):
            parameter.grad = golden[f"grads{number}"][step].clone()
        torch.nn.utils.clip_grad_norm_(parameters, metadata["clip_norm"])
        rates = torch.tensor([group["lr"] for group in optimizer.param_groups])
        torch.testing.assert_close(rates, golden["lr_used"][step], atol=1e-9, rtol=1e-6)
        optimizer.step()
        schedule.step()
        for number, parameter in enumerate(parameters, start=1):
            torch.testing.assert_close(
                parameter.detach(), golden[f"p{number}_after"][step], atol=1e-6, rtol=1e-5
            )


def test_pooling_equals_a_naive_loop_over_the_equations() -> None:
    """Equations 9 to 15 of the paper for one pair at a time, heads spelled out."""
    generator = torch.Generator().manual_seed(0)
    dim, heads, frames = 12, 3, 4
    matcher = XPool(XPoolConfig(dim=dim, num_heads=heads)).eval()
    with torch.no_grad():
        for parameter in matcher.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    text, video = features(
        torch.randn(3, dim, generator=generator), torch.randn(2, frames, dim, generator=generator)
    )
    weight = {name: x.detach() for name, x in matcher.named_parameters()}

    def norm(x: Tensor, name: str) -> Tensor:
        centred = x - x.mean()
        scaled = centred / torch.sqrt((centred**2).mean() + 1e-5)
        return scaled * weight[f"{name}.weight"] + weight[f"{name}.bias"]

    def project(x: Tensor, name: str) -> Tensor:
        return weight[f"{name}.weight"] @ x + weight[f"{name}.bias"]

    width = dim // heads
    for t in range(3):
        for v in range(2):
            q = project(norm(text.sentence[t], "layer_norm1"), "cross_attn.q_proj")
            normed = [norm(frame, "layer_norm1") for frame in video.frame[v]]
            keys = [project(frame, "cross_attn.k_proj") for frame in normed]
            values = [project(frame, "cross_attn.v_proj") for frame in normed]
            parts = []
            for h in range(heads):
                own = slice(h * width, (h + 1) * width)
                raw = [math.exp(float(q[own] @ k[own]) / math.sqrt(width)) for k in keys]
                parts.append(sum(e / sum(raw) * value[own] for e, value in zip(raw, values, strict=True)))
            attended = norm(project(torch.cat(parts), "cross_attn.out_proj"), "layer_norm2")
            expected = norm(attended + project(attended, "linear_proj"), "layer_norm3")
            torch.testing.assert_close(matcher.pool(text, video)[t, v].detach(), expected, **CLOSE)
