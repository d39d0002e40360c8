"""Preprocessed pixels equal CLIP's (PIL) and X-Pool's (float tensor) transforms."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from framesift.encoders import Preprocess
from golden_files import golden_files, read_golden

RESIZERS = {
    "clip_tensor": "pil",
    "xpool_tensor_noantialias": "tensor",
    "xpool_tensor_antialias": "tensor-antialias",
}


@pytest.mark.parametrize("path", golden_files("image_*.safetensors"))
def test_pixels_equal_the_reference(path: Path) -> None:
    golden, metadata = read_golden(path)
    size = metadata["n_px"]
    frames = golden["image_u8_hwc"].numpy()[None]
    compared = 0
    for name, resizer in RESIZERS.items():
        if name in golden:
            preprocess = Preprocess(shortest_edge=size, crop=(size, size), resizer=resizer)
            torch.testing.assert_close(preprocess(frames)[0], golden[name], atol=2e-5, rtol=0)
            compared += 1
    assert compared >= 1


@pytest.mark.parametrize("path", golden_files("image_*.safetensors"))
def test_the_fast_resizer_is_within_two_grey_levels(path: Path) -> None:
    golden, metadata = read_golden(path)
    size = metadata["n_px"]
    frames = golden["image_u8_hwc"].numpy()[None]
    exact = Preprocess(shortest_edge=size, crop=(size, size), resizer="pil").resize_crop(frames).astype(int)
    fast = Preprocess(shortest_edge=size, crop=(size, size), resizer="torch").resize_crop(frames).astype(int)
    assert abs(exact - fast).max() <= 2
    assert abs(exact - fast).mean() < 0.05
