"""What learns, how fast, and in which precision."""

from pathlib import Path

import pytest
import torch
from torch import nn

from framesift.encoders import load_encoder
from framesift.errors import ConfigError
from framesift.matchers import MeanPool, XPool, XPoolConfig
from framesift.model import RetrievalModel
from framesift.temporal import Identity, TemporalTransformer, TemporalTransformerConfig
from framesift.training.optim import BertAdam, build_optimizer, freeze, parameter_groups
from framesift.training.recipe import OptimRecipe
from tiny_models import tiny_clip, tiny_siglip

DIM = 24


def clip_model(folder: Path) -> RetrievalModel:
    encoder = load_encoder(tiny_clip(folder / "clip"), device="cpu")
    temporal = TemporalTransformer(TemporalTransformerConfig(dim=DIM, num_heads=2, num_layers=1))
    return RetrievalModel(encoder, temporal, XPool(XPoolConfig(dim=DIM)))


def names(model: nn.Module, groups: list[dict]) -> dict[str, set[str]]:  # type: ignore[type-arg]
    by_id = {id(p): name for name, p in model.named_parameters()}
    return {group["name"]: {by_id[id(p)] for p in group["params"]} for group in groups}


def test_encoder_and_head_have_rates_of_their_own(tmp_path: Path) -> None:
    model = clip_model(tmp_path)
    freeze(model, "none")
    groups = parameter_groups(model, OptimRecipe(lr_head=1e-3, lr_encoder=1e-5, decay="not_bias"))
    found = names(model, groups)
    assert set(found) == {"encoder", "encoder_plain", "head", "head_plain"}
    assert "logit_scale" in found["encoder"], "it is CLIP's own"
    assert "temporal.position_embedding.weight" in found["head"]
    assert all("bias" in name for name in found["encoder_plain"] | found["head_plain"])
    assert "temporal.blocks.0.ln_1.weight" in found["head"], "gains are decayed, as in CLIP4Clip"
    rates = {group["name"]: (group["lr"], group["weight_decay"]) for group in groups}
    assert rates["head"] == (1e-3, 0.2)
    assert rates["encoder_plain"] == (1e-5, 0.0)
    everything = set().union(*found.values())
    assert everything == {name for name, p in model.named_parameters() if p.requires_grad}
    assert sum(len(group["params"]) for group in groups) == len(everything), "none is in two groups"


def test_a_frozen_encoder(tmp_path: Path) -> None:
    model = clip_model(tmp_path)
    freeze(model, "encoder")
    found = names(model, parameter_groups(model, OptimRecipe(freeze="encoder", decay="matrices")))
    assert set(found) == {"head", "head_plain"}
    assert "logit_scale" in found["head_plain"], "with nothing of CLIP to learn with, it learns with the head"


def test_what_clip4clip_freezes(tmp_path: Path) -> None:
    model = clip_model(tmp_path)
    freeze(model, "clip4clip")
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    towers = "encoder.model."
    assert {name.removeprefix(towers) for name in frozen} == {
        "logit_scale",  # CLIP's own copy, which nothing reads; the model's learns
        "text_model.embeddings.token_embedding.weight",
        "text_model.embeddings.position_embedding.weight",
        "vision_model.embeddings.class_embedding",
        "vision_model.embeddings.patch_embedding.weight",
        "vision_model.embeddings.position_embedding.weight",
        "vision_model.pre_layrnorm.weight",
        "vision_model.pre_layrnorm.bias",
    }
    assert model.logit_scale.requires_grad


def test_what_cannot_be_frozen(tmp_path: Path) -> None:
    siglip = load_encoder(tiny_siglip(tmp_path / "siglip"), device="cpu")
    model = RetrievalModel(siglip, Identity(), MeanPool())
    freeze(model, "none")
    with pytest.raises(ConfigError, match="nothing to train"):
        freeze(model, "encoder")


def test_half_precision_belongs_to_bert_adam(tmp_path: Path) -> None:
    model = clip_model(tmp_path)
    freeze(model, "clip4clip")
    with pytest.raises(ConfigError, match="bert_adam"):
        build_optimizer(model, OptimRecipe(precision="fp16_weights"), steps=10)
    optim = OptimRecipe(precision="fp16_weights", optimizer="bert_adam", decay="not_bias")
    rule, _ = build_optimizer(model, optim, steps=10)
    half = [group for group in rule.param_groups if group["half"]]
    assert {group["name"] for group in half} == {"encoder_half", "encoder_plain_half"}
    for group in half:
        for p in group["params"]:
            assert p.dtype == torch.float32
            assert torch.equal(p, p.half().float()), "numbers that half precision has"
    others = names(model, [group for group in rule.param_groups if not group["half"]])
    assert any("layer_norm" in name for name in others["encoder"]), "norms stay as they are"


def test_half_precision_is_the_published_arithmetic_also_after_loading() -> None:
    """Against the update written out on a true half-precision tensor."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(40, generator=generator).half()
    p = nn.Parameter(start.float())
    weight, m, v = start.clone(), torch.zeros(40).half(), torch.zeros(40).half()
    rule = BertAdam([{"params": [p], "lr": 1e-3, "half": True}], max_norm=1e9)
    for step in range(6):
        gradient = torch.randn(40, generator=generator) * 1e-3
        p.grad = gradient.clone()
        rule.step()
        half = gradient.half()
        m.lerp_(half, 1 - 0.9)
        v.mul_(0.98).addcmul_(half, half, value=1 - 0.98)
        weight.add_((m / v.sqrt().add_(1e-6)).add_(weight, alpha=0.2), alpha=-1e-3)
        assert torch.equal(p.detach(), weight.float())
        if step == 2:  # a resumed run
            saved = rule.state_dict()
            rule = BertAdam([{"params": [p], "lr": 1e-3, "half": True}], max_norm=1e9)
            rule.load_state_dict(saved)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("cosine", [0.0, 0.5, 1.0]), ("joined_cosine", [0.0, 0.5, 0.9045]), ("constant", [0.0, 0.5, 1.0])],
)
def test_schedules_start_from_zero(tmp_path: Path, schedule: str, expected: list[float]) -> None:
    model = clip_model(tmp_path)
    freeze(model, "encoder")
    optim = OptimRecipe(lr_head=1.0, schedule=schedule, warmup=0.2, optimizer="adam")  # type: ignore[arg-type]
    rule, schedule_of = build_optimizer(model, optim, steps=10)
    found: list[float] = []
    for _ in range(10):
        found.append(rule.param_groups[0]["lr"])
        rule.step()
        schedule_of.step()
    assert found[:3] == pytest.approx(expected, abs=1e-3)
    assert (found[-1] == 1.0) == (schedule == "constant")
