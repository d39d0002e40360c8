"""Tokens kept on disk: computed once, resumed, checked, rebuilt."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from framesift.errors import InputError, ShapeError
from framesift.features import VideoFeatures
from framesift.training.token_cache import TokenCache

FRAMES, PATCHES, WIDTH = 3, 2, 4
VIDEOS = [f"video{i}" for i in range(7)]


class Encoder:
    """Counts what it encodes; a video's tokens and length follow from its name."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self.encoded: list[str] = []

    def __call__(self, videos: Sequence[str]) -> VideoFeatures:
        self.encoded += videos
        lengths = torch.tensor([1 + int(name[5:]) % FRAMES for name in videos])
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        patch = torch.stack(
            [
                torch.randn(FRAMES, PATCHES, WIDTH, generator=torch.Generator().manual_seed(int(name[5:])))
                for name in videos
            ]
        )[:, : mask.shape[1]]
        return VideoFeatures(frame=patch[:, :, 0], frame_mask=mask, patch=patch * self.scale)


def build(folder: Path, encode: Encoder, **changes: Any) -> TokenCache:
    options: dict[str, Any] = {
        "fingerprint": "f",
        "shape": (FRAMES, PATCHES, WIDTH),
        "max_bytes": 10**6,
        "batch_size": 2,
        **changes,
    }
    return TokenCache(folder, options.pop("videos", VIDEOS), encode, **options)


def assert_right(video: VideoFeatures, rows: Sequence[int]) -> None:
    expected = Encoder()([VIDEOS[row] for row in rows])
    assert video.patch is not None
    assert expected.patch is not None
    assert video.patch.dtype == torch.float16
    assert video.frame_mask.sum(dim=1).tolist() == expected.frame_mask.sum(dim=1).tolist()
    real = expected.frame_mask
    found = video.patch[:, : real.shape[1]]
    assert torch.equal(found[real], expected.patch[real].half())
    assert not video.patch[~video.frame_mask].any()


def test_rows_are_computed_when_asked_for_and_only_once(tmp_path: Path) -> None:
    encode = Encoder()
    cache = build(tmp_path, encode)
    assert_right(cache.features([4, 1, 4]), [4, 1, 4])
    assert encode.encoded == ["video4", "video1"]
    cache.features([1, 2])
    assert encode.encoded == ["video4", "video1", "video2"]
    assert cache.num_computed == 3
    assert repr(cache).startswith("<TokenCache 3 of 7 videos")
    cache.fill()
    assert sorted(encode.encoded) == VIDEOS


def test_another_process_goes_on_where_one_stopped(tmp_path: Path) -> None:
    build(tmp_path, Encoder()).features([0, 1, 2])
    encode, lines = Encoder(), list[str]()
    cache = build(tmp_path, encode)
    cache.fill(report=lines.append)
    assert encode.encoded == VIDEOS[3:]
    assert lines[-1] == "tokens of 7 of 7 videos"
    assert_right(build(tmp_path, encode).features(range(7)), range(7))
    assert encode.encoded == VIDEOS[3:]


def test_all_videos_are_mapped_not_read(tmp_path: Path) -> None:
    video = build(tmp_path, Encoder()).mapped()
    assert_right(video, range(7))
    assert_right(video[[5, 2]], [5, 2])


@pytest.mark.parametrize(
    "changes",
    [{"fingerprint": "g"}, {"videos": [*VIDEOS[1:], "video0"]}, {"shape": (FRAMES + 1, PATCHES, WIDTH)}],
)
def test_a_cache_of_other_tokens_is_started_anew(tmp_path: Path, changes: dict[str, Any]) -> None:
    build(tmp_path, Encoder()).fill()
    encode = Encoder()
    cache = build(tmp_path, encode, **changes)
    assert cache.num_computed == 0
    cache.fill()
    assert sorted(encode.encoded) == VIDEOS


def test_a_damaged_row_is_computed_anew(tmp_path: Path) -> None:
    build(tmp_path, Encoder()).fill()
    path = tmp_path / "tokens.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # of the last video
    path.write_bytes(data)
    encode = Encoder()
    assert_right(build(tmp_path, encode).features(range(7)), range(7))
    assert encode.encoded == ["video6"]


@pytest.mark.parametrize("name", ["tokens.npy", "records.npy", "meta.json"])
@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "noise"])
def test_a_damaged_file_is_made_anew(tmp_path: Path, name: str, damage: str) -> None:
    build(tmp_path, Encoder()).fill()
    path = tmp_path / name
    if damage == "gone":
        path.unlink()
    else:
        content = path.read_bytes()
        noise = np.random.default_rng(0).bytes(len(content))
        path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "noise": noise}[damage])
    encode = Encoder()
    assert_right(build(tmp_path, encode).features(range(7)), range(7))
    assert encode.encoded == VIDEOS
    assert json.loads((tmp_path / "meta.json").read_text())["fingerprint"] == "f"


def test_a_record_of_a_row_that_was_not_written_is_found_out(tmp_path: Path) -> None:
    """A power failure may keep the record and lose the row."""
    cache = build(tmp_path, Encoder())
    cache.fill()
    cache._tokens[3] = 0
    encode = Encoder()
    assert_right(build(tmp_path, encode).features([3]), [3])
    assert encode.encoded == ["video3"]


def test_size_is_bounded(tmp_path: Path) -> None:
    size = 2 * 7 * FRAMES * PATCHES * WIDTH
    assert len(build(tmp_path, Encoder(), max_bytes=size)) == 7
    with pytest.raises(InputError, match="max_bytes"):
        build(tmp_path, Encoder(), max_bytes=size - 1)


def test_a_full_disk_is_an_error_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    encode = Encoder()
    with pytest.raises(InputError, match="No space left"):
        build(tmp_path, encode)
    assert not encode.encoded


def test_bad_tokens_and_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not finite in float16"):
        build(tmp_path, Encoder(scale=1e6)).fill()
    with pytest.raises(ShapeError, match="tokens to keep"):
        build(tmp_path, Encoder(), shape=(FRAMES, PATCHES, WIDTH + 1)).fill()
    with pytest.raises(InputError, match="expected 0 to 6"):
        build(tmp_path, Encoder()).features([7])
    with pytest.raises(InputError, match="at least one video"):
        build(tmp_path, Encoder(), videos=[])

    def gap(videos: Sequence[str]) -> VideoFeatures:
        patch = torch.zeros(len(videos), FRAMES, PATCHES, WIDTH)
        mask = torch.tensor([True, False, True]).expand(len(videos), -1)
        return VideoFeatures(frame=patch[:, :, 0], frame_mask=mask, patch=patch)

    with pytest.raises(InputError, match="must come first"):
        TokenCache(
            tmp_path, VIDEOS, gap, fingerprint="g", shape=(FRAMES, PATCHES, WIDTH), max_bytes=10**6
        ).fill()
