"""CLIP with 3-D patches: a frame's embedding sees the frame before and the one after, and no further."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from framesift.encoders import ClipEncoder, load_encoder
from framesift.errors import CheckpointError, InputError
from tiny_models import tiny_clip


class Clip:
    def __init__(self, frames: int, *, seed: int = 0) -> None:
        self.pixels = np.random.default_rng(seed).integers(0, 256, (frames, 40, 56, 3), dtype=np.uint8)


@pytest.fixture
def flat(tmp_path: Path) -> ClipEncoder:
    encoder = load_encoder(tiny_clip(tmp_path / "clip"), device="cpu")
    assert isinstance(encoder, ClipEncoder)
    return encoder


@pytest.fixture
def deep(flat: ClipEncoder) -> ClipEncoder:
    """Weights of the neighbours that are not zero."""
    encoder = flat.with_3d_patches()
    with torch.no_grad():
        weight = encoder.model.vision_model.embeddings.patch_embedding.weight
        weight += 0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    return encoder


def test_it_starts_as_the_2d_one(flat: ClipEncoder) -> None:
    deep = flat.with_3d_patches()
    clips = [Clip(4), Clip(1, seed=1)]
    torch.testing.assert_close(deep.encode_video(clips).frame, flat.encode_video(clips).frame)
    assert deep.fingerprint() != flat.fingerprint()
    assert (flat.neighbours, deep.neighbours) == (0, 1)


def test_a_frame_sees_its_neighbours_only(deep: ClipEncoder) -> None:
    one, other = Clip(6), Clip(6)
    other.pixels[3] = 255 - other.pixels[3]
    difference = (deep.encode_video([one]).frame - deep.encode_video([other]).frame)[0].abs().amax(dim=1)
    assert (difference > 1e-4).tolist() == [False, False, True, True, True, False]


def test_a_video_ends_in_zeros_not_in_another_video(deep: ClipEncoder) -> None:
    long, short, single = Clip(5), Clip(2, seed=1), Clip(1, seed=2)
    together = deep.encode_video([long, short, single])
    for row, clip in enumerate((long, short, single)):
        alone = deep.encode_video([clip]).frame[0]
        torch.testing.assert_close(together.frame[row, : len(alone)], alone)
    channels = deep.preprocess(single.pixels)[0]
    assert channels.shape[0] == 9
    assert torch.equal(channels[3:6], deep.preprocessing(single.pixels)[0])
    assert not bool(channels[:3].any())
    assert not bool(channels[6:].any())


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_batches_do_not_cut_neighbours_off(deep: ClipEncoder, batch_size: int) -> None:
    clips = [Clip(7), Clip(3, seed=1)]
    expected = deep.encode_video(clips, patches=True)
    found = deep.encode_video(clips, patches=True, batch_size=batch_size)
    torch.testing.assert_close(found.frame, expected.frame, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(found.patch, expected.patch, atol=2e-6, rtol=1e-5)


def test_saved_and_loaded_it_is_the_same(deep: ClipEncoder, tmp_path: Path) -> None:
    deep.save(tmp_path / "deep")
    again = load_encoder(tmp_path / "deep", device="cpu")
    assert again.neighbours == 1
    assert again.fingerprint() == deep.fingerprint()
    assert torch.equal(again.encode_video([Clip(3)]).frame, deep.encode_video([Clip(3)]).frame)


def test_what_cannot_be(deep: ClipEncoder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="3-D already"):
        deep.with_3d_patches()
    deep.save(tmp_path / "odd")
    path = tmp_path / "odd" / "config.json"
    config = json.loads(path.read_text())
    config["vision_config"]["num_channels"] = 5
    path.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="num_channels=5: expected 3, or 9"):
        load_encoder(tmp_path / "odd", device="cpu")
