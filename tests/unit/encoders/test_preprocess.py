"""Preprocessing: read from the file of the weights, equal to transformers', idempotent."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPImageProcessorPil, Siglip2ImageProcessorPil, SiglipImageProcessorPil

from framesift.encoders import Preprocess
from framesift.errors import CheckpointError, ConfigError, ShapeError

PROCESSORS = {
    "clip": CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
    "siglip": SiglipImageProcessorPil(size={"height": 24, "width": 32}),
}
# crops by an even number of pixels: at odd ones transformers rounds down where CLIP rounds half to even
SIZES = [(32, 32), (64, 48), (48, 100), (33, 66), (20, 25), (5, 10)]


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (2, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", PROCESSORS)
@pytest.mark.parametrize("size", SIZES)
def test_equals_transformers(kind: str, size: tuple[int, int], tmp_path: Path) -> None:
    PROCESSORS[kind].save_pretrained(tmp_path)
    preprocess = Preprocess.load(tmp_path / "preprocessor_config.json", resizer="pil")
    expected = PROCESSORS[kind](list(picture(*size)), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(preprocess(picture(*size)), expected.float(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [*SIZES, (100, 37), (2, 300)])
def test_whole_patches_equal_transformers(size: tuple[int, int], tmp_path: Path) -> None:
    processor = Siglip2ImageProcessorPil(patch_size=8, max_num_patches=20)
    processor.save_pretrained(tmp_path)
    preprocess = Preprocess.load(tmp_path / "preprocessor_config.json", resizer="pil")
    expected = processor(list(picture(*size)), return_tensors="pt")
    result = preprocess(picture(*size))
    rows, columns = expected["spatial_shapes"][0].tolist()
    assert result.shape == (2, 3, rows * 8, columns * 8)
    patches = expected["pixel_values"][:, : rows * columns].reshape(2, rows, columns, 8, 8, 3)
    pictures = patches.permute(0, 5, 1, 3, 2, 4).reshape(result.shape)
    torch.testing.assert_close(result, pictures.float(), atol=1e-5, rtol=0)


GEOMETRIES = [
    {"shortest_edge": 32, "crop": (32, 32)},
    {"size": (24, 40)},
    {"max_num_patches": 20, "patch_size": 8},
]


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("resizer", ["pil", "torch"])
def test_shrinking_twice_changes_nothing(geometry: dict, resizer: str) -> None:
    preprocess = Preprocess(**geometry, resizer=resizer)
    once = preprocess.resize_crop(picture(57, 91))
    assert once.dtype == np.uint8
    assert np.array_equal(preprocess.resize_crop(once), once)
    assert torch.equal(preprocess(once), preprocess(picture(57, 91)))


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_mapping_round_trip(geometry: dict) -> None:
    preprocess = Preprocess(**geometry, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), resample="bilinear")
    assert Preprocess.from_mapping(json.loads(json.dumps(preprocess.to_mapping()))) == preprocess


def test_long_side_is_truncated_and_the_crop_rounds_half_to_even() -> None:
    preprocess = Preprocess(shortest_edge=32, crop=(32, 32), resizer="pil")
    assert preprocess.resized(41, 64) == (32, 49)  # 49.95
    ramp = np.broadcast_to(np.arange(35, dtype=np.uint8)[None, None, :, None], (1, 32, 35, 3))
    assert preprocess.resize_crop(np.ascontiguousarray(ramp))[0, 0, 0, 0] == 2  # offset 1.5


def test_a_crop_larger_than_the_picture_is_padded_with_black() -> None:
    preprocess = Preprocess(shortest_edge=8, crop=(12, 12), resizer="pil")
    cropped = preprocess.resize_crop(np.full((1, 8, 8, 3), 7, dtype=np.uint8))
    assert cropped.shape == (1, 12, 12, 3)
    assert (cropped[:, 2:10, 2:10] == 7).all()
    assert cropped.sum() == 7 * 8 * 8 * 3


def test_no_frames() -> None:
    empty = np.zeros((0, 20, 30, 3), dtype=np.uint8)
    for resizer in ("pil", "torch"):
        assert Preprocess(size=(8, 8), resizer=resizer)(empty).shape == (0, 3, 8, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": (8, 8), "resizer": "pill"}, "did you mean 'pil'"),
        ({"size": (8, 8), "resample": "area"}, "resample='area'"),
        ({"size": (8, 8), "resample": "lanczos", "resizer": "torch"}, "resize='pil'"),
        ({"size": (8, 8), "shortest_edge": 8}, "exactly one"),
        ({}, "exactly one"),
    ],
)
def test_wrong_configurations(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Preprocess(**arguments)


def test_wrong_pixels() -> None:
    preprocess = Preprocess(size=(8, 8))
    for pixels in (
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((1, 8, 8, 4), np.uint8),
        np.zeros((1, 0, 8, 3), np.uint8),
    ):
        with pytest.raises(ShapeError, match="pixels"):
            preprocess(pixels)


@pytest.mark.parametrize("text", ["{", "[]", '{"size": {"shortest_edge": 8}, "resample": 17}', "{}"])
def test_damaged_files_are_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "preprocessor_config.json"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"preprocessor_config\.json"):
        Preprocess.load(path)


def test_shrinking_with_pillow_needs_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, numpy\n"
        "from framesift.encoders import Preprocess\n"
        "x = Preprocess(size=(8, 8), resizer='pil').resize_crop(numpy.zeros((1, 9, 9, 3), numpy.uint8))\n"
        "assert x.shape == (1, 8, 8, 3)\n"
        "sys.exit(', '.join({'torch', 'transformers'} & sys.modules.keys()) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
