"""CLIP4Clip's parameter groups, schedule and clipping."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from framesift.encoders import load_encoder
from framesift.matchers import MeanPool
from framesift.model import RetrievalModel
from framesift.temporal import TemporalLSTM, TemporalLSTMConfig
from framesift.training.optim import BertAdam, clip4clip_groups, joined_cosine
from tiny_models import tiny_clip


def test_groups(tmp_path: Path) -> None:
    encoder = load_encoder(tiny_clip(tmp_path / "clip"), device="cpu")
    model = RetrievalModel(encoder, TemporalLSTM(TemporalLSTMConfig(dim=encoder.dim)), MeanPool())
    encoder.model.vision_model.embeddings.class_embedding.requires_grad_(False)
    groups = clip4clip_groups(model)
    place = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    names = {name: place.get(id(p)) for name, p in model.named_parameters()}
    assert len(groups) == 4
    assert names["logit_scale"] == (1e-7, 0.2)
    assert names["encoder.model.text_model.final_layer_norm.weight"] == (1e-7, 0.2)
    assert names["encoder.model.text_model.final_layer_norm.bias"] == (1e-7, 0.0)
    assert names["temporal.lstm.weight_hh_l0"] == (1e-4, 0.2)
    assert names["temporal.lstm.bias_hh_l0"] == (1e-4, 0.0)
    assert names["encoder.model.vision_model.embeddings.class_embedding"] is None
    assert sum(value is not None for value in names.values()) == sum(len(g["params"]) for g in groups)
    BertAdam(groups)


def test_the_schedule_falls_at_the_junction() -> None:
    optimizer = BertAdam([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = joined_cosine(optimizer, total_steps=100.0)
    rates: list[float] = []
    for _ in range(101):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] == 0.0
    assert rates[9] == pytest.approx(0.9)
    assert rates[10] == pytest.approx(0.5 * (1 + math.cos(0.1 * math.pi)))
    assert rates[50] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0.0)


def test_a_tensor_is_clipped_by_itself_and_the_step_is_not_corrected_for_bias() -> None:
    large, small = (torch.nn.Parameter(torch.ones(4)) for _ in range(2))
    optimizer = BertAdam([large, small], lr=0.1, weight_decay=0.5)
    large.grad, small.grad = torch.full((4,), 100.0), torch.full((4,), 0.01)
    optimizer.step()
    for p, gradient in ((large, 0.5), (small, 0.01)):  # a norm of 1 over four entries is a half each
        update = 0.1 * gradient / (math.sqrt(0.02) * gradient + 1e-6)
        torch.testing.assert_close(p.detach(), torch.full((4,), 1 - 0.1 * (update + 0.5)), atol=1e-5, rtol=0)
