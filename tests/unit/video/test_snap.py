"""Times moved to keyframes: only where asked for, never far, and always with the true time."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from clip_maker import make_clip, x264, x265
from framesift.errors import InputError
from framesift.video import Rate, Uniform, decode, decode_all, gops, iter_decode

CLIPS: dict[str, dict[str, object]] = {
    "gop12.mp4": {"options": x264(gop=12)},
    "open.mp4": {"options": x264(gop=12, open_gop=True)},
    "gop12.mkv": {"options": x264(gop=12)},
    "uneven.mp4": {
        "options": x264(gop=12),
        "times": np.cumsum(np.random.default_rng(1).integers(5, 60, 60)).tolist(),
    },
    "late.mp4": {"options": x264(gop=12), "times": list(range(250, 310))},
    "hevc_open.mkv": {"codec": "libx265", "options": x265(gop=12, open_gop=True)},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime", "g": "15"}},
}


def make(folder: Path, name: str) -> Path:
    return make_clip(folder / name, **CLIPS[name])  # type: ignore[arg-type]


def keyframe_times(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        base = float(container.streams.video[0].time_base or 0)
    first = min(packet.pts or 0 for packet in packets)
    return np.array([((packet.pts or 0) - first) * base for packet in packets if packet.is_keyframe])


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize("snap_s", [0.1, 0.2, 5.0])
def test_keyframes_within_reach_and_exact_frames_elsewhere(tmp_path: Path, name: str, snap_s: float) -> None:
    path = make(tmp_path, name)
    everything = dict(decode_all(path))
    times_s, keyframes_s = np.array(list(everything)), keyframe_times(path)
    frames = decode(path, Rate(fps=6.0), snap_s=snap_s)
    assert frames.info is not None
    expected: set[float] = set()
    for wanted_s in Rate(fps=6.0).times(0.0, frames.info.duration_s or 0.0):
        away = np.abs(keyframes_s - wanted_s)
        if away.min() <= snap_s:
            expected.add(round(float(keyframes_s[away.argmin()]), 6))
        else:
            expected.add(round(float(times_s[times_s <= wanted_s + 1e-7].max()), 6))
    np.testing.assert_allclose(frames.times_s, sorted(expected), atol=1e-5)
    assert set(frames.times_s) & set(keyframes_s), "nothing was snapped"
    for time_s, pixels in zip(frames.times_s, frames.pixels, strict=True):
        np.testing.assert_array_equal(pixels, everything[time_s])
    pieces = list(iter_decode(path, Rate(fps=6.0), chunk_frames=3, snap_s=snap_s))
    np.testing.assert_array_equal(np.concatenate([piece.times_s for piece in pieces]), frames.times_s)
    np.testing.assert_array_equal(np.concatenate([piece.pixels for piece in pieces]), frames.pixels)


def test_only_the_keyframe_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path, "gop12.mp4")
    honest, fed = gops._Feed._take, []

    def counted(self: gops._Feed, packet: av.Packet | None, latest: int):
        fed.append(packet)
        return honest(self, packet, latest)

    monkeypatch.setattr(gops._Feed, "_take", counted)
    frames = decode(path, Uniform(num_frames=12), snap_s=1.0)
    np.testing.assert_allclose(frames.times_s, [0.0, 0.48, 0.96, 1.44, 1.92])
    assert len([packet for packet in fed if packet is not None]) == len(frames) == 5


def test_never_outside_the_interval(tmp_path: Path) -> None:
    path = make(tmp_path, "gop12.mp4")  # keyframes every 0.48 s
    frames = decode(path, Uniform(num_frames=1), start_s=0.5, end_s=0.9, snap_s=1.0)
    np.testing.assert_allclose(frames.times_s, [0.68])
    frames = decode(path, Uniform(num_frames=1), start_s=0.4, end_s=0.9, snap_s=1.0)
    np.testing.assert_allclose(frames.times_s, [0.48])


def test_ignored_where_everything_must_be_decoded(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.avi", codec="mpeg4", gop=12, b_frames=2)
    exact, snapped = decode(path, Uniform()), decode(path, Uniform(), snap_s=1.0)
    np.testing.assert_array_equal(snapped.times_s, exact.times_s)
    np.testing.assert_array_equal(snapped.pixels, exact.pixels)


@pytest.mark.parametrize("snap_s", [-0.1, float("nan"), float("inf")])
def test_what_is_no_distance_is_refused(tmp_path: Path, snap_s: float) -> None:
    path = make_clip(tmp_path / "a.mp4", 3)
    with pytest.raises(InputError, match="snap_s"):
        decode(path, Uniform(), snap_s=snap_s)
    with pytest.raises(InputError, match="snap_s"):
        list(iter_decode(path, Uniform(), snap_s=snap_s))
