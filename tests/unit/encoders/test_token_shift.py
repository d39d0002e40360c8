"""Token shift: what moves, how far a frame sees, and which configurations are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from framesift.encoders import ClipEncoder, TokenShiftClipEncoder, load_encoder
from framesift.encoders.token_shift import adjacent_frames, shift_tokens
from framesift.errors import CheckpointError, InputError
from tiny_models import tiny_clip, tiny_token_shift_clip


class Clip:
    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels


def noise(frames: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (frames, 40, 56, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> ClipEncoder:
    encoder = load_encoder(tiny_clip(tmp_path_factory.mktemp("clip")), device="cpu")
    assert isinstance(encoder, ClipEncoder)
    return encoder


@pytest.mark.parametrize("tokens", [7, 10, 50, 65])
def test_shift_equals_a_naive_loop_over_videos_frames_and_tokens(tokens: int) -> None:
    lengths = [3, 1, 0, 4]
    x = torch.randn(sum(lengths), tokens, 2, generator=torch.Generator().manual_seed(0))
    step, expected = tokens // 7, x.clone()
    start = 0
    for length in lengths:
        for frame in range(start, start + length):
            for token in range(1, tokens):
                if (token - 4) % step == 0 and token >= 4 and frame + 1 < start + length:
                    expected[frame, token] = x[frame + 1, token]
                elif (token - 1) % step == 0 and frame > start:
                    expected[frame, token] = x[frame - 1, token]
        start += length
    assert torch.equal(shift_tokens(x, *adjacent_frames(lengths, x.device)), expected)


@pytest.mark.parametrize("shift_layers", [(), (1,), (0, 1)])
def test_a_frame_sees_as_many_neighbours_as_there_are_shifted_blocks(
    clip: ClipEncoder, shift_layers: tuple[int, ...]
) -> None:
    encoder = TokenShiftClipEncoder.from_clip(clip, shift_layers=shift_layers)
    pixels = noise(7)
    changed = pixels.copy()
    changed[3] = 255 - changed[3]

    def frames(x: np.ndarray) -> Tensor:
        return encoder.encode_video([Clip(x)]).frame[0]

    differ = (frames(pixels) - frames(changed)).abs().amax(dim=1) > 1e-6
    assert differ.nonzero()[:, 0].tolist() == [
        3 + i for i in range(-len(shift_layers), len(shift_layers) + 1)
    ]


def test_without_a_shifted_block_and_without_neighbours_it_is_clip(clip: ClipEncoder) -> None:
    plain, still = Clip(noise(4)), Clip(np.repeat(noise(1), 4, axis=0))
    for shift_layers, video in (((), plain), ((0, 1), still)):
        encoder = TokenShiftClipEncoder.from_clip(clip, shift_layers=shift_layers)
        found, expected = encoder.encode_video([video]).frame, clip.encode_video([video]).frame
        torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5)
        assert encoder.fingerprint() != clip.fingerprint()


def test_the_shifted_blocks_are_saved_and_in_the_fingerprint(clip: ClipEncoder, tmp_path: Path) -> None:
    prints: set[str] = set()
    for shift_layers in ((), (0,), (1,), (0, 1)):
        encoder = TokenShiftClipEncoder.from_clip(clip, shift_layers=shift_layers)
        encoder.save(tmp_path)
        again = load_encoder(tmp_path, device="cpu")
        assert isinstance(again, TokenShiftClipEncoder)
        assert again.shift_layers == shift_layers
        assert again.fingerprint() == encoder.fingerprint()
        prints.add(encoder.fingerprint())
    assert len(prints) == 4


def test_what_cannot_be_shifted_is_refused(clip: ClipEncoder, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"shift_layers=\[10, 11\]: expected blocks of the 2"):
        TokenShiftClipEncoder.from_clip(clip)
    with pytest.raises(CheckpointError, match="token shift with 9 channels"):
        TokenShiftClipEncoder.from_clip(clip.with_3d_patches(), shift_layers=(0,))
    small = load_encoder(tiny_clip(tmp_path / "small", size_px=16), device="cpu")
    assert isinstance(small, ClipEncoder)
    with pytest.raises(CheckpointError, match=r"5 tokens a frame: expected .* at least 7"):
        TokenShiftClipEncoder.from_clip(small, shift_layers=(0,))
    shifted = load_encoder(tiny_token_shift_clip(tmp_path / "shifted"), device="cpu")
    assert isinstance(shifted, TokenShiftClipEncoder)
    with pytest.raises(InputError, match="no 3-D patches"):
        shifted.with_3d_patches()
