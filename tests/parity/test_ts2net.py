"""TS2-Net: token shift, token selection with its gradients, similarity, and pixels to loss equal the reference's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from framesift.encoders.token_shift import adjacent_frames, shift_tokens
from golden_files import golden_files, read_golden

CLOSE = {"atol": 2e-5, "rtol": 1e-5}
LOGITS = {"atol": 1e-4, "rtol": 1e-5}


@pytest.mark.parametrize("path", golden_files("ts2_shift_*.safetensors"))
def test_token_shift(path: Path) -> None:
    golden, metadata = read_golden(path)
    lengths = [metadata["frames"]] * metadata["batch"]
    frames = golden["x"].transpose(0, 1)
    shifted = shift_tokens(frames, *adjacent_frames(lengths, frames.device))
    assert torch.equal(shifted.transpose(0, 1), golden["y"])
