"""Result files: one JSON a run, with where it came from. Tables, plots and the report are made from these alone."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..video import available_cores

__all__ = ["provenance", "read_results", "write_result"]


def provenance() -> dict[str, Any]:
    """How a result was made: code, versions, machine, time."""
    root = Path(__file__).resolve().parents[3]

    def git(*arguments: str) -> str:
        try:
            done = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return "unknown"
        return done.stdout.strip()

    return {
        "commit": git("rev-parse", "HEAD"),
        "changed_since": bool(git("status", "--porcelain", "--untracked-files=no", "--", "src")),
        "framesift": version("framesift"),
        "torch": version("torch"),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {available_cores()} cores",
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def write_result(path: Path, result: Mapping[str, Any], *, seconds: float) -> None:
    """Write one JSON file for one run, whole or not at all.

    Args:
        result: what was measured. ``kind`` says how the report shows it (:mod:`.report`), ``title`` is its heading.
        seconds: how long the run took.

    Raises:
        InputError: the file cannot be written.
    """
    document = {**result, "seconds": round(seconds, 1), "provenance": provenance()}
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(unfinished, path)
    except OSError as error:
        raise InputError(f"cannot write {str(path)!r}: {error.strerror or error}") from None


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    """All result files of a folder by name, without the ending.

    Raises:
        InputError: there is no such folder, or a file is no JSON object.
    """
    if not folder.is_dir():
        raise InputError(f"{str(folder)!r} is no folder of result files")
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read {str(path)!r}: {error}") from None
        if not isinstance(document, dict):
            raise InputError(f"{str(path)!r} is no result: expected a JSON object")
        found[path.stem] = document
    return found
