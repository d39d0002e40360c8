"""Subtitles through a whole index: real files, changes, moves, and builds that are killed."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from colour_model import ColourModel, write_clip
from framesift.errors import IndexRecoveredWarning
from framesift.index import BuildConfig, Index, subtitle_refresh
from framesift.index.subtitles import SUBTITLES_NAME
from framesift.video.loader import read_each
from subtitle_clips import srt, write_subtitled

HERE = BuildConfig(workers=0)  # no processes, for speed
INSIDE = [(0.5, 1.5, "said inside"), (2.0, 3.0, "the film")]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.create(tmp_path / "the.index", model=ColourModel(), moments="whole") as made:
        yield made


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """``red.mp4`` with a subtitle file, ``talk.mp4`` with a text stream, ``mute.mp4`` with neither."""
    folder = tmp_path / "library"
    write_clip(folder / "red.mp4", ["red"] * 3)
    write_clip(folder / "mute.mp4", ["green"])
    write_subtitled(folder / "talk.mp4", "mov_text", INSIDE)
    (folder / "red.en.srt").write_text(srt([(0, 1, "a red"), (1, 2, "picture")]))
    return folder


def _found(index: Index, query: str) -> list[str]:
    return [Path(hit.uri).name for hit in index.subtitles.search(query)]


def test_build_finds_files_and_streams(index: Index, library: Path) -> None:
    report = index.add(library, config=BuildConfig(workers=1))
    assert sorted(Path(path).name for path in report.subtitles.read) == ["red.mp4", "talk.mp4"]
    assert report.subtitles.problems == []
    (hit,) = index.subtitles.search('"red picture"')
    record = next(r for r in index.videos() if r.uri.endswith("red.mp4"))
    assert (hit.video_id, hit.uri, hit.start_s, hit.end_s) == (record.video_id, record.uri, 0.0, 2.0)
    assert (hit.language, hit.source) == ("en", "red.en.srt")
    assert _found(index, "inside film") == ["talk.mp4"]
    info = index.info()
    assert (info.subtitled, info.cues) == (2, 4)
    assert index.verify().ok
    again = index.add(library, config=HERE)
    assert (again.skipped, again.subtitles.read, again.subtitles.lost) == (3, [], [])


@pytest.mark.parametrize("workers", [0, 1])
def test_only_videos_that_have_streams_are_opened_to_read_them(
    index: Index, library: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    asked: list[str] = []

    def recorded(paths: list[str], *rest: object, **options: object) -> object:
        asked.extend(Path(path).name for path in paths)
        return read_each(paths, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(subtitle_refresh, "read_each", recorded)
    index.add(library, config=BuildConfig(workers=workers))
    assert asked == ["talk.mp4"]
    assert (_found(index, "inside"), _found(index, "red")) == (["talk.mp4"], ["red.mp4"])


def test_subtitle_file_that_comes_changes_and_goes_beside_a_known_video(index: Index, library: Path) -> None:
    index.add(library, config=HERE)
    (library / "mute.vtt").write_text("WEBVTT\n\n00:00.000 --> 00:01.000\nno longer mute\n")
    (library / "talk.de.srt").write_text(srt([(0, 1, "draußen gesagt")]))
    report = index.add(library, config=HERE)
    assert report.skipped == 3
    assert [Path(path).name for path in report.subtitles.read] == ["mute.mp4", "talk.mp4"]
    assert (_found(index, "mute"), _found(index, "draussen OR inside"), _found(index, "inside")) == (
        ["mute.mp4"],
        [],
        ["talk.mp4"],
    )
    (library / "talk.de.srt").write_text(srt([(0, 1, "etwas anderes")]))
    (library / "mute.vtt").unlink()
    report = index.add(library / "mute.mp4", config=HERE)  # only what is asked for
    assert [Path(path).name for path in report.subtitles.lost] == ["mute.mp4"]
    assert (_found(index, "mute"), _found(index, "gesagt")) == ([], ["talk.mp4"])
    index.add(library, config=HERE)
    assert (_found(index, "gesagt"), _found(index, "anderes"), _found(index, "inside")) == (
        [],
        ["talk.mp4"],
        ["talk.mp4"],
    )


def test_changed_video_is_read_again_and_one_that_fails_has_none(index: Index, library: Path) -> None:
    index.add(library, config=HERE)
    write_subtitled(library / "talk.mp4", "mov_text", [(0, 1, "another text altogether")], seconds=2)
    index.add(library, config=HERE)
    assert (_found(index, "inside"), _found(index, "altogether")) == ([], ["talk.mp4"])
    (library / "talk.mp4").write_bytes(b"junk" * 99)
    report = index.add(library, config=HERE)
    assert len(report.failed) == 1
    assert _found(index, "altogether") == []
    assert index.verify().ok


def test_moved_video_keeps_its_subtitles_and_a_removed_one_has_none(index: Index, library: Path) -> None:
    index.add(library, config=HERE)
    (library / "deep").mkdir()
    for name in ("red.mp4", "talk.mp4"):
        (library / name).rename(library / "deep" / name)  # the subtitle file stays behind
    assert index.add(library, config=HERE).moved == 2
    for _ in range(2):
        assert [hit.uri for hit in index.subtitles.search("red")] == [str(library / "deep" / "red.mp4")]
        assert [hit.uri for hit in index.subtitles.search("inside")] == [str(library / "deep" / "talk.mp4")]
        index.add(library, config=HERE)
    index.remove(library / "deep" / "red.mp4")
    assert _found(index, "red") == []
    (library / "deep" / "talk.mp4").unlink()
    index.prune()
    assert _found(index, "inside") == []
    assert index.info().subtitled == 0


def test_bad_subtitle_files_are_told_and_harm_nothing(index: Index, library: Path) -> None:
    (library / "mute.srt").write_bytes(os.urandom(50_000))
    with (library / "mute.en.srt").open("wb") as file:
        file.truncate(100 * 2**20)
    report = index.add(library, config=HERE)
    assert report.failed == []
    assert sorted(Path(path).name for path, _ in report.subtitles.problems) == ["mute.en.srt", "mute.srt"]
    assert report.to_dict()["subtitles"]["read"] == 2
    assert index.add(library, config=HERE).subtitles.problems == []  # told once


@pytest.mark.parametrize("how", ["gone", "damaged", "rows"])
def test_next_build_makes_a_lost_database_again(index: Index, library: Path, how: str) -> None:
    index.add(library, config=HERE)
    path = index.path / SUBTITLES_NAME
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if how == "rows":
            database.execute("DELETE FROM videos WHERE uri LIKE '%talk%'")
            database.execute("INSERT INTO videos VALUES ('stray', '/nowhere', 1, 1, '[]')")
    database.close()
    if how == "rows":
        assert [p for p in index.verify().problems if "not in the index" in p]
        index.add(library / "mute.mp4", config=HERE)  # whatever it is asked for, it repairs
    elif how == "gone":
        path.unlink()
        assert _found(index, "red") == []
        index.add(library, config=HERE)
    else:
        path.write_bytes(b"\0" * 100 + path.read_bytes()[100:])
        assert not index.verify().ok
        with pytest.warns(IndexRecoveredWarning):
            index.add(library, config=HERE)
    assert (_found(index, "inside"), _found(index, "red")) == (["talk.mp4"], ["red.mp4"])
    assert (index.info().subtitled, index.info().cues) == (2, 4)
    assert index.verify().ok


def test_verify_sees_a_full_text_index_that_lies(index: Index, library: Path) -> None:
    index.add(library, config=HERE)
    with sqlite3.connect(index.path / SUBTITLES_NAME) as database:
        database.execute("UPDATE windows_content SET c0 = 'something else' WHERE id = 1")
    database.close()
    problems = index.verify().problems
    assert problems
    assert all("delete subtitles.sqlite" in problem for problem in problems)


KILLED = """
import os, signal, sys
from framesift.index import subtitle_store
from framesift.index.subtitle_store import SubtitleStore

point, count = sys.argv[4], int(sys.argv[5])
seen = 0

def dying(function):
    def call(*args, **kwargs):
        global seen
        seen += 1
        if seen > count:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return call

if point == "track":
    subtitle_store._add_track = dying(subtitle_store._add_track)
elif point == "between":
    SubtitleStore.put = dying(SubtitleStore.put)
elif point == "create":
    subtitle_store.create_tables = dying(subtitle_store.create_tables)
elif point == "close":
    SubtitleStore.__exit__ = dying(SubtitleStore.__exit__)
sys.path.insert(0, sys.argv[1])
from colour_model import ColourModel
from framesift.index import BuildConfig, Index
with Index.open(sys.argv[2], model=ColourModel()) as index:
    index.add(sys.argv[3], config=BuildConfig(workers=0, commit_videos=2))
"""


@pytest.mark.parametrize(
    ("point", "count"),
    [("create", 0), ("track", 0), ("track", 1), ("between", 1), ("between", 2), ("close", 0)],
)
def test_build_that_is_killed_is_repaired_by_the_next(
    index: Index, library: Path, point: str, count: int
) -> None:
    tests = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", KILLED, tests, str(index.path), str(library), point, str(count)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert len(index.subtitles.search("red inside", any_word=True)) < 2 or point == "close"
    index.add(library, config=HERE)
    assert (_found(index, "inside"), _found(index, "red")) == (["talk.mp4"], ["red.mp4"])
    assert (index.info().subtitled, index.info().cues) == (2, 4)
    assert index.verify().ok


def test_real_clips_with_subtitles_beside_them(index: Index, real_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    for name in ("bottle-detection.mp4", "decord_rot0.mov"):
        shutil.copy(real_data / "clips" / name, folder)
    (folder / "bottle-detection.fr.srt").write_bytes(srt([(1, 3, "Une bouteille d'été")]).encode("cp1252"))
    (folder / "decord_rot0.vtt").write_bytes(
        "\ufeffWEBVTT\n\n00:00.000 --> 00:02.000\n<v A>turned".encode("utf-16-le")
    )
    report = index.add(folder, config=BuildConfig(workers=1))
    assert (report.failed, len(report.subtitles.read), report.subtitles.problems) == ([], 2, [])
    (hit,) = index.subtitles.search("bouteille ete")
    assert (Path(hit.uri).name, hit.start_s, hit.language) == ("bottle-detection.mp4", 1.0, "fr")
    assert _found(index, "turned") == ["decord_rot0.mov"]
