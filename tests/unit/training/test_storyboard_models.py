"""The frame recipe's shortcuts: the class token alone, and positions as waves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from framesift.encoders import Encoder, load_encoder
from framesift.training.storyboard_models import _class_token, _set_positions
from tiny_models import tiny_clip

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def encoder(tmp_path: Path) -> Encoder:
    return load_encoder(tiny_clip(tmp_path / "clip"), device="cpu")


def gradients(encoder: Encoder, frame: torch.Tensor) -> dict[str, torch.Tensor]:
    encoder.zero_grad()
    (frame * torch.linspace(-1, 1, frame.numel()).view_as(frame)).sum().backward()
    return {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}


def test_the_class_token_alone_is_the_embedding_with_its_gradients(encoder: Encoder) -> None:
    encoder.requires_grad_(True)
    pixels = encoder.preprocess(PIXELS)
    alone, whole = _class_token(encoder, pixels), encoder.forward_pixels(pixels)
    torch.testing.assert_close(alone, whole, atol=1e-5, rtol=0)
    expected, found = gradients(encoder, whole), gradients(encoder, alone)
    assert found.keys() == expected.keys()
    assert any("encoder.layers.0" in name for name in found)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-4)


def test_patches_get_waves_of_their_row_and_column(encoder: Encoder) -> None:
    tower: Any = encoder.model.vision_model
    table = tower.embeddings.position_embedding.weight.detach()
    before = table.clone()
    _set_positions(encoder, 20.0)
    assert torch.equal(table[0], before[0]), "the class token keeps its own"
    patches = table[1:].view(4, 4, -1)
    torch.testing.assert_close(patches.norm(dim=2), torch.full((4, 4), 20.0))
    distances = torch.cdist(table[1:], table[1:]) + 1e6 * torch.eye(16)
    assert float(distances.min()) > 1, "no two alike"
    half = patches.shape[2] // 2
    torch.testing.assert_close(patches[1, 0, :half], patches[1, 3, :half])  # one half tells the row
    torch.testing.assert_close(patches[0, 2, half:], patches[3, 2, half:])  # the other one the column


def test_a_frame_moves_with_its_positions(encoder: Encoder) -> None:
    """Positions that count: a picture and its mirror image are no longer alike."""
    one, mirrored = encoder.preprocess(PIXELS), encoder.preprocess(PIXELS[:, :, ::-1].copy())

    def apart() -> float:
        with torch.no_grad():
            return float((encoder.forward_pixels(one) - encoder.forward_pixels(mirrored)).norm())

    before = apart()
    _set_positions(encoder, 20.0)
    assert apart() != pytest.approx(before, rel=1e-3)
