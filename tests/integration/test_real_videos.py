"""Videos from the wild: all decode with the right frames, and none that is broken does harm."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from framesift.errors import DecodeError, EmptyVideoError
from framesift.video import Frames, Rate, Uniform, count_frames, decode, decode_all, load_videos


def test_real_clips_equal_sequential_decoding(real_data: Path, subtests: pytest.Subtests) -> None:
    facts = json.loads((real_data / "captions.json").read_text())
    assert facts
    for fact in facts:
        path = real_data / fact["video"]
        with subtests.test(fact["video"]):
            samples = [decode(path, Uniform()), decode(path, Rate(fps=2.0))]
            expected = {
                time_s: pixels
                for frames in samples
                for time_s, pixels in zip(frames.times_s, frames.pixels, strict=True)
            }
            times_s: list[float] = []
            for time_s, pixels in decode_all(path):
                times_s.append(time_s)
                for wanted_s in [t for t in expected if abs(t - time_s) < 1e-9]:
                    np.testing.assert_array_equal(expected.pop(wanted_s), pixels)
            assert not expected, "a frame has a time that no frame of the video has"
            assert len(times_s) == fact["n_frames"] == count_frames(path)
            for frames, sampler in zip(samples, (Uniform(), Rate(fps=2.0)), strict=True):
                info = frames.info
                assert info is not None
                assert info.duration_s == pytest.approx(fact["duration_s"], abs=1.0)
                assert info.rotation == fact["rotation_deg"]
                upright = (fact["width"], fact["height"])
                if fact["rotation_deg"] % 180:
                    upright = upright[::-1]
                assert (info.width, info.height) == upright == frames.pixels.shape[2:0:-1]
                wanted = sampler.times(0.0, info.duration_s or 0.0)
                rows = np.unique(np.searchsorted(np.array(times_s) - 1e-7, wanted, side="right") - 1)
                np.testing.assert_allclose(frames.times_s, np.array(times_s)[rows], atol=1e-9)


@pytest.mark.parametrize(
    ("name", "turn"),  # seen by eye: with these turns the letters on the keys, and the stove, are upright
    [
        ("decord_rot0.mov", lambda stored: stored),
        ("decord_rot90.mov", lambda stored: np.rot90(stored, -1)),  # clockwise
        ("decord_rot180.mov", lambda stored: np.rot90(stored, 2)),
        ("moviepy_fire2.mp4", lambda stored: np.rot90(stored, 2)),
    ],
)
def test_rotated_clips_are_upright(
    real_data: Path, name: str, turn: Callable[[np.ndarray], np.ndarray]
) -> None:
    path = real_data / "clips" / name
    with av.open(str(path)) as file:
        stored = next(file.decode(video=0)).to_ndarray(format="rgb24")
    _, upright = next(decode_all(path))
    np.testing.assert_array_equal(upright, turn(stored))


EMPTY = {
    "exiftool_Pentax.avi",
    "hachoir_pentax_320x240.mov",
    "zero_frames.mp4",
    "mp4parse_invalid_userdata.mp4",
}
REFUSED = {
    "canvas_bomb_65535.gif",
    "html_error_page.mp4",
    "lfs_pointer.mp4",
    "playlist_concat.mp4",
    "playlist_hls.mp4",
    "playlist_sdp.mp4",
    "random_bytes.mp4",
    "tfio_audio_only.mp4",
    "trunc_1kb.mp4",
    "trunc_moov_missing.mp4",
    "zero_byte.mp4",
}
GOOD = {  # name: (fewest frames, longest duration)
    "bitflip_heavy.mp4": (12, 7.1),
    "bitflip_moov.mp4": (12, 2.1),
    "decord_corrupted.mp4": (5, 5.0),
    "duration_lie.mkv": (12, 10.5),
    "filetype_fixture2.mkv": (12, 1.7),
    "gradio_playable_but_bad_container.mp4": (12, 5.0),
    "huge_dims_header.mp4": (3, 0.1),
    "moviepy_no_duration.webm": (12, 5.0),
    "mp4_no_extension": (3, 0.1),
    "odd_name_shell.mov": (3, 0.1),
    "trunc_half.mkv": (12, 5.1),
    "trunc_mdat_60pct.mp4": (12, 3.1),
    "zero_dims_header.mp4": (3, 0.1),
    "zero_hole.mp4": (5, 4.4),
}


def test_hostile_files_give_frames_or_one_error(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = sorted(path for path in (real_data / "hostile").iterdir() if path.name != "README.md")
    assert paths
    monkeypatch.chdir(tmp_path)
    started = time.monotonic()
    results = dict(zip(paths, load_videos(paths, Uniform(), workers=2, timeout_s=30.0), strict=True))
    assert time.monotonic() - started < 240
    for path, result in results.items():
        assert isinstance(result, Frames | DecodeError)
        if isinstance(result, Frames):
            assert len(result) > 0
            assert result.path == str(path)
            assert (np.diff(result.times_s) > 0).all()
        else:
            assert str(result.path) == str(path)
            assert "\n" not in str(result)
    by_name = {path.name: result for path, result in results.items()}
    for name in EMPTY & by_name.keys():
        assert isinstance(by_name[name], EmptyVideoError), name
    for name in REFUSED & by_name.keys():
        assert isinstance(by_name[name], DecodeError), name
    for name in GOOD.keys() & by_name.keys():
        result, (fewest, longest_s) = by_name[name], GOOD[name]
        assert isinstance(result, Frames), name
        assert len(result) >= fewest, name
        assert result.info is not None
        assert (result.info.duration_s or 0) <= longest_s, name
    assert not list(tmp_path.iterdir()), "a file name was executed"
