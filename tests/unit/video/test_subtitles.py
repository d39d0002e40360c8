"""Subtitle files and text streams as cues, whatever is in them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from framesift.errors import DecodeError
from framesift.video.subtitles import (
    MAX_BYTES,
    Cue,
    match_sidecars,
    parse_subtitles,
    plain_text,
    read_sidecar,
    tidy,
)
from framesift.video.text_streams import read_text_streams
from subtitle_clips import srt, write_subtitled


def _lines(text: str, **options: bool) -> list[tuple[float, float, str]]:
    return [(cue.start_s, cue.end_s, cue.text) for cue in parse_subtitles(text, **options)[0]]


def test_subrip_as_it_should_be() -> None:
    cues = [(1.5, 2.25, "Good morning."), (3600.0, 3661.5, "Two\nlines"), (0.0, 99.0, "overlapping")]
    assert _lines(srt(cues)) == [
        (1.5, 2.25, "Good morning."),
        (3600.0, 3661.5, "Two lines"),
        (0.0, 99.0, "overlapping"),
    ]


def test_subrip_as_it_is_found() -> None:
    text = (
        "\ufeff1\r\n00:00:01.000 --> 00:00:02,5 X1:10 Y1:20\r\n<i>Hi</i> {\\an8}there &amp; you\r\n"
        "2\r\n00:03 --> 0:0:4\r\na < b\r\n\r\ngoes on\r\n\r\n3\r\n\r\n4\r\n00:00:05,0 --> 00:00:06,0\r\n\r\nlate\r\n"
    )
    assert _lines(text) == [(1.0, 2.5, "Hi there & you"), (3.0, 4.0, "a < b goes on"), (5.0, 6.0, "late")]


def test_malformed_cues_are_skipped_and_counted_and_their_text_with_them() -> None:
    text = "\n\n".join(
        [
            "1\n00:00:01,0 --> 00:00:02,0\ngood",
            "2\nno times",
            "3\n00:00:99,0 --> 00:01:00,0\nbad second",
            "more of it",
            "4\n00:00:05,0 --> 00:00:04,0\nbackwards",
            "5\nsoon --> later\nwords",
            "6\n00:00:07,0 --> 00:00:08,0\nalso good",
        ]
    )
    cues, skipped = parse_subtitles(text)
    assert ([cue.text for cue in cues], skipped) == (["good", "also good"], 4)


def test_webvtt_with_its_blocks_and_without_hours() -> None:
    text = (
        "WEBVTT - a film\nKind: captions\n\nNOTE nothing\nto see\n\nSTYLE\n::cue { color: red }\n\nintro\n"
        "00:01.000 --> 00:02.000 align:start position:0%\n<v Anna>Hello <00:01.500><c.big>wor</c>ld&nbsp;&lt;3\n\n"
        "stray text\n\n01:00:00.000 --> 01:00:01.000\nlater\n"
    )
    assert _lines(text) == [(1.0, 2.0, "Hello world <3"), (3600.0, 3601.0, "later")]
    assert _lines(text.replace("WEBVTT", "webvtt"), webvtt=True) == _lines(text)


def test_markup_and_control_characters_go() -> None:
    assert plain_text("{\\p1}m 0 0 l 1 1{\\p0}\\Nsaid\\hthis\x00\x1b\u202e <b>now</b>") == "said this now"
    assert plain_text("5 < 6 and {so on}") == "5 < 6 and {so on}"


def test_rolling_captions_say_everything_once() -> None:
    cues = [
        (0, 2, "one"),
        (2, 2.01, "one"),
        (2.01, 4, "one two"),
        (4, 4.01, "two"),
        (4.01, 6, "two three"),
        (9, 10, "three"),
    ]
    found = tidy(Cue(start_s=start, end_s=end, text=text) for start, end, text in cues)
    assert [cue.text for cue in found] == ["one", "two", "three", "three"]
    assert (found[0].start_s, found[0].end_s) == (0, 2.01)


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", b"\xef\xbb\xbf"),
        ("utf-16-le", b"\xff\xfe"),
        ("utf-16-be", b"\xfe\xff"),
        ("utf-16-le", b""),
        ("cp1252", b""),
    ],
)
def test_encodings(tmp_path: Path, encoding: str, mark: bytes) -> None:
    path = tmp_path / "film.fr.srt"
    path.write_bytes(mark + srt([(1, 2, "Où est le café – ici ?"), (3, 4, "Là")]).encode(encoding))
    track = read_sidecar(path, language="fr")
    assert [cue.text for cue in track.cues] == ["Où est le café – ici ?", "Là"]
    assert (track.source, track.language, track.problem) == ("film.fr.srt", "fr", None)


def test_what_no_windows_page_knows_is_latin_1(tmp_path: Path) -> None:
    path = tmp_path / "a.srt"
    path.write_bytes(srt([(1, 2, "x")]).encode().replace(b"x", b"na\xefve \x81"))
    assert read_sidecar(path).cues[0].text == "naïve"


def test_hostile_files_are_refused_in_bounded_time(tmp_path: Path) -> None:
    path = tmp_path / "a.srt"
    began = time.monotonic()
    with path.open("wb") as file:
        file.truncate(100 * 2**20)
    assert "more than" in (read_sidecar(path).problem or "")
    path.write_bytes(os.urandom(200_000))
    assert read_sidecar(path).problem == "it is not text"
    path.write_bytes(b"")
    assert read_sidecar(path).problem == "it is empty"
    path.write_text("a story\n")
    assert read_sidecar(path).problem == "there is no cue in it"
    path.unlink()
    assert read_sidecar(path).problem == "No such file or directory"
    os.mkfifo(path)
    assert read_sidecar(path).problem == "it is not a regular file"
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "bomb",
    [
        "<" * 2**20,
        "-->\n" * 2**17,
        "1\n00:00:01,0 --> 00:00:02,0\n" + "a\n\n" * 2**16,
        "00:01 --> 00:02\n" + "{\\p1" * 2**18,
    ],
)
def test_no_text_takes_long(bomb: str) -> None:
    began = time.monotonic()
    cues, _ = parse_subtitles(bomb)
    assert sum(len(cue.text) for cue in cues) < 10_000
    assert time.monotonic() - began < 5


def test_many_cues_are_cut_off_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framesift.video.subtitles.MAX_CUES", 3)
    path = tmp_path / "a.srt"
    path.write_text(srt([(second, second + 0.5, f"word {second}") for second in range(9)]))
    assert path.stat().st_size < MAX_BYTES
    track = read_sidecar(path)
    assert (len(track.cues), track.problem) == (3, "only its first 3 cues are kept")


def test_which_file_belongs_to_which_video() -> None:
    names = [
        *(
            "film.srt",
            "film.en.srt",
            "film.pt_BR.forced.VTT",
            "film.mp4.srt",
            "film.part1.srt",
            "film.txt",
            "films.srt",
        ),
        *("film.raw.srt", "film.raw.de.srt", "other.mkv.en.srt", "film.a.b.c.d.e.srt"),
    ]
    matched = match_sidecars(names, ["film.mp4", "film.raw.mp4", "other.mkv", "lonely.avi"])
    assert matched == {
        "film.mp4": [
            ("film.en.srt", "en"),
            ("film.mp4.srt", None),
            ("film.pt_BR.forced.VTT", "pt-BR"),
            ("film.srt", None),
        ],
        "film.raw.mp4": [("film.raw.de.srt", "de"), ("film.raw.srt", None)],
        "other.mkv": [("other.mkv.en.srt", "en")],
    }


@pytest.mark.parametrize(
    ("name", "codec", "line"),
    [
        ("a.mp4", "mov_text", "Hello there"),
        ("a.mkv", "subrip", "<i>Hello</i> there"),
        ("w.mkv", "webvtt", "Hello there"),
        ("s.mkv", "ass", "0,0,Default,,0,0,0,,{\\i1}Hello{\\i0}\\Nthere"),
    ],
)
def test_text_streams(tmp_path: Path, name: str, codec: str, line: str) -> None:
    last = "1,0,Default,,0,0,0,,Bye" if codec == "ass" else "Bye"
    path = write_subtitled(tmp_path / name, codec, [(0.5, 1.5, line), (3.0, 4.0, last)])
    (track,) = read_text_streams(path)
    assert (track.source, track.language, track.skipped, track.problem) == ("stream 1", "eng", 0, None)
    assert [(cue.start_s, cue.end_s, cue.text) for cue in track.cues] == [
        (0.5, 1.5, "Hello there"),
        (3.0, 4.0, "Bye"),
    ]


def test_stream_of_unknown_language_and_a_file_cut_short(tmp_path: Path) -> None:
    lines = [(i / 2, i / 2 + 0.4, f"line {i}") for i in range(9)]
    path = write_subtitled(tmp_path / "a.mkv", "subrip", lines, language="und")
    (track,) = read_text_streams(path)
    assert (track.language, len(track.cues)) == (None, 9)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 3 // 4])
    (track,) = read_text_streams(path)
    assert len(track.cues) < 9


def test_time_limit_of_a_long_file_is_said(tmp_path: Path) -> None:
    path = write_subtitled(tmp_path / "a.mkv", "subrip", [(0, 1, "never read")])
    (track,) = read_text_streams(path, time_limit_s=-1.0)
    assert (track.cues, track.problem) == (
        (),
        "reading the file through took too long; later cues are missing",
    )


def test_no_video_is_an_error_and_no_stream_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"junk" * 100)
    with pytest.raises(DecodeError):
        read_text_streams(tmp_path / "a.mp4")


def test_real_clips_have_no_text_streams_and_hostile_files_do_no_harm(real_data: Path) -> None:
    clips = sorted((real_data / "clips").glob("*.mp4"))[:3]
    assert clips
    assert all(isinstance(read_text_streams(clip), list) for clip in clips)
    for path in sorted((real_data / "hostile").iterdir())[:40]:
        if path.is_file():
            read_sidecar(path)
