from __future__ import annotations

import importlib
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from clip_maker import make_clip, pictures, x264, x265
from film_maker import FPS, loud_from, make_film, subtitle_times
from framesift.errors import ConfigError, DecodeError, InputError
from framesift.video import decode_all, probe
from framesift.video.cutting import CutResult, Mode, cut_file
from framesift.video.encoding import encoders


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds, a keyframe every second, sound from 2 s on."""
    return make_film(tmp_path_factory.mktemp("film") / "film.mp4")


def frames_of(path: Path | str) -> list[tuple[float, np.ndarray]]:
    return list(decode_all(path))


def assert_shows(result: CutResult, source: Path, *, first: int, until_s: float) -> None:
    """The file shows the source from its frame ``first`` to ``until_s``: a copy bit for bit, after which it may show
    frames that others refer to; an encoded one about, and nothing else."""
    got = frames_of(result.path)
    expected = [(time_s, pixels) for time_s, pixels in frames_of(source)[first:] if time_s < until_s - 1e-6]
    if result.mode == "copy":
        assert len(got) - len(expected) in (0, 1, 2)
        assert result.start_s == pytest.approx(expected[0][0])
        got = got[: len(expected)]
    times_s = [max(0.0, time_s - result.start_s) for time_s, _ in expected]  # the first may have begun before
    np.testing.assert_allclose([time_s for time_s, _ in got], times_s, atol=2e-3)
    for (_, ours), (_, theirs) in zip(got, expected, strict=True):
        if result.mode == "copy":
            np.testing.assert_array_equal(ours, theirs)
        else:  # neighbouring frames of the moving mosaic differ by more than 20
            assert np.abs(ours.astype(float) - theirs.astype(float)).mean() < 10


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_copy_begins_with_the_keyframe_before(film: Path, tmp_path: Path, suffix: str) -> None:
    result = cut_file(film, 1.5, 3.0, tmp_path / f"a{suffix}")
    assert (result.mode, result.codecs, result.reason, result.notes) == ("copy", ("h264", "aac"), None, ())
    assert result.start_s == 1.0
    assert 3.0 <= result.end_s <= 3.0 + 2 / FPS  # of B-frames, what they refer to
    assert_shows(result, film, first=25, until_s=3.0)
    assert loud_from(Path(result.path)) == pytest.approx(2.0 - result.start_s, abs=0.03)
    assert result.size_bytes == os.path.getsize(result.path)
    assert os.listdir(tmp_path) == [f"a{suffix}"]


def test_a_copy_of_everything_is_the_video(film: Path, tmp_path: Path) -> None:
    result = cut_file(film, 0.0, 100.0, tmp_path / "a.mp4", mode="copy")
    assert (result.start_s, result.end_s) == (0.0, 4.0)
    assert_shows(result, film, first=0, until_s=4.0)
    assert loud_from(tmp_path / "a.mp4") == pytest.approx(2.0, abs=0.03)


@pytest.mark.parametrize(
    ("suffix", "codecs"), [(".mp4", ("libx264", "aac")), (".webm", ("libvpx-vp9", "libopus"))]
)
def test_encoding_is_exact(film: Path, tmp_path: Path, suffix: str, codecs: tuple[str, str]) -> None:
    result = cut_file(film, 1.5, 3.0, tmp_path / f"a{suffix}", mode="encode")
    assert (result.mode, result.codecs, result.reason) == ("encode", codecs, None)
    assert (result.start_s, result.end_s) == (1.5, 3.0)
    assert_shows(result, film, first=37, until_s=3.0)  # frame 37 is on display at 1.5 s
    assert loud_from(tmp_path / f"a{suffix}") == pytest.approx(0.5, abs=0.03)
    with av.open(str(result.path)) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert samples == pytest.approx(1.5 * 48_000, abs=2100)  # the last packet may be filled up


def test_auto_encodes_what_cannot_be_copied(film: Path, tmp_path: Path) -> None:
    result = cut_file(film, 1.5, 2.0, tmp_path / "a.webm")
    assert (result.mode, result.start_s, result.end_s) == ("encode", 1.5, 2.0)
    assert result.reason == "h264 video does not go into webm"
    with pytest.raises(InputError, match=r"h264 video does not go into webm; cut it with mode 'encode'"):
        cut_file(film, 1.5, 2.0, tmp_path / "b.webm", mode="copy")
    assert os.listdir(tmp_path) == ["a.webm"]


def test_auto_encodes_where_the_keyframe_is_far(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "long.mp4", 300, options=x264(gop=1000))
    result = cut_file(path, 11.0, 11.5, tmp_path / "a.mp4")
    assert (result.mode, result.start_s) == ("encode", 11.0)
    assert result.reason == "the keyframe before is 11.0 s early"
    assert cut_file(path, 9.0, 9.5, tmp_path / "b.mp4").mode == "copy"


@pytest.mark.parametrize("name", ["open.mp4", "hevc.mp4"])
def test_pictures_that_refer_to_before_the_keyframe_are_left_out(tmp_path: Path, name: str) -> None:
    codec, options = (
        ("libx265", x265(gop=12, open_gop=True))
        if name == "hevc.mp4"
        else ("libx264", x264(gop=12, open_gop=True))
    )
    path = make_clip(tmp_path / name, 60, codec=codec, options=options)
    result = cut_file(path, 1.3, 2.0, tmp_path / "a.mp4", mode="copy")
    first = round(result.start_s * FPS)
    assert 12 < first <= 32
    assert_shows(result, path, first=first, until_s=2.0)


def test_what_an_edit_list_hides_stays_hidden(film: Path, tmp_path: Path) -> None:
    """Copied with times before zero, frames get an edit list, which the copy of the copy must keep."""
    hidden = tmp_path / "hidden.mp4"
    with av.open(str(film)) as source, av.open(str(hidden), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.pts, packet.dts = packet.pts - 6 * 512, packet.dts - 6 * 512  # six frames of 1/12800 s
                packet.stream = stream
                target.mux(packet)
    shown = frames_of(hidden)
    assert len(shown) == 94
    result = cut_file(hidden, 0.0, 10.0, tmp_path / "a.mp4", mode="copy")
    assert_shows(result, hidden, first=0, until_s=10.0)
    matroska = cut_file(hidden, 0.0, 10.0, tmp_path / "a.mkv")
    assert matroska.mode == "encode"
    assert "edit list" in (matroska.reason or "")
    assert len(frames_of(matroska.path)) == 94


@pytest.mark.parametrize("mode", ["copy", "encode"])
def test_rotation_is_kept(tmp_path: Path, mode: Mode) -> None:
    path = make_film(tmp_path / "r.mp4", seconds=1.0, rotation=90)
    result = cut_file(path, 0.0, 1.0, tmp_path / "a.mp4", mode=mode)
    assert probe(path).rotation == probe(result.path).rotation != 0
    assert_shows(result, path, first=0, until_s=1.0)


def test_subtitles_go_along(tmp_path: Path) -> None:
    path = make_film(tmp_path / "s.mkv", subtitle="subrip")
    result = cut_file(path, 2.5, 3.5, tmp_path / "a.mkv", mode="copy")
    assert "subrip" in result.codecs
    assert subtitle_times(tmp_path / "a.mkv") == [
        (pytest.approx(0.0, abs=0.03), pytest.approx(1.0, abs=0.03))
    ]
    before = cut_file(path, 0.0, 0.9, tmp_path / "b.mkv", mode="copy")
    assert before.mode == "copy"
    assert subtitle_times(tmp_path / "b.mkv") == []
    other = cut_file(path, 2.5, 3.5, tmp_path / "a.mp4", mode="copy")
    assert other.notes == ("without subtitles in subrip, which mp4 has not",)


def test_uneven_frame_times_stay_uneven(tmp_path: Path) -> None:
    times = [0, 1, 2, 10, 11, 30, 31, 32, 50, 60]
    path = make_clip(tmp_path / "v.mp4", pictures(10), times=times)
    result = cut_file(path, 0.2, 1.9, tmp_path / "a.mp4", mode="encode")
    got = [time_s for time_s, _ in frames_of(result.path)]
    # at 0.2 s the frame of 2/25 s is still on display
    expected = [0.0, *(tick / FPS - 0.2 for tick in (10, 11, 30, 31, 32))]
    np.testing.assert_allclose(got, expected, atol=2e-3)
    with av.open(str(result.path)) as container:
        assert container.duration == pytest.approx(1.7e6, abs=2e3)


def test_gaps_in_the_sound_are_filled(film: Path, tmp_path: Path) -> None:
    gappy = tmp_path / "gappy.mkv"
    with av.open(str(film)) as source, av.open(str(gappy), "w") as target:
        streams = {s.index: target.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            time_s = float((packet.pts or 0) * packet.time_base)
            if packet.size and not (packet.stream.type == "audio" and 0.5 < time_s < 1.8):
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    cut_file(gappy, 0.2, 3.0, tmp_path / "a.mp4", mode="encode")
    assert loud_from(tmp_path / "a.mp4") == pytest.approx(1.8, abs=0.03)


@pytest.mark.parametrize("container", ["avi", "mpg", "flv"])
def test_containers_without_random_access(tmp_path: Path, container: str) -> None:
    codec = {"avi": "mpeg4", "mpg": "mpeg2video", "flv": "flv"}[container]
    path = make_film(tmp_path / f"a.{container}", video=codec, audio="mp2" if container == "mpg" else None)
    result = cut_file(path, 1.0, 2.0, tmp_path / "a.mp4")
    assert result.mode == "encode"
    assert "no keyframe that one could rely on" in (result.reason or "")
    assert_shows(result, path, first=25, until_s=2.0)


def test_odd_sizes_and_colours_without_chroma(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mkv", 10, codec="ffv1", pix_fmt="bgr0")
    assert cut_file(path, 0.0, 1.0, tmp_path / "a.mp4").mode == "encode"
    ours, theirs = frames_of(tmp_path / "a.mp4"), frames_of(path)
    for (_, one), (_, other) in zip(ours, theirs, strict=True):
        cast = one.astype(float).mean(axis=(0, 1)) - other.astype(float).mean(axis=(0, 1))
        assert np.abs(cast).max() < 3
    odd = [image[:63, :95] for image in pictures(10)]
    path = make_clip(tmp_path / "odd.mkv", odd, codec="ffv1", pix_fmt="yuv444p")
    cut_file(path, 0.0, 1.0, tmp_path / "odd.mp4")
    assert (probe(tmp_path / "odd.mp4").width, probe(tmp_path / "odd.mp4").height) == (96, 64)


def test_nothing_is_overwritten(film: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    target.write_bytes(b"precious")
    with pytest.raises(InputError, match="exists already"):
        cut_file(film, 0.0, 1.0, target)
    assert target.read_bytes() == b"precious"
    assert cut_file(film, 0.0, 1.0, target, overwrite=True).size_bytes > 1000
    with pytest.raises(InputError, match="the video itself"):
        cut_file(target, 0.0, 0.5, target, overwrite=True)


def test_a_failure_leaves_nothing(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("framesift.video.encoding")

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "VideoReformatter", type("Broken", (), {"reformat": fail}))
    with pytest.raises(InputError, match="No space left"):
        cut_file(film, 0.0, 1.0, tmp_path / "a.mp4", mode="encode")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("start_s", "end_s"), [(-1.0, 1.0), (1.0, 1.0), (2.0, 1.0), (float("nan"), 1.0), (0.0, float("inf"))]
)
def test_times_that_make_no_stretch(film: Path, tmp_path: Path, start_s: float, end_s: float) -> None:
    with pytest.raises(InputError, match="need 0 <= start_s < end_s"):
        cut_file(film, start_s, end_s, tmp_path / "a.mp4")


@pytest.mark.parametrize("mode", ["auto", "copy", "encode"])
@pytest.mark.parametrize("start_s", [4.0, 50.0])
def test_a_stretch_after_the_end(film: Path, tmp_path: Path, mode: Mode, start_s: float) -> None:
    with pytest.raises(InputError, match="begins at"):
        cut_file(film, start_s, start_s + 1, tmp_path / "a.mp4", mode=mode)
    assert os.listdir(tmp_path) == []


def test_other_bad_input(film: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="choose auto, copy or encode"):
        cut_file(film, 0.0, 1.0, tmp_path / "a.mp4", mode="fast")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"must end in \.mp4"):
        cut_file(film, 0.0, 1.0, tmp_path / "a.avi")
    with pytest.raises(DecodeError, match="No such file"):
        cut_file(tmp_path / "none.mp4", 0.0, 1.0, tmp_path / "a.mp4")
    folder = os.fsencode(tmp_path) + b"/\xff"
    os.mkdir(folder)
    with pytest.raises(InputError, match="not UTF-8"):
        cut_file(film, 0.0, 1.0, os.fsdecode(folder + b"/a.mp4"))


def test_the_usual_encoders_are_there() -> None:
    assert encoders("mp4") == ("libx264", "aac")
    assert encoders("webm") == ("libvpx-vp9", "libopus")


def test_times_of_a_result_are_those_of_the_source(tmp_path: Path) -> None:
    """A video whose clock does not begin at zero is cut where its frames are shown, not where its clock says."""
    path = make_clip(
        tmp_path / "late.mkv", 60, times=range(100, 160), options=x264(gop=10), time_base=Fraction(1, 25)
    )
    copied = cut_file(path, 1.0, 2.0, tmp_path / "a.mkv", mode="copy")
    assert copied.start_s == pytest.approx(0.8)
    assert_shows(copied, path, first=20, until_s=2.0)
    encoded = cut_file(path, 1.0, 2.0, tmp_path / "a.mp4", mode="encode")
    assert_shows(encoded, path, first=25, until_s=2.0)
