"""The command line as a user meets it: real files, real processes, bundled models."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from colour_model import ColourModel
from framesift.index import Index
from framesift.storyboard import standard, write_split

COMMAND = Path(sys.executable).with_name("framesift")


def framesift(*arguments: str | Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    home = folder / "home"
    home.mkdir(exist_ok=True)
    clean = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "HF_HUB_OFFLINE": "1", **environment}
    return subprocess.run(
        [COMMAND, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **clean},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with six videos in ``videos/`` and an index of them."""
    folder = tmp_path_factory.mktemp("library")
    write_split(standard(6).videos, folder / "videos")
    done = framesift("index", "videos", "--model", "storyboard-xpool", folder=folder)
    assert done.returncode == 0, done.stderr
    assert "6 added" in done.stderr
    assert "only knows drawn shapes" in done.stderr
    assert done.stdout == ""
    return folder


def test_search_prints_hits_with_attention(library: Path) -> None:
    query = standard(6).texts[0]
    done = framesift("search", query, "-k", "3", folder=library, PYTHONIOENCODING="utf-8")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert "█" in lines[1]
    assert lines[1].endswith(".mp4")


def test_search_json_is_one_document(library: Path) -> None:
    done = framesift("search", "a red circle", "--json", folder=library)
    document = json.loads(done.stdout)
    assert document["query"] == "a red circle"
    assert len(document["hits"]) == 6
    for hit in document["hits"]:
        assert sum(hit["attention"]) == pytest.approx(1.0, abs=1e-4)
        assert len(hit["attention"]) == len(hit["frame_times_s"])
        assert hit["start_s"] <= hit["focus_s"][0] < hit["focus_s"][1] <= hit["end_s"] + 1e-6
    scores = [hit["score"] for hit in document["hits"]]
    assert scores == sorted(scores, reverse=True)


def test_indexing_again_skips_what_is_known(library: Path) -> None:
    done = framesift("index", "videos", "--json", folder=library)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["added"], report["skipped"], report["index"]["videos"]) == (0, 6, 6)


def test_info_lists_videos(library: Path) -> None:
    done = framesift("info", "--videos", folder=library)
    assert done.returncode == 0, done.stderr
    assert "storyboard-xpool" in done.stdout
    assert done.stdout.count("128 x 128 h264") == 6
    document = json.loads(framesift("info", "--videos", "--json", folder=library).stdout)
    assert document["videos"] == len(document["files"]) == 6


def test_another_matcher_of_the_same_encoder_needs_no_new_index(library: Path) -> None:
    done = framesift("search", "a star", "--model", "storyboard-clip", "--json", folder=library)
    assert done.returncode == 0, done.stderr
    for hit in json.loads(done.stdout)["hits"]:
        assert len({round(weight, 5) for weight in hit["attention"]}) == 1, "mean pooling attends evenly"


def test_models_and_doctor(library: Path) -> None:
    listed = json.loads(framesift("models", "--json", folder=library).stdout)
    assert {entry["name"] for entry in listed["bundled"]} >= {"storyboard-clip", "storyboard-xpool"}
    shown = framesift("models", "show", "storyboard-xpool", folder=library)
    assert "xpool" in shown.stdout
    checked = framesift("doctor", "--json", folder=library)
    document = json.loads(checked.stdout)
    assert checked.returncode == 0, document
    assert document["ok"]
    assert document["checks"]["codecs"]["decoders"]["h264"]


def error_of(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line that a failed command says."""
    assert done.returncode == code, (done.returncode, done.stderr)
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("note:")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_bad_input_is_one_line_and_changes_nothing(library: Path, tmp_path: Path) -> None:
    before = snapshot(library / "framesift.index")
    assert "did you mean 'storyboard-xpool'" in error_of(
        framesift("index", "videos", "--index", "new", "--model", "storyboard-xpol", folder=library), 4
    )
    offline = error_of(framesift("index", "videos", "--index", "new", folder=library), 4)
    assert "--model DIR" in offline
    assert "framesift demo" in offline
    assert not (library / "new").exists()
    assert "nowhere" in error_of(framesift("index", "nowhere", folder=library), 2)
    assert "query is empty" in error_of(framesift("search", "  ", folder=library), 2)
    assert "no index" in error_of(framesift("search", "a star", "--index", "nowhere", folder=library), 5)
    assert snapshot(library / "framesift.index") == before


def test_an_index_of_another_model_is_refused_and_kept(library: Path, tmp_path: Path) -> None:
    from tiny_models import tiny_clip

    tiny_clip(tmp_path / "clip")
    before = snapshot(library / "framesift.index")
    for command in (["search", "a star"], ["index", "videos"]):
        line = error_of(framesift(*command, "--model", tmp_path / "clip", folder=library), 5)
        assert "fingerprint" in line
    assert snapshot(library / "framesift.index") == before


def test_a_broken_video_costs_itself_only(tmp_path: Path) -> None:
    write_split(standard(2).videos, tmp_path / "videos")
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"not a video at all")
    done = framesift("index", "videos", "--model", "storyboard-clip", folder=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "broken.mp4" in done.stderr
    assert "2 added" in done.stderr
    again = framesift("index", "videos", "--json", folder=tmp_path)
    assert again.returncode == 0, "a known failure is not a new one"
    assert json.loads(again.stdout)["known_failures"] == 1


def test_a_model_directory_can_be_reopened_by_the_index(tmp_path: Path) -> None:
    from tiny_models import tiny_clip

    tiny_clip(tmp_path / "clip")
    write_split(standard(2).videos, tmp_path / "videos")
    done = framesift("index", "videos", "--model", "clip", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = framesift("search", "a star", "--json", folder=tmp_path)
    assert found.returncode == 0, found.stderr
    assert len(json.loads(found.stdout)["hits"]) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every directory")
def test_an_unreadable_directory_is_one_line(library: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0)
    assert "locked" in error_of(framesift("index", locked, folder=library), 2)


def test_the_demo_runs_offline_and_the_second_time_from_its_cache(tmp_path: Path) -> None:
    arguments = ["demo", "--videos", "12", "--folder", str(tmp_path / "demo"), "--json"]
    first = framesift(*arguments, folder=tmp_path)
    assert first.returncode == 0, first.stderr
    document = json.loads(first.stdout)
    assert set(document["results"]) == {"mean-pool", "X-Pool"}
    assert document["queries"]
    assert all(answer["hits"] for answer in document["queries"])
    rendered = {path: path.stat().st_mtime_ns for path in (tmp_path / "demo" / "videos").glob("*.mp4")}
    second = framesift(*arguments, folder=tmp_path)
    assert json.loads(second.stdout) == document
    assert {path: path.stat().st_mtime_ns for path in rendered} == rendered


def test_a_mistyped_folder_leaves_no_index_and_an_empty_one_is_said(tmp_path: Path) -> None:
    line = error_of(framesift("index", "nowhere", "--model", "storyboard-clip", folder=tmp_path), 2)
    assert "nowhere" in line
    assert not (tmp_path / "framesift.index").exists()
    (tmp_path / "empty").mkdir()
    done = framesift("index", "empty", "--model", "storyboard-clip", folder=tmp_path)
    assert done.returncode == 0
    assert "no video files were found" in done.stderr


def test_import_into_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    done = framesift("models", "import", "any.pt", "--output", "taken", "--tokenizer", ".", folder=tmp_path)
    assert "is a file" in error_of(done, 2)


def test_the_demo_survives_an_index_of_another_model(tmp_path: Path) -> None:
    write_split(standard(2).videos, tmp_path / "demo" / "videos")
    place = tmp_path / "demo" / "index"
    with Index.create(place, model=ColourModel()):
        before = snapshot(place)
    done = framesift("demo", "a star", "--folder", "demo", "--videos", "2", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert snapshot(place) == before
    again = framesift("demo", "a star", "--folder", "demo", "--videos", "2", folder=tmp_path)
    assert "2 known already" in again.stderr


def test_an_interrupt_is_one_line_and_the_same_command_goes_on(tmp_path: Path) -> None:
    write_split(standard(30).videos, tmp_path / "videos")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(
        [COMMAND, "index", "videos", "--model", "storyboard-clip"],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not (tmp_path / "framesift.index" / "framesift-index.json").exists():
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, said = process.communicate(timeout=60)
    if process.returncode != 0:  # a fast machine may have been done
        assert process.returncode == 130, said
        assert "interrupted; what was committed is kept" in said
    assert "Traceback" not in said
    done = framesift("index", "videos", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["index"]["videos"] == 30


def test_verify_prune_and_compact_need_no_path(library: Path, tmp_path: Path) -> None:
    shutil.copytree(library / "videos", tmp_path / "videos")
    assert framesift("index", "videos", "-m", "storyboard-xpool", folder=tmp_path).returncode == 0
    checked = framesift("info", "--verify", folder=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.count(" ok  ") == 12
    next((tmp_path / "videos").glob("*.mp4")).unlink()
    pruned = framesift("index", "--prune", "--compact", folder=tmp_path)
    assert pruned.returncode == 0, pruned.stderr
    assert pruned.stderr.splitlines() == ["1 forgotten", "'framesift.index' holds 5 videos in 5 moments"]
    assert json.loads(framesift("index", "--prune", "--json", folder=tmp_path).stdout)["pruned"] == []
    assert framesift("index", folder=tmp_path).returncode == 2
    assert framesift("index", "--prune", "-i", "none", folder=tmp_path).returncode == 5
    assert not (tmp_path / "none").exists()


def test_damaged_index_is_said_in_a_line_and_verified_with_exit_code_5(library: Path, tmp_path: Path) -> None:
    shutil.copytree(library / "framesift.index", tmp_path / "framesift.index")
    newest = min((tmp_path / "framesift.index" / "moments.lance" / "_versions").glob("*.manifest"))
    os.truncate(newest, 10)
    done = framesift("info", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: index ")
    assert "run framesift index again" in line
    (data,) = (library / "framesift.index" / "moments.lance" / "data").iterdir()
    shutil.rmtree(tmp_path / "framesift.index")
    shutil.copytree(library / "framesift.index", tmp_path / "framesift.index")
    (tmp_path / "framesift.index" / "framesift-commits.json").unlink()  # nothing to compare with on opening
    victim = tmp_path / "framesift.index" / "moments.lance" / "data" / data.name
    content = bytearray(victim.read_bytes())
    half = len(content) // 4
    content[half : half + 512] = bytes(512)
    victim.write_bytes(content)
    checked = framesift("info", "--verify", "--json", folder=tmp_path)
    assert checked.returncode == 5, checked.stdout + checked.stderr
    assert json.loads(checked.stdout)["verification"]["ok"] is False
    assert "is damaged" in checked.stderr


def test_hostile_files_cost_a_line_each(real_data: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    done = framesift(
        "index", real_data / "hostile", "-i", "hostile.index", "-m", "storyboard-xpool", folder=tmp_path
    )
    assert time.monotonic() - began < 60
    assert done.returncode == 3
    lines = done.stderr.splitlines()
    refused = [line for line in lines if line.startswith("cannot decode ")]
    assert len(refused) + int(re.search(r"(\d+) added", done.stderr)[1]) >= 60
    assert f"{len(refused)} unreadable" in done.stderr
    hits = json.loads(
        framesift(
            "search",
            "a circle",
            "-i",
            "hostile.index",
            "-k",
            "100",
            "--duplicates",
            "--json",
            folder=tmp_path,
        ).stdout
    )
    assert len(hits["hits"]) >= 30
    assert not (tmp_path / "x").exists()
