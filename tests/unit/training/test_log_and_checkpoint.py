"""Files of a run survive kills, cut lines and damage."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from framesift.errors import CheckpointError, InputError
from framesift.training import log as log_module
from framesift.training.checkpoint import load_state, replace_folder, save_state
from framesift.training.log import RunLog


def test_what_was_logged_after_the_checkpoint_is_logged_again(tmp_path: Path) -> None:
    log = RunLog(tmp_path, upto=0)
    for step in (1, 2, 3):
        log.add({"step": step, "seconds": 0.5 * step, "loss": 1.0})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # a power failure
    again = RunLog(tmp_path, upto=2)
    assert [entry["step"] for entry in again.entries] == [1, 2]
    assert again.seconds == 1.0
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2


def test_tensorboard_is_used_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, float, int]] = []

    class Writer:
        def __init__(self, folder: str, purge_step: int) -> None:
            assert folder.endswith("tensorboard")
            assert purge_step == 1

        def add_scalar(self, key: str, value: float, step: int) -> None:
            written.append((key, value, step))

        def close(self) -> None:
            written.append(("closed", 0.0, 0))

    stand_in = SimpleNamespace(import_module=lambda name: SimpleNamespace(SummaryWriter=Writer))
    monkeypatch.setattr(log_module, "importlib", stand_in)
    log = RunLog(tmp_path, upto=0, board=True)
    log.add({"step": 5, "loss": 0.25})
    log.close()
    assert written == [("loss", 0.25, 5), ("closed", 0.0, 0)]


def test_without_tensorboard_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(log_module, "importlib", SimpleNamespace(import_module=missing))
    lines: list[str] = []
    RunLog(tmp_path, upto=0, board=True, report=lines.append).add({"step": 1, "loss": 1.0})
    assert "framesift[train]" in lines[0]
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {"step": 1, "loss": 1.0}


def test_a_state_is_replaced_whole_and_leftovers_go(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    assert load_state(path) is None
    save_state(path, {"step": 1, "x": torch.ones(2)})
    (tmp_path / "state.pt.99999.part").write_bytes(b"half of a checkpoint")
    save_state(path, {"step": 2, "x": torch.zeros(2)})
    found = load_state(path)
    assert found is not None
    assert found["step"] == 2
    assert [file.name for file in tmp_path.iterdir()] == ["state.pt"]


@pytest.mark.parametrize("content", [b"", b"nothing of ours", b"PK\x03\x04cut"])
def test_a_damaged_state_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="delete it to start again"):
        load_state(tmp_path / "state.pt")


def test_a_state_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write"):
        save_state(tmp_path / "absent" / "state.pt", {"step": 1})


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "best"
    for text in ("old", "new"):
        replace_folder(folder, lambda draft, text=text: (draft.mkdir(), (draft / "a").write_text(text)))  # type: ignore[misc]
        assert (folder / "a").read_text() == text
    assert [file.name for file in tmp_path.iterdir()] == ["best"]

    def fail(draft: Path) -> None:
        draft.mkdir()
        raise OSError(28, "no space left")

    with pytest.raises(InputError, match="no space left"):
        replace_folder(folder, fail)
    assert (folder / "a").read_text() == "new"
