from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from film_maker import make_film
from framesift import Hit
from framesift.cli.main import app
from framesift.cli.output import format_time
from framesift.cli.taking import check_export, parse_time, write_export
from framesift.errors import DecodeError, InputError
from framesift.video import probe

RUNNER = CliRunner()


def run(*arguments: str | Path) -> tuple[str, str]:
    """What a verb says on stdout and stderr; raises what it raises."""
    done = RUNNER.invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_film(tmp_path_factory.mktemp("film") / "trip.mp4")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("75.5", 75.5), (".5", 0.5), ("5.", 5), ("1:15.5", 75.5), ("1:02:03.25", 3723.25)],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "x", "-1", "1:60", "1:2:3:4", "1:", ":5", "1e3", "nan", "inf", "1,5", "٣"]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(InputError, match="write seconds, m:ss or h:mm:ss"):
        parse_time(text)


@given(st.integers(0, 10_000_000))
def test_times_that_we_print_can_be_given_back(tenths: int) -> None:
    assert parse_time(format_time(tenths / 10)) == pytest.approx(tenths / 10)


def test_cut_names_its_file_after_the_times(film: Path, here: Path) -> None:
    stdout, stderr = run("cut", film, "0:01.5", "3")
    assert stdout == "trip-0.01.5-0.03.0.mp4\n"
    assert stderr.startswith("copied 0:01.0-0:03.")
    assert "it begins 0.5 s early, with a keyframe; --mode encode begins exactly" in stderr
    assert probe(here / "trip-0.01.5-0.03.0.mp4").codec == "h264"
    with pytest.raises(InputError, match="exists already"):
        run("cut", film, "0:01.5", "3")
    run("cut", film, "0:01.5", "3", "--force")


def test_cut_in_json_and_encoded(film: Path, here: Path) -> None:
    stdout, stderr = run("cut", film, "1.5", "2", "-o", "dog.webm", "--json")
    document = json.loads(stdout)
    assert stderr == ""
    assert (document["mode"], document["start_s"], document["end_s"]) == ("encode", 1.5, 2.0)
    assert document["reason"] == "h264 video does not go into webm"
    _, stderr = run("cut", film, "1.5", "2", "-o", "dog.mp4", "--mode", "encode")
    assert stderr.startswith("encoded 0:01.5-0:02.0 (libx264, aac)")
    with pytest.raises(InputError, match="need 0 <= start_s < end_s"):
        run("cut", film, "2", "1")


def test_a_sheet_of_the_whole_video(film: Path, here: Path) -> None:
    stdout, stderr = run("sheet", film)
    assert stdout == "trip-sheet.jpg\n"
    assert stderr.startswith("12 frames, ")
    with Image.open(here / "trip-sheet.jpg") as picture:
        assert picture.size[0] > 4 * 96


@pytest.mark.parametrize(
    ("options", "times_s"),
    [
        (["--frames", "2"], [1.0, 3.0]),
        (["1", "3", "-n", "2"], [1.5, 2.5]),
        (["1", "--every", "1"], [1.0, 2.0, 3.0]),
        (["0", "100", "--every", "3"], [0.0, 3.0]),
        (["--times", "3.5, 0:01"], [3.5, 1.0]),
    ],
)
def test_which_frames_a_sheet_shows(film: Path, here: Path, options: list[str], times_s: list[float]) -> None:
    stdout, _ = run("sheet", film, *options, "-o", "a.png", "--json", "--columns", "1")
    document = json.loads(stdout)
    assert document["times_s"] == pytest.approx(times_s)
    with Image.open(here / "a.png") as picture:
        assert picture.size == (document["width"], document["height"])
        assert picture.height // len(times_s) in range(64, 110)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--times", "1", "--every", "1"], "--times says all times"),
        (["--times", ","], "takes 1 to 400 times, got 0"),
        (["--times", "1,4"], r"has 0:04.0, but the video ends at 4.000 s"),
        (["--every", "0"], "more than 400 frames"),
        (["5", "6"], r"within the video's 4\.0 s"),
        (["-o", "a.gif"], "must end in"),
    ],
)
def test_sheets_that_cannot_be(film: Path, here: Path, options: list[str], why: str) -> None:
    with pytest.raises(InputError, match=why):
        run("sheet", film, *options)
    assert not list(here.iterdir())


def test_no_video(here: Path) -> None:
    for verb in (["cut", "none.mp4", "0", "1"], ["sheet", "none.mp4"]):
        with pytest.raises(DecodeError, match=r"\(No such file or directory\)$"):
            run(*verb)


def test_exports_are_checked_before_a_search(
    here: Path, film: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_export(None)
    check_export(Path("a.edl"))
    with pytest.raises(InputError, match="must end in"):
        check_export(Path("a.xls"))
    (here / "a.csv").touch()
    with pytest.raises(InputError, match="choose another name for --export"):
        check_export(Path("a.csv"))
    check_export(Path("a.csv"), force=True)
    hit = Hit(
        rank=1, video=str(film), start_s=1.0, end_s=2.0, score=0.5, frame_times_s=(1.5,), attention=(1.0,)
    )
    write_export([hit], Path("a.edl"), query="a dog")
    assert capsys.readouterr().err == "1 results in a.edl, 25 frames/s\n"
