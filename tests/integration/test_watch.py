"""Living libraries: folders that are followed while files come, grow, change, move and go."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from colour_model import ColourModel, write_clip
from framesift.errors import InputError
from framesift.index import BuildConfig, Index, WatchConfig, WatchEvent
from framesift.index.lock import WriterLock

QUICK = {"settle_s": 0.4, "poll_s": 0.3, "retry_s": 0.3}
PATIENCE_S = 30.0


class Watch:
    """A watch in a thread, and what it has told."""

    def __init__(self, index: Index, folder: Path, **options: object) -> None:
        self.stop, self.events = threading.Event(), list[WatchEvent]()
        self._seen = 0
        watching = WatchConfig(**{**QUICK, **options.pop("watching", {})})

        def run() -> None:
            for event in index.watch(
                folder, stop=self.stop, config=BuildConfig(workers=0), watching=watching, **options
            ):
                self.events.append(event)

        self.thread = threading.Thread(target=run)
        self.thread.start()

    def until(self, kind: str, name: str) -> WatchEvent:
        """The next event of that kind about a file or folder of that name."""
        ends = time.monotonic() + PATIENCE_S
        while time.monotonic() < ends:
            for place in range(self._seen, len(self.events)):
                event = self.events[place]
                if event.kind == kind and Path(event.path).name == name:
                    self._seen = place + 1
                    return event
            time.sleep(0.02)
        raise AssertionError(f"no {kind} {name} after {self._seen} of {self.events}")


@pytest.fixture
def clips(tmp_path: Path) -> dict[str, Path]:
    return {name: write_clip(tmp_path / "clips" / f"{name}.mp4", [name]) for name in ("red", "blue")}


@pytest.fixture
def folder(tmp_path: Path, clips: dict[str, Path]) -> Path:
    made = tmp_path / "library"
    made.mkdir()
    shutil.copy(clips["red"], made / "a.mp4")
    return made


@pytest.fixture
def index(folder: Path) -> Iterator[Index]:
    with Index.create(folder / "own.index", model=ColourModel()) as made:  # inside: it must not follow itself
        yield made


@pytest.fixture
def watch(index: Index, folder: Path) -> Iterator[Callable[..., Watch]]:
    started: list[Watch] = []

    def start(**options: object) -> Watch:
        started.append(Watch(index, folder, **options))
        started[-1].until("watching", "own.index")
        return started[-1]

    yield start
    for each in started:
        each.stop.set()
        each.thread.join(10)
        assert not each.thread.is_alive()


def _names(index: Index) -> list[str]:
    return sorted(Path(record.uri).name for record in index.videos())


@pytest.mark.parametrize("polling", [False, True])
def test_index_follows_its_folder(
    watch: Callable[..., Watch], index: Index, folder: Path, clips: dict[str, Path], polling: bool
) -> None:
    told = watch(watching={"polling": polling})
    assert told.events[0].report.added == 1
    shutil.copy(clips["blue"], folder / "b.mp4")
    told.until("added", "b.mp4")
    (folder / "b.srt").write_text("1\n00:00:00,1 --> 00:00:00,9\nhello blue\n")
    told.until("subtitles", "b.mp4")
    assert [Path(hit.uri).name for hit in index.subtitles.search("hello")] == ["b.mp4"]
    shutil.copy(clips["red"], folder / "b.mp4")
    told.until("replaced", "b.mp4")
    (folder / "sub").mkdir()
    (folder / "b.mp4").rename(folder / "sub" / "c.mp4")
    assert "b.mp4" in told.until("moved", "c.mp4").detail
    (folder / "sub" / "c.mp4").unlink()
    told.until("forgotten", "c.mp4")
    (folder / "bad.mp4").write_bytes(b"junk" * 100)
    assert told.until("failed", "bad.mp4").detail == "it is a text file"
    assert _names(index) == ["a.mp4", "bad.mp4"]


def test_file_that_comes_later_than_it_left_was_moved(
    watch: Callable[..., Watch], index: Index, folder: Path, tmp_path: Path
) -> None:
    """As when the system tells of a folder that was made, but not of what had come into it by then."""
    told = watch(watching={"settle_s": 2.0})
    (folder / "a.mp4").rename(tmp_path / "a.mp4")
    time.sleep(0.5)
    (folder / "sub").mkdir()
    (tmp_path / "a.mp4").rename(folder / "sub" / "c.mp4")
    assert told.until("moved", "c.mp4").detail.endswith("a.mp4")
    assert _names(index) == ["c.mp4"]
    assert "forgotten" not in [event.kind for event in told.events]


def test_growing_file_is_left_alone_and_others_are_not_kept_waiting(
    watch: Callable[..., Watch], folder: Path, clips: dict[str, Path]
) -> None:
    told = watch()
    content = clips["blue"].read_bytes()
    with (folder / "growing.mp4").open("wb") as file:
        shutil.copy(clips["red"], folder / "other.mp4")
        for part in range(12):
            file.write(content[part * len(content) // 12 : (part + 1) * len(content) // 12])
            file.flush()
            time.sleep(0.15)
    told.until("added", "other.mp4")
    told.until("added", "growing.mp4")
    assert [event.kind for event in told.events if event.path.endswith("growing.mp4")] == ["added"]


def test_folder_that_is_moved_in_or_deleted_is_with_all_in_it(
    watch: Callable[..., Watch], index: Index, folder: Path, tmp_path: Path, clips: dict[str, Path]
) -> None:
    told = watch(exclude="x*.mp4")
    for name in ("x1.mp4", "y.mp4"):
        (tmp_path / "new").mkdir(exist_ok=True)
        shutil.copy(clips["red"], tmp_path / "new" / name)
    (tmp_path / "new").rename(folder / "new")
    told.until("added", "y.mp4")
    shutil.rmtree(folder / "new")
    told.until("forgotten", "y.mp4")
    assert _names(index) == ["a.mp4"]


def test_folder_that_vanishes_keeps_its_videos_and_is_followed_again(
    watch: Callable[..., Watch], index: Index, folder: Path, tmp_path: Path, clips: dict[str, Path]
) -> None:
    library = tmp_path / "disk"
    library.mkdir()
    shutil.copy(clips["red"], library / "on_disk.mp4")
    stop = Watch(index, library)
    try:
        stop.until("watching", "own.index")
        library.rename(tmp_path / "unplugged")
        stop.until("lost", "disk")
        time.sleep(3 * QUICK["settle_s"])
        assert _names(index) == ["on_disk.mp4"]
        (tmp_path / "unplugged").rename(library)
        stop.until("back", "disk")
        shutil.copy(clips["blue"], library / "new.mp4")
        stop.until("added", "new.mp4")
        shutil.rmtree(library)
        stop.until("lost", "disk")
        time.sleep(3 * QUICK["settle_s"])
        assert _names(index) == ["new.mp4", "on_disk.mp4"]
    finally:
        stop.stop.set()
        stop.thread.join(10)


def test_locked_index_is_waited_for(
    watch: Callable[..., Watch], index: Index, folder: Path, clips: dict[str, Path]
) -> None:
    told = watch()
    with WriterLock(index.path):
        shutil.copy(clips["blue"], folder / "b.mp4")
        assert "is writing" in told.until("waiting", "own.index").detail
        time.sleep(1)
    told.until("added", "b.mp4")
    assert [event.kind for event in told.events].count("waiting") == 1


def test_without_inotify_the_folders_are_looked_through(
    watch: Callable[..., Watch], folder: Path, clips: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> Iterator[set[object]]:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr("framesift.index.watch.watchfiles.watch", refuse)
    told = watch()
    assert "limit reached" in told.until("polling", "own.index").detail
    shutil.copy(clips["blue"], folder / "b.mp4")
    told.until("added", "b.mp4")


def test_folder_that_is_not_there_is_the_callers_mistake(index: Index, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        index.watch(tmp_path / "none")


def test_pruning_what_is_excluded_is_explicit(index: Index, folder: Path, clips: dict[str, Path]) -> None:
    (folder / "raw").mkdir()
    shutil.copy(clips["blue"], folder / "raw" / "b.mp4")
    here = BuildConfig(workers=0)
    index.add(folder, config=here)
    index.add(folder, exclude="raw/**", config=here)
    assert _names(index) == ["a.mp4", "b.mp4"]
    assert index.prune_excluded([folder, folder / "raw" / "b.mp4"], exclude="raw/**") == []
    assert [Path(path).name for path in index.prune_excluded(folder, exclude="raw/**")] == ["b.mp4"]
    assert _names(index) == ["a.mp4"]


def test_command_ends_cleanly_and_an_interrupted_build_says_what_is_done(
    folder: Path, tmp_path: Path
) -> None:
    with Index.create(tmp_path / "i", model="storyboard-xpool") as made:
        made.add(folder, config=BuildConfig(workers=0))
    command = [
        sys.executable,
        "-m",
        "framesift",
        "index",
        str(folder),
        "-i",
        str(tmp_path / "i"),
        "--workers",
        "0",
    ]
    shutil.copy(folder / "a.mp4", folder / "b.mp4")
    for ending in (signal.SIGINT, signal.SIGTERM):
        lines: list[str] = []
        with subprocess.Popen([*command, "--watch"], stderr=subprocess.PIPE, text=True) as running:
            assert running.stderr is not None
            for line in running.stderr:
                lines.append(line)
                if line.startswith("watching"):
                    os.kill(running.pid, ending)
        assert running.returncode == 0
        assert lines[-1].startswith("stopped")
        if ending == signal.SIGINT:
            assert lines[0] == "indexing: 1 of 2 files are in the index already\n"
