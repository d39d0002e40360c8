"""Cached tokens of Storyboard: kept while the visual tower stays, the same embeddings as without a cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from framesift.encoders import Encoder, load_encoder
from framesift.encoders.clip import ClipEncoder
from framesift.encoders.token_shift import TokenShiftClipEncoder
from framesift.evaluation.storyboard import frames_of
from framesift.storyboard import Storyboard, storyboards
from framesift.training.storyboard_videos import NUM_FRAMES, cached_frames, storyboard_tokens
from tiny_models import tiny_clip

VIDEOS = storyboards("train", 3)


@pytest.fixture
def encoder(tmp_path: Path) -> ClipEncoder:
    encoder = load_encoder(tiny_clip(tmp_path / "clip"), device="cpu")
    assert isinstance(encoder, ClipEncoder)
    return encoder


def num_encoded(
    folder: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch, videos: Sequence[Storyboard] = VIDEOS
) -> int:
    """Videos encoded to fill the cache, but for the first one, whose shape is looked at."""
    count, encode = 0, encoder.encode_video

    def counted(clips: Sequence[object], **options: object) -> object:
        nonlocal count
        count += len(clips)
        return encode(clips, **options)

    with monkeypatch.context() as patched:
        patched.setattr(encoder, "encode_video", counted)
        cache = storyboard_tokens(folder, encoder, videos)
    assert cache.num_computed == len(videos)
    return count - 1


def test_the_text_tower_keeps_the_cache_and_the_visual_one_empties_it(
    encoder: ClipEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    assert num_encoded(folder, encoder, monkeypatch) == 3
    assert num_encoded(folder, encoder, monkeypatch) == 0
    with torch.no_grad():
        for parameter in encoder.model.text_model.parameters():
            parameter.add_(0.1)
    assert num_encoded(folder, encoder, monkeypatch) == 0
    with torch.no_grad():
        encoder.model.vision_model.encoder.layers[0].mlp.fc1.bias.add_(0.1)
    assert num_encoded(folder, encoder, monkeypatch) == 3
    assert num_encoded(folder, encoder, monkeypatch) == 0
    assert num_encoded(folder, encoder, monkeypatch, VIDEOS[::-1]) == 3, "other videos"


def test_token_shift_empties_the_cache(
    encoder: ClipEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert num_encoded(tmp_path / "cache", encoder, monkeypatch) == 3
    for layers in ((1,), (0, 1)):
        shifted = TokenShiftClipEncoder.from_clip(encoder, shift_layers=layers)
        assert num_encoded(tmp_path / "cache", shifted, monkeypatch) == 3
        assert num_encoded(tmp_path / "cache", shifted, monkeypatch) == 0


@pytest.mark.parametrize("shifted", [False, True])
def test_cached_frames_are_those_of_the_encoder(encoder: ClipEncoder, tmp_path: Path, shifted: bool) -> None:
    seen = TokenShiftClipEncoder.from_clip(encoder, shift_layers=(1,)) if shifted else encoder
    lines: list[str] = []
    cache = storyboard_tokens(tmp_path / "cache", seen, VIDEOS, report=lines.append)
    assert lines == ["tokens of 3 of 3 videos"]
    expected = seen.encode_video([frames_of(video, NUM_FRAMES) for video in VIDEOS], patches=True)
    torch.testing.assert_close(cached_frames(seen, cache), expected.frame, atol=5e-3, rtol=5e-3)
    assert expected.patch is not None
    kept = cache.features([0, 1, 2]).patch
    assert kept is not None
    torch.testing.assert_close(kept.float(), expected.patch, atol=5e-3, rtol=5e-3)
