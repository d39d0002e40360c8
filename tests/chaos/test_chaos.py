"""What must not lose a row: killed processes, two builds at once, a full disk."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from chaos.storm import storm
from colour_model import COLOURS, ColourModel, write_clip
from framesift.index import Index

TESTS = Path(__file__).parents[1]

TWO_BUILDS = """
import sys
sys.path.insert(0, sys.argv[1])
from colour_model import ColourModel
from framesift.errors import IndexLockedError
from framesift.index import BuildConfig, Index
with Index.open(sys.argv[2], model=ColourModel()) as index:
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        index.add(sys.argv[3], config=BuildConfig(workers=1, commit_videos=1))
        print("added")
    except IndexLockedError as error:
        print(error)
"""

FULL_DISK = """
import os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from colour_model import ColourModel
from framesift.errors import IndexStateError
from framesift.index import BuildConfig, Index
disk, videos = Path(sys.argv[2]), Path(sys.argv[3])
one = BuildConfig(workers=1, batch_frames=4, commit_videos=1)
with Index.create(disk / "i", model=ColourModel(), moments="whole") as index:
    index.add(videos / "red.mp4", config=one)
    ballast = disk / "ballast"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    ballast.write_bytes(bytes(free - int(sys.argv[4])))
    try:
        index.add(videos, config=one)
        print("it had room")
    except IndexStateError as error:
        print(error)
    print(len(index.search("red", k=100)) >= 1)
with Index.open(disk / "i", model=ColourModel()) as index:
    print([p for p in index.verify().problems if "deletes them" not in p])
    ballast.unlink()
    index.add(videos, config=one)
    print(len(index), index.verify().problems)
"""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for colour in COLOURS:
        write_clip(folder / f"{colour}.mp4", [colour])
    return folder


def test_kills_lose_nothing(tmp_path: Path) -> None:
    outcome = storm(tmp_path, kills=4, seed=2)
    assert outcome.wrong == []
    assert outcome.same_rows
    assert outcome.sizes > 1
    assert outcome.searches > 20


@pytest.mark.slow
def test_many_kills_lose_nothing(tmp_path: Path) -> None:
    outcome = storm(tmp_path, kills=50, seed=3)
    assert outcome.wrong == []
    assert outcome.same_rows


def test_of_two_builds_at_once_one_is_refused(tmp_path: Path, clips: Path) -> None:
    index = tmp_path / "i"
    Index.create(index, model=ColourModel(), moments="whole").close()
    command = [sys.executable, "-c", TWO_BUILDS, str(TESTS), str(index), str(clips)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as one, subprocess.Popen(command, **pipes) as other:
        for builder in (one, other):
            assert builder.stdout.readline() == "ready\n"
        for builder in (one, other):
            builder.stdin.write("go\n")
            builder.stdin.flush()
        answers = {builder.pid: builder.stdout.read().strip() for builder in (one, other)}
    winner = next(pid for pid, answer in answers.items() if answer == "added")
    (refusal,) = (answer for pid, answer in answers.items() if pid != winner)
    assert refusal.startswith(f"process {winner} is writing to the index")
    with Index.open(index, model=ColourModel()) as opened:
        assert opened.verify().problems == []
        assert len(opened) == len(COLOURS)
        assert max(Counter(record.uri for record in opened.videos()).values()) == 1


@pytest.mark.skipif(os.geteuid() != 0 or not sys.platform.startswith("linux"), reason="mounting needs root")
@pytest.mark.parametrize("room_bytes", [0, 4096, 12288, 24576])
def test_full_disk_keeps_what_was_committed(tmp_path: Path, clips: Path, room_bytes: int) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = 'mount -t tmpfs -o size=8m none "$4" && exec "$1" -c "$2" "$3" "$4" "$5" "$6"'
    arguments = [sys.executable, FULL_DISK, TESTS, disk, clips, room_bytes]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", mount, "sh", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare:" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    refusal, still_searchable, problems, after = done.stdout.splitlines()
    assert "No space left on device" in refusal
    assert still_searchable == "True"
    assert problems == "[]"
    assert after == f"{len(COLOURS)} []"
