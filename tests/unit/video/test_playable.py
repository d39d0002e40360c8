from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest

from clip_maker import make_clip, x264
from film_maker import loud_from, make_film
from framesift.errors import DecodeError, InputError
from framesift.video import probe
from framesift.video.cutting import cut_file
from framesift.video.playable import playability, playable_copy


def test_what_plays_as_it_is(tmp_path: Path) -> None:
    found = playability(make_film(tmp_path / "a.mp4", seconds=0.4))
    assert (found.verdict, found.reason, found.media_type) == ("as_is", "h264 in MP4", "video/mp4")
    assert found.unless is None
    vp9 = make_film(tmp_path / "a.webm", seconds=0.4, video="libvpx-vp9", audio="libopus")
    assert playability(vp9).media_type == "video/webm"
    av1 = make_film(tmp_path / "b.mp4", seconds=0.4, video="libsvtav1", options={"preset": "12"}, audio=None)
    found = playability(av1)
    assert found.verdict == "as_is"
    assert "Safari" in (found.unless or "")


@pytest.mark.parametrize("suffix", ["mov", "mkv"])
def test_what_only_needs_another_container(tmp_path: Path, suffix: str) -> None:
    path = make_film(tmp_path / f"a.{suffix}", seconds=1.0)
    found = playability(path)
    assert (found.verdict, found.media_type) == ("remux", None)
    assert found.reason.startswith("browsers play its h264 video, but not in the container")
    result = playable_copy(path, tmp_path / "copy.mp4")
    assert (result.mode, result.codecs) == ("copy", ("h264", "aac"))
    assert playability(result.path).verdict == "as_is"


@pytest.mark.parametrize(
    ("name", "video", "pix_fmt", "audio", "reason"),
    [
        ("a.avi", "mpeg4", "yuv420p", None, "browsers do not play mpeg4 video"),
        ("a.mp4", "libx265", "yuv420p", None, "browsers do not play hevc video everywhere"),
        ("a.mp4", "libx264", "yuv444p", None, "8 bits with 4:2:0 colours, this has yuv444p"),
        ("a.mp4", "libx264", "yuv420p10le", None, "8 bits with 4:2:0 colours, this has yuv420p10le"),
        (
            "a.mkv",
            "libx264",
            "yuv420p",
            "pcm_s16le",
            "browsers do not play pcm_s16le sound beside h264 video",
        ),
        ("a.mkv", "libvpx-vp9", "yuv420p", None, "browsers do not play vp9 in the container Matroska"),
    ],
)
def test_what_must_be_encoded_anew(
    tmp_path: Path, name: str, video: str, pix_fmt: str, audio: str | None, reason: str
) -> None:
    options = {"x265-params": "log-level=none:pools=1"} if video == "libx265" else None
    path = make_film(tmp_path / name, seconds=0.4, video=video, pix_fmt=pix_fmt, audio=audio, options=options)
    found = playability(path)
    assert found.verdict == "transcode"
    assert reason in found.reason
    result = playable_copy(path, tmp_path / "copy.mp4")
    assert (result.mode, result.reason) == ("encode", found.reason)
    assert playability(result.path).verdict == "as_is"
    assert probe(result.path).duration_s == pytest.approx(0.4, abs=0.03)


def test_frames_only_where_nothing_can_be_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("framesift.video.playable")
    monkeypatch.setattr(module, "encoders", lambda muxer: (None, None))
    found = playability(make_film(tmp_path / "a.avi", seconds=0.4, video="mpeg4", audio=None))
    assert found.verdict == "frames"
    assert found.reason.endswith("no H.264 encoder here")


def test_no_video_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_text("words")
    with pytest.raises(DecodeError, match="text file"):
        playability(path)
    with pytest.raises(DecodeError, match="text file"):
        playable_copy(path, tmp_path / "b.mp4")
    assert os.listdir(tmp_path) == ["a.mp4"]


def test_the_index_is_in_front(tmp_path: Path) -> None:
    path = make_film(tmp_path / "a.avi", video="mpeg4", audio=None)
    content = Path(playable_copy(path, tmp_path / "b.mp4").path).read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_copies_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_film(tmp_path / "a.avi", video="mpeg4", audio="mp2", width=192, height=1600)
    with pytest.raises(InputError, match="the longest is 2 s"):
        playable_copy(path, tmp_path / "b.mp4", end_s=3.0, max_s=2.0)
    short = playable_copy(path, tmp_path / "b.mp4", start_s=1.0, max_s=2.0)
    assert (short.start_s, short.end_s) == (1.0, 3.0)
    assert loud_from(tmp_path / "b.mp4") == pytest.approx(1.0, abs=0.05)
    tall = probe(short.path)
    assert (tall.width, tall.height) == (192, 1600)  # the shorter side counts
    module = importlib.import_module("framesift.video.playable")
    monkeypatch.setattr(module, "_COPY", module.Quality(crf=1, height_px=96, bytes=20_000))
    small = playable_copy(path, tmp_path / "c.mp4")
    assert (probe(small.path).width, probe(small.path).height) == (96, 800)
    assert small.end_s < 4.0
    assert small.notes == ("it ends early, at 20000 bytes",)
    assert probe(small.path).duration_s == pytest.approx(small.end_s, abs=0.05)


def test_a_copy_that_is_too_large_is_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_clip(tmp_path / "a.mov", 50, options={**x264(gop=10), "crf": "1"})
    module = importlib.import_module("framesift.video.playable")
    monkeypatch.setattr(module, "MAX_COPY_BYTES", 10_000)
    result = playable_copy(path, tmp_path / "b.mp4")
    assert (result.mode, result.reason) == ("encode", "it would be larger than 10000 bytes")


def test_a_cut_plays(tmp_path: Path) -> None:
    path = make_film(tmp_path / "a.avi", video="mpeg4", audio=None)
    assert playability(cut_file(path, 1.0, 2.0, tmp_path / "b.mp4").path).verdict == "as_is"
