"""``framesift data`` as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from framesift.data import BENCHMARKS, read_own

COMMAND = Path(sys.executable).with_name("framesift")


def data(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "data", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture
def msrvtt(tmp_path: Path) -> Path:
    ids = [f"video{n}" for n in range(4)]
    document = {
        "videos": [{"video_id": one, "split": "train"} for one in ids],
        "sentences": [{"video_id": one, "caption": f"of {one}"} for one in ids],
    }
    (tmp_path / "MSRVTT_data.json").write_text(json.dumps(document))
    (tmp_path / "MSRVTT_train.9k.csv").write_text("video_id\nvideo0\nvideo1\nvideo2\n")
    (tmp_path / "MSRVTT_JSFUSION_test.csv").write_text("key,vid_key,video_id,sentence\nr,m,video3,x\n")
    (tmp_path / "videos").mkdir()
    for one in ids[1:]:
        (tmp_path / "videos" / f"{one}.mp4").touch()
    return tmp_path


def test_list_names_every_benchmark(tmp_path: Path) -> None:
    done = data("list", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(f"{name}" in done.stdout for name in BENCHMARKS)
    listed = json.loads(data("list", "--json", folder=tmp_path).stdout)
    assert listed["msvd"]["expected"]["test"] == {"videos": 670, "captions": 27_763}
    assert "msrvtt" in listed["msrvtt-1ka-9k"]["aliases"]


def test_check_counts_what_is_missing(msrvtt: Path) -> None:
    done = data("check", "msrvtt", "--missing", "gone.txt", folder=msrvtt)
    assert done.returncode == 6, done.stderr
    assert "3 videos (published: 9,000), 3 captions (published: 180,000), all-captions, hash" in done.stdout
    assert "2 video files found, 1 missing" in done.stdout
    assert (msrvtt / "gone.txt").read_text() == "video0\n"
    (msrvtt / "videos" / "video0.webm").touch()
    done = data("check", "msrvtt", "--json", folder=msrvtt)
    assert done.returncode == 0, done.stdout
    said = json.loads(done.stdout)
    assert said["complete"]
    assert said["splits"]["train"]["videos_found"] == 3
    assert said["splits"]["train"]["missing"] == []


def test_check_flags_a_mix_up(msrvtt: Path) -> None:
    (msrvtt / "videos" / "video0.mp4").touch()
    (msrvtt / "MSRVTT_train.9k.csv").write_text("video_id\nvideo0\nvideo3\n")
    done = data("check", "msrvtt", "--root", msrvtt, folder=msrvtt)
    assert done.returncode == 6
    assert "MIXED UP: 1 videos of msrvtt-1ka-9k test are also in msrvtt-1ka-9k train: 'video3'" in done.stdout


def test_check_says_what_cannot_be_read(msrvtt: Path) -> None:
    (msrvtt / "MSRVTT_JSFUSION_test.csv").unlink()
    done = data("check", "msrvtt", folder=msrvtt)
    assert done.returncode == 6
    assert "cannot be read: msrvtt-1ka-9k: no MSRVTT_JSFUSION_test.csv" in done.stdout
    assert "3 videos" in done.stdout
    done = data("check", "msrvt", folder=msrvtt)
    assert done.returncode == 2
    assert "did you mean 'msrvtt'" in done.stderr


def test_storyboard_makes_a_table_that_is_read_and_complete(tmp_path: Path) -> None:
    done = data("storyboard", "boards", "--videos", "3", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    everything = read_own(tmp_path / "boards" / "captions.csv", split="all")
    assert (len(everything.videos), len(everything.captions)) == (3, made["captions"])
    truth = json.loads((tmp_path / "boards" / "captions.json").read_text())
    assert set(truth["videos"]) == set(everything.videos)
    done = data("check", Path("boards", "captions.csv"), folder=tmp_path)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("1 video files found, 0 missing") == 3
    (tmp_path / "boards" / everything.videos[0]).unlink()
    assert data("check", Path("boards", "captions.csv"), folder=tmp_path).returncode == 6


def test_storyboard_says_where_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = data("storyboard", "file", "--videos", "1", folder=tmp_path)
    assert done.returncode == 2
    assert "cannot write to 'file'" in done.stderr
