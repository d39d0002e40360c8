"""``framesift reproduce`` from annotation files and mp4 files to the table beside the paper's numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from framesift.cli.main import app
from framesift.errors import FramesiftError
from framesift.hub import load
from msrvtt_maker import write_msrvtt

COMMAND = Path(sys.executable).with_name("framesift")
SMALL = [
    "encoder=storyboard-clip",
    "optim.steps=2",
    "optim.batch_size=4",
    "select.per_epoch=1",
    "optim.freeze=encoder",
]


def called(*arguments: str | Path) -> Result:
    """The verb within this process, where it is not the process that is tested."""
    return CliRunner().invoke(app, ["reproduce", *map(str, arguments)])


def refused(*arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, message and what was printed before, of a call that fails."""
    done = called(*arguments)
    assert isinstance(done.exception, FramesiftError), done.output
    return done.exception.exit_code, str(done.exception), done.stdout


def framesift(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    clean = {
        "HOME": str(folder),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [COMMAND, "reproduce", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **clean},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a benchmark in ``msrvtt/``."""
    folder = tmp_path_factory.mktemp("reproduce")
    write_msrvtt(folder / "msrvtt", num_train=8, num_test=4)
    return folder


def test_a_row_is_trained_measured_and_compared(folder: Path) -> None:
    changes = [*SMALL, "frames.augmentation=none"]
    done = framesift("xpool-msrvtt-9k", "--root", "msrvtt", "--workers", "0", *changes, folder=folder)
    assert done.returncode == 0, done.stderr
    assert "not the published settings" in done.stderr
    table = done.stdout.splitlines()
    paper = next(line for line in table if line.startswith("paper (X-Pool, table 1; CrossTVR, tables 1, 8)"))
    assert paper.split()[-5:] == ["46.9", "72.8", "82.2", "2.0", "14.3"]
    assert sum(line.startswith("selected on test, as they did") for line in table) == 2, "t2v and v2t"
    assert sum(line.startswith("selected on val") for line in table) == 2
    assert any(line.startswith("  difference") and ("+" in line or "-" in line) for line in table)
    place = folder / "reproductions" / "xpool-msrvtt-9k"
    document = json.loads((place / "reproduction.json").read_text(encoding="utf-8"))
    assert document["kind"] == "reproduction"
    assert list(document["columns"]) == ["paper", "selected_on_test", "selected_on_val"]
    ours = document["columns"]["selected_on_test"]["t2v"]
    assert ours["num_queries"] == 4
    assert f"{ours['recall_at']['1']:.1f}" in done.stdout
    for selection in ("test", "val"):
        run = place / f"selected-on-{selection}" / "seed-24"
        assert json.loads((run / "result.json").read_text())["selected_on"] == selection
        assert load(run / "best", device="cpu").matcher.name == "xpool"
    held = json.loads((place / "selected-on-val" / "seed-24" / "result.json").read_text())
    assert held["train"]["videos"] + held["evaluated_on"]["videos"] == 8

    again = called(
        "xpool-msrvtt-9k",
        "--root",
        folder / "msrvtt",
        "--output",
        place,
        "--workers",
        "0",
        "--json",
        *changes,
    )
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["columns"] == document["columns"], (
        "finished runs are measured, not trained again"
    )


def test_what_is_missing_ends_with_6_and_a_list(folder: Path) -> None:
    root = folder / "msrvtt"
    done = called("xpool-msrvtt-9k", "--root", root, "--check")
    assert done.exit_code == 0, done.output
    assert "train: 16 captions; 8 of 8 videos are there" in done.stdout
    gone = root / "videos" / "video9.mp4"
    hidden = gone.rename(folder / "video9.away")
    try:
        code, message, printed = refused("xpool-msrvtt-9k", "--root", root, "--check")
        assert code == 6
        assert "test: 4 captions; 3 of 4 videos are there; missing: video9" in printed
        assert "--allow-missing" in message
        code, message, _ = refused("xpool-msrvtt-9k", "--root", root, "--output", folder / "none", *SMALL)
        assert code == 6
        assert "missing: video9" in message
    finally:
        hidden.rename(gone)
    code, _, printed = refused("xpool-msrvtt-9k", "--root", folder / "nowhere", "--check")
    assert code == 6
    assert "is not a folder" in printed


def test_wrong_names_and_absent_weights_are_told(folder: Path) -> None:
    code, message, _ = refused("xpool-msrvtt-9")
    assert code == 2
    assert "did you mean 'xpool-msrvtt-9k'" in message
    code, message, _ = refused(
        "clip-zeroshot-msrvtt-1ka", "--root", folder / "msrvtt", "--output", folder / "none"
    )
    assert code == 4
    assert "encoder=DIR" in message
    code, message, _ = refused("xpool-msrvtt-9k", "--seeds", "1,two")
    assert code == 2
    assert "such as 0,1,2" in message


def test_the_list_names_every_row_and_what_it_needs() -> None:
    done = called("--json")
    assert done.exit_code == 0, done.output
    listed = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert len(listed) == 49
    assert listed["crosstvr-base-msvd"]["needs"] == ["data of msvd", "ts2net-msvd", "blip2 (BLIP-2)"]
    assert listed["xpool-msvd"]["expected"][0]["t2v"]["R1"] == 47.2
    lines = called().stdout.splitlines()
    assert len(lines) == 50
    assert any(line.startswith("ts2net-msvd ") and "a first stage" in line for line in lines)
