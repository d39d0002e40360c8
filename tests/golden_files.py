"""Recorded reference numbers: found by pattern, so that further files of the same kinds can be dropped in."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from torch import Tensor

GOLDEN_DIR = Path(os.environ.get("FRAMESIFT_GOLDEN") or Path(__file__).parent / "golden")


def golden_files(pattern: str) -> list[Any]:
    """Parameters for ``pytest.mark.parametrize``: the golden files that match, or one skip that says why."""
    found = sorted(GOLDEN_DIR.glob(pattern))
    if found:
        return [pytest.param(path, id=path.stem) for path in found]
    return [pytest.param(None, marks=pytest.mark.skip(f"no file {pattern!r} in {GOLDEN_DIR}"))]


def read_golden(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors of a golden file, and its metadata with every JSON value parsed."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        raw = file.metadata() or {}
    metadata: dict[str, Any] = {}
    for key, value in raw.items():
        try:
            metadata[key] = json.loads(value)
        except json.JSONDecodeError:
            metadata[key] = value
    return tensors, metadata
