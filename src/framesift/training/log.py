"""The log of a run: one JSON object a line, and TensorBoard's files where that is installed."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["Entry", "RunLog"]

Entry = dict[str, float | int]

UNSEEN = ("_r5", "_r10", "_mdr", "_mnr")


class RunLog:
    """The entries of a run, appended to ``log.jsonl``.

    Args:
        folder: of the run.
        upto: the last step whose entries are kept: what was logged after the checkpoint is logged again.
        writes: only one of several processes writes.
        report: receives a line an entry.
        board: write TensorBoard's files too, into ``folder/tensorboard``; without its package, ``report`` says so.
    """

    def __init__(
        self,
        folder: Path,
        *,
        upto: int,
        writes: bool = True,
        report: Callable[[str], None] | None = None,
        board: bool = False,
    ) -> None:
        self._path, self._writes, self._report = folder / "log.jsonl", writes, report
        self.entries = [entry for entry in _read(self._path) if entry["step"] <= upto]
        self._board: Any = None
        if not writes:
            return
        self._path.write_text("".join(json.dumps(entry) + "\n" for entry in self.entries))
        if board:
            self._board = _open_board(folder / "tensorboard", upto, report)

    @property
    def seconds(self) -> float:
        """Time that the run had taken at its last entry."""
        return self.entries[-1]["seconds"] if self.entries else 0.0

    def add(self, entry: Entry) -> None:
        """Append an entry, which has a ``step``."""
        self.entries.append(entry)
        if not self._writes:
            return
        with self._path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        if self._board is not None:
            for key, value in entry.items():
                if key != "step":
                    self._board.add_scalar(key, value, entry["step"])
        if self._report is not None:
            self._report(_line(entry))

    def close(self) -> None:
        """End TensorBoard's file."""
        if self._board is not None:
            self._board.close()


def _line(entry: Mapping[str, float | int]) -> str:
    """What one wants to see pass by; the file has the rest."""
    shown = {
        key: value for key, value in entry.items() if not key.startswith("lr_") and not key.endswith(UNSEEN)
    }
    return "  ".join(f"{key} {value:.5g}" for key, value in shown.items())


def _read(path: Path) -> list[Entry]:
    """The entries of a log; the rest of a line that a power failure cut is left out."""
    entries: list[Entry] = []
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            break
        if not isinstance(entry, dict) or not isinstance(entry.get("step"), int) or not _numbers(entry):
            break
        entries.append(entry)
    return entries


def _numbers(entry: Mapping[str, Any]) -> bool:
    return all(isinstance(value, int | float) and math.isfinite(value) for value in entry.values())


def _open_board(folder: Path, upto: int, report: Callable[[str], None] | None) -> Any:
    try:
        writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter
    except ImportError:
        if report is not None:
            report(
                "no TensorBoard files: its package is missing (pip install 'framesift[train]'); log.jsonl has all"
            )
        return None
    return writer(str(folder), purge_step=upto + 1)
