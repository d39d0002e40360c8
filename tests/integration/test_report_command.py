"""``framesift report`` from a folder to a file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import report_documents as made


def report(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "framesift", "report", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def write_all(folder: Path) -> None:
    folder.mkdir()
    for name, document in made.all_kinds().items():
        (folder / f"{name}.json").write_text(json.dumps(document))


def test_a_folder_becomes_a_page(tmp_path: Path) -> None:
    write_all(tmp_path / "results")
    run = tmp_path / "runs" / "mine"
    run.mkdir(parents=True)
    (run / "log.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n')
    (run / "result.json").write_text(json.dumps({"kind": "training", "title": "Mine", "metrics": {}}))
    done = report("--model", "storyboard-xpool", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["results"] == len(made.all_kinds()) + 1
    page = (tmp_path / told["page"]).read_text()
    assert told["bytes"] == len(page.encode())
    for text in ("Mine", "mine: loss", "What the systems look at", "storyboard-clip: loss"):
        assert text in page


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    write_all(tmp_path / "results")
    (tmp_path / "results" / "torn.json").write_text('{"kind": ')
    done = report("--no-examples", cwd=tmp_path)
    assert done.returncode == 2
    assert "torn.json" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "report.html").exists()


def test_a_missing_folder_and_a_folder_as_output_are_errors(tmp_path: Path) -> None:
    done = report("nowhere", cwd=tmp_path)
    assert (done.returncode, "nowhere" in done.stderr) == (2, True)
    write_all(tmp_path / "results")
    done = report("--output", tmp_path, cwd=tmp_path)
    assert (done.returncode, "is a directory" in done.stderr) == (2, True)
