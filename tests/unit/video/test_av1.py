"""Frames of AV1 streams that nothing refers to are left out, and no other."""

from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np
import pytest

from clip_maker import make_clip, pictures
from framesift.video import Uniform, decode, decode_all
from framesift.video.av1 import Av1Trimmer

SVT = "lp=1"
ENCODERS: dict[str, dict[str, str]] = {
    "plain": {"preset": "10", "g": "40", "svtav1-params": SVT},
    "slow": {"preset": "6", "g": "40", "svtav1-params": SVT},
    "low_delay": {"preset": "10", "g": "40", "svtav1-params": f"{SVT}:pred-struct=1"},
    "screen": {"preset": "8", "g": "40", "svtav1-params": f"{SVT}:scm=1"},
    "tiles": {"preset": "10", "g": "40", "svtav1-params": f"{SVT}:tile-rows=1:tile-columns=1"},
    "grain": {"preset": "8", "g": "40", "svtav1-params": f"{SVT}:film-grain=20"},
}


def encoded(folder: Path, encoder: str, suffix: str) -> Path:
    images = pictures(90, width=192, height=128)
    return make_clip(folder / f"{encoder}{suffix}", images, codec="libsvtav1", options=ENCODERS[encoder])


def packets(path: Path) -> tuple[bytes, list[bytes]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        data = [bytes(packet) for packet in container.demux(stream) if packet.size]  # type: ignore[call-overload]
        return stream.codec_context.extradata or b"", data


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_frame_is_the_one_of_sequential_decoding(tmp_path: Path, encoder: str, suffix: str) -> None:
    path = encoded(tmp_path, encoder, suffix)
    everything = dict(decode_all(path))
    for num_frames in (1, 2, 5, 12, 31):
        frames = decode(path, Uniform(num_frames=num_frames))
        for time_s, pixels in zip(frames.times_s, frames.pixels, strict=True):
            np.testing.assert_array_equal(pixels, everything[time_s])


def test_the_encoder_leaves_no_priority_behind(tmp_path: Path) -> None:
    encoded(tmp_path, "plain", ".mp4")
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_what_goes_and_what_stays(tmp_path: Path) -> None:
    configuration, data = packets(encoded(tmp_path, "plain", ".mp4"))
    trimmer = Av1Trimmer(configuration)
    trimmer.learn(data[0])
    trimmed = [trimmer.trim(packet) for packet in data[1:]]
    assert trimmed.count(b"") > 5
    assert sum(0 < len(after) < len(before) for before, after in zip(data[1:], trimmed, strict=True)) > 5
    assert trimmer.trim(data[0]) == data[0], "a keyframe stays"


def test_what_is_not_understood_stays(tmp_path: Path) -> None:
    configuration, data = packets(encoded(tmp_path, "plain", ".mp4"))
    knowing = Av1Trimmer(configuration)
    knowing.learn(data[0])
    leaf = next(packet for packet in data[1:] if knowing.trim(packet) == b"")
    assert Av1Trimmer(None).trim(leaf) == leaf
    rng = np.random.default_rng(0)
    for cut in range(1, len(leaf)):
        assert knowing.trim(leaf[:cut]) == leaf[:cut], "cut off"
    for _ in range(300):
        junk = rng.bytes(20)
        other = Av1Trimmer(b"\x81\x00\x00\x00" + junk)
        other.learn(junk)
        knowing.trim(junk)  # nothing is raised
