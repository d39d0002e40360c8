"""``framesift search``, ``tag`` and ``describe`` with a bundled model over rendered videos, in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from framesift.cli.main import app
from framesift.errors import FramesiftError, InputError
from framesift.index import BuildConfig, Index
from framesift.storyboard import standard, write_split

STORY = standard(6)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with six videos in ``videos/``, one of them with a subtitle, and an index of them."""
    folder = tmp_path_factory.mktemp("library")
    write_split(STORY.videos, folder / "videos")
    first = sorted((folder / "videos").glob("*.mp4"))[0]
    first.with_suffix(".srt").write_text("1\n00:00:00,500 --> 00:00:01,500\nGood evening\n")
    with Index.create(folder / "framesift.index", model="storyboard-clip") as index:
        index.add(folder / "videos", config=BuildConfig(workers=0))
    return folder


@pytest.fixture(autouse=True)
def _there(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(library)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def data(*arguments: str | Path) -> dict:  # type: ignore[type-arg]
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.exception
    return json.loads(done.stdout)


def error(*arguments: str | Path) -> str:
    done = run(*arguments)
    assert isinstance(done.exception, FramesiftError), done.output
    return str(done.exception)


def first_video() -> Path:
    return sorted(Path("videos").glob("*.mp4"))[0]


def test_json_keeps_its_keys_and_has_new_ones() -> None:
    document = data("search", "a red circle -star", "-k", "2")
    assert document["query"] == "a red circle -star"
    assert {"nothing_fits", "moments", "searched", "reranked", "notes", "next_offset"} <= set(document)
    assert [hit["rank"] for hit in document["hits"]] == [1, 2]
    for hit in document["hits"]:
        assert {"video", "start_s", "end_s", "focus_s", "score", "frame_times_s", "attention"} <= set(hit)
        assert {"relevance", "sources", "parts", "duplicates", "video_id"} <= set(hit)
    following = data("search", "a red circle -star", "-k", "2", "--offset", str(document["next_offset"]))
    assert [hit["rank"] for hit in following["hits"]] == [3, 4]
    assert not {hit["video"] for hit in following["hits"]} & {hit["video"] for hit in document["hits"]}


def test_lines_show_steps_and_what_is_said() -> None:
    shown = run("search", "a circle then a square", "-k", "1").stdout
    assert "one after the other: " in shown
    assert ", then " in shown
    said = run("search", "good evening", "--source", "subtitles")
    assert "said at 0:00.5 “Good evening”" in said.stdout
    assert first_video().name in said.stdout
    assert "no subtitle has all these words" in run("search", "xyz", "--source", "subtitles").stderr


def test_examples_from_files_and_the_index() -> None:
    video = first_video()
    for option, value in (("--like", str(video)), ("--like-moment", f"{video}@0-0:01.5")):
        assert Path(data("search", option, value)["hits"][0]["video"]).name == video.name
    assert "no file" in error("search", "--like", "nowhere.png")
    assert "VIDEO@START-END" in error("search", "--like-moment", "nowhere.mp4")
    assert "query is empty" in error("search")


def test_filters_that_leave_nothing_and_errors_are_said() -> None:
    done = run("search", "a star tag:nothing")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "leave none of the 6 moments" in done.stderr
    assert "at character 3" in error("search", 'a "star')
    assert "no results behind the first 50" in run("search", "a star", "--offset", "50").stderr


def test_tags() -> None:
    video = first_video()
    assert data("tag", video, "--add", "Beach", "--add", "two words")["files"][0]["tags"] == [
        "Beach",
        "two words",
    ]
    assert "Beach, two words" in run("tag", video).stdout
    assert len(data("search", "a star tag:beach")["hits"]) == 1
    assert data("tag", "videos", "--remove", "beach", "-r", "two words")["files"][0]["tags"] == []
    assert "holds nothing of" in error("tag", "nowhere.mp4", "--add", "x")


def test_export_is_refused_before_the_search_and_written_after_it(tmp_path: Path) -> None:
    target = tmp_path / "found.csv"
    assert run("search", "a star", "-k", "2", "--export", target).exit_code == 0
    assert len(target.read_text().splitlines()) == 3
    assert "exists already" in error("search", "a star", "--export", target)


def test_describe_ranks_captions_of_indexed_and_other_videos(tmp_path: Path) -> None:
    (tmp_path / "captions.txt").write_text("\n".join(STORY.texts))
    video = first_video()
    ranked = data("describe", video, "--captions", tmp_path / "captions.txt", "-k", "3")["captions"]
    assert [caption["rank"] for caption in ranked] == [1, 2, 3]
    assert [c["score"] for c in ranked] == sorted((c["score"] for c in ranked), reverse=True)
    part = data("describe", video, "-c", tmp_path / "captions.txt", "--start", "0.5", "--end", "1.5")[
        "captions"
    ]
    assert all(0.4 <= time <= 1.6 for time in part[0]["frame_times_s"])
    shown = run(
        "describe", video, "-c", tmp_path / "captions.txt", "--template", "a video of {}", "-k", "1"
    ).stdout
    assert any(text in shown for text in STORY.texts)
    assert "no {}" in error("describe", video, "-c", tmp_path / "captions.txt", "--template", "x")
    assert "cannot read" in error("describe", video, "-c", tmp_path / "nowhere.txt")


def test_describe_without_an_index_wants_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "captions.txt").write_text("a star")
    video = first_video().absolute()
    monkeypatch.chdir(tmp_path)
    done = run("describe", video, "-c", "captions.txt")
    assert isinstance(done.exception, InputError)
    assert "--model" in str(done.exception)
    ranked = data("describe", video, "-c", "captions.txt", "--model", "storyboard-clip")["captions"]
    assert ranked[0]["text"] == "a star"
