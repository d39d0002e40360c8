from __future__ import annotations

import builtins
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse
from xml.etree import ElementTree

import av
import opentimelineio as otio
import pytest

from clip_maker import make_clip, pictures
from film_maker import make_film
from framesift import Hit
from framesift.errors import InputError, MissingExtraError
from framesift.exporting import export
from framesift.exporting.media import frames_between, main_rate, media_of
from framesift.video import probe

NTSC = Fraction(30000, 1001)


def hit(video: Path, start_s: float, end_s: float, *, rank: int = 1) -> Hit:
    return Hit(
        rank=rank,
        video=str(video),
        start_s=start_s,
        end_s=end_s,
        score=0.25,
        frame_times_s=(start_s, (start_s + end_s) / 2),
        attention=(0.1, 0.9),
    )


def clip_at(path: Path, rate: Fraction, num_frames: int = 120) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for image in pictures(num_frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips & 'more' #1")
    make_film(folder / "pal.mp4", seconds=4.0)
    clip_at(folder / "ntsc.mp4", NTSC)
    clip_at(folder / "ntsc two.mp4", NTSC)
    clip_at(folder / "slow.mp4", Fraction(10), 40)
    return folder


@pytest.fixture
def hits(folder: Path) -> list[Hit]:
    return [
        hit(folder / "ntsc.mp4", 1.0, 2.5),
        hit(folder / "pal.mp4", 0.5, 3.0, rank=2),
        hit(folder / "ntsc two.mp4", 0.0, 99.0, rank=3),
    ]


def file_of(clip: Any) -> Path:
    return Path(unquote(urlparse(clip.media_reference.target_url).path))


def seconds(time: Any) -> float:
    return time.value / time.rate


@pytest.mark.parametrize(
    ("name", "rate", "frames"),
    [("pal.mp4", Fraction(25), 100), ("ntsc.mp4", NTSC, 120), ("slow.mp4", Fraction(10), 40)],
)
def test_rates_are_those_that_are_meant(folder: Path, name: str, rate: Fraction, frames: int) -> None:
    media = media_of(str(folder / name))
    assert (media.rate, media.num_frames) == (rate, frames)
    assert media.has_sound == (name == "pal.mp4")
    assert Path(unquote(urlparse(media.url).path)) == folder / name


def test_a_wrong_length_of_the_last_frame_does_not_change_the_rate(tmp_path: Path) -> None:
    times = range(0, 60 * 1001, 1001)
    path = make_clip(tmp_path / "a.mp4", 60, times=times, time_base=Fraction(1, 30000))
    assert probe(path).fps != pytest.approx(30000 / 1001, rel=1e-4), "the clip is not what this is about"
    assert media_of(str(path)).rate == NTSC


def test_stretches_hold_all_that_was_found() -> None:
    assert frames_between(1.0, 2.0, Fraction(25), 100) == (25, 25)
    assert frames_between(1.01, 1.99, Fraction(25), 100) == (25, 25)
    assert frames_between(0.1 + 0.2, 0.6, Fraction(10), 100) == (3, 3)  # 0.30000000000000004
    assert frames_between(3.0, 99.0, Fraction(25), 100) == (75, 25)
    assert frames_between(50.0, 99.0, Fraction(25), 100) == (99, 1)
    assert frames_between(1.0, 1.0, Fraction(25), 100) == (25, 1)


def test_the_main_rate_is_that_of_most(folder: Path) -> None:
    pal, ntsc, slow = (media_of(str(folder / f"{name}.mp4")) for name in ("pal", "ntsc", "slow"))
    assert main_rate([pal, pal, ntsc]) == 25
    assert main_rate([pal, ntsc]) == NTSC
    assert main_rate([slow, slow, pal]) == 25  # 10 is no rate of television
    assert main_rate([slow]) == 30  # in which its frames are whole


def test_otio_keeps_every_rate(hits: list[Hit], tmp_path: Path) -> None:
    done = export(hits, tmp_path / "a.otio", query="a dog")
    assert (done.count, done.rate, done.notes) == (3, None, ())
    timeline = otio.adapters.read_from_file(str(tmp_path / "a.otio"))
    assert timeline.name == "a dog"
    clips = timeline.find_clips()
    for clip, one in zip(clips, hits, strict=True):
        assert file_of(clip) == Path(one.video)
        start, end = seconds(clip.source_range.start_time), seconds(clip.source_range.end_time_exclusive())
        last = seconds(clip.media_reference.available_range.end_time_exclusive())
        assert start <= one.start_s < start + 0.05
        assert end == pytest.approx(min(one.end_s, last), abs=0.04)
        (marker,) = clip.markers
        assert marker.name == "a dog (0.250)"
        assert (
            seconds(marker.marked_range.start_time) == pytest.approx(one.focus_s[0], abs=0.05)
            or one.rank == 3
        )
        assert clip.metadata["framesift"]["score"] == 0.25
    assert [clip.source_range.start_time.rate for clip in clips] == pytest.approx([29.97003, 25, 29.97003])


def test_an_edl_counts_in_one_rate(hits: list[Hit], tmp_path: Path) -> None:
    done = export(hits, tmp_path / "a.edl", query="a dog\n* FROM CLIP: /etc/passwd")
    assert done.rate == pytest.approx(29.97003)
    assert done.notes == ("the sequence has 29.97 frames/s; other videos have 25",)
    text = (tmp_path / "a.edl").read_text()
    assert text.splitlines()[:2] == ["TITLE: a dog * FROM CLIP: /etc/passwd", "FCM: DROP FRAME"]
    clips = otio.adapters.read_from_file(str(tmp_path / "a.edl"), rate=30000 / 1001).find_clips()
    assert [file_of(clip) for clip in clips] == [Path(one.video) for one in hits]
    spans = [(round(c.source_range.start_time.value), round(c.source_range.duration.value)) for c in clips]
    assert spans == [(29, 46), (14, 76), (0, 120)]
    reels = [clip.metadata["cmx_3600"]["reel"].strip() for clip in clips]
    assert reels == ["NTSC", "PAL", "NTSC20TW"]
    assert "SCORE: 0.2500" in clips[0].metadata["cmx_3600"]["comments"]
    assert "SOURCE RATE: 25.000 FPS, COUNTED AT 29.970" in clips[1].metadata["cmx_3600"]["comments"]
    # the adapter does not read the markers that it writes where numbers are dropped
    assert "* LOC: 00:00:01;11 GREEN   A DOG * FROM CLIP: /ETC/PASSWD (0.250)" in text.splitlines()


def test_reels_of_different_files_differ(folder: Path, tmp_path: Path) -> None:
    names = ["holiday-1.mp4", "holiday-2.mp4", "holiday-10.mp4", "ax.mp4", "é.mp4"]
    for name in names:
        (tmp_path / name).write_bytes((folder / "slow.mp4").read_bytes())
    found = [hit(tmp_path / name, 0.0, 1.0, rank=i) for i, name in enumerate([*names, names[0]], start=1)]
    export(found, tmp_path / "a.edl", query="q")
    clips = otio.adapters.read_from_file(str(tmp_path / "a.edl"), rate=30).find_clips()
    reels = [clip.metadata["cmx_3600"]["reel"].strip() for clip in clips]
    assert len(set(reels)) == 5
    assert reels[0] == reels[5] == "HOLIDAY1"
    assert "AX" not in reels


def test_an_edl_has_three_digits(folder: Path, tmp_path: Path) -> None:
    found = [hit(folder / "slow.mp4", 0.0, 1.0)] * 1000
    with pytest.raises(InputError, match="an EDL holds 999 results, not 1000"):
        export(found, tmp_path / "a.edl")
    export(found[:999], tmp_path / "a.edl")


def test_fcpxml_is_exact(hits: list[Hit], tmp_path: Path) -> None:
    export(hits, tmp_path / "a.fcpxml", query="<a> & 'dog'")
    root = ElementTree.fromstring((tmp_path / "a.fcpxml").read_text().encode())
    formats = {one.get("id"): one for one in root.iter("format")}
    assets = {one.get("id"): one for one in root.iter("asset")}
    sequence = root.find(".//sequence")
    assert sequence is not None
    assert root.find(".//project").get("name") == "<a> & 'dog'"  # type: ignore[union-attr]

    def time(text: str | None) -> Fraction:
        assert text is not None
        assert text.endswith("s")
        return Fraction(text[:-1])

    frame = time(formats[sequence.get("format")].get("frameDuration"))
    assert frame == Fraction(1001, 30000)
    end = Fraction(0)
    for clip, one in zip(root.iter("asset-clip"), hits, strict=True):
        asset = assets[clip.get("ref")]
        own = time(formats[asset.get("format")].get("frameDuration"))
        assert Path(unquote(urlparse(asset.get("src") or "").path)) == Path(one.video)
        assert asset.get("hasAudio") == ("1" if "pal" in one.video else None)
        start, duration, offset = (time(clip.get(name)) for name in ("start", "duration", "offset"))
        assert (start / own).denominator == (duration / frame).denominator == 1, "not on a frame"
        assert offset == end
        assert start <= one.start_s < start + own
        assert start + duration <= time(asset.get("duration"))
        end = offset + duration
    assert time(sequence.get("duration")) == end


def test_the_adapter_reads_our_fcpxml(hits: list[Hit], tmp_path: Path) -> None:
    export(hits, tmp_path / "a.fcpxml", query="a dog")
    read = otio.adapters.read_from_file(str(tmp_path / "a.fcpxml"))
    clips = list(read.find_children(descended_from_type=otio.schema.Clip))
    assert [file_of(clip) for clip in clips] == [Path(one.video) for one in hits]
    assert [clip.markers[0].name for clip in clips] == ["a dog (0.250)"] * 3


def test_timecodes_of_cameras_count(tmp_path: Path) -> None:
    path = tmp_path / "stamped.mov"
    with av.open(str(path), "w") as container:
        container.metadata["timecode"] = "01:00:00:00"
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for image in pictures(50):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    assert media_of(str(path)).timecode == "01:00:00:00"
    export([hit(path, 1.0, 2.0)], tmp_path / "a.edl", query="q")
    assert "01:00:01:00 01:00:02:00 00:00:00:00 00:00:01:00" in (tmp_path / "a.edl").read_text()
    export([hit(path, 1.0, 2.0)], tmp_path / "a.fcpxml", query="q")
    assert 'start="3601s"' in (tmp_path / "a.fcpxml").read_text()


def test_videos_that_are_gone_are_left_out(folder: Path, tmp_path: Path) -> None:
    found = [hit(tmp_path / "gone.mp4", 0.0, 1.0), hit(folder / "pal.mp4", 0.0, 1.0, rank=2)]
    done = export(found, tmp_path / "a.edl", query="q")
    assert done.count == 1
    assert done.notes[0].startswith("left out: cannot decode")
    with pytest.raises(InputError, match="nothing to put into a timeline: cannot decode"):
        export(found[:1], tmp_path / "b.edl")
    with pytest.raises(InputError, match="nothing to put into a timeline"):
        export([], tmp_path / "b.otio")
    assert not (tmp_path / "b.edl").exists()


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hits: list[Hit]) -> None:
    import_module = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name == "opentimelineio":
            raise ImportError(name)
        return import_module(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingExtraError, match=r"pip install 'framesift\[export\]'"):
        export(hits, tmp_path / "a.edl")
    assert export(hits, tmp_path / "a.csv").count == 3
