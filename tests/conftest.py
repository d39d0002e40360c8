"""Fixtures and the run-time check of tensor shapes, shared by all tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

# Before torch is loaded, here or by a test's processes: on tensors as small as those of the tests, threads only wait
# for one another, and spin on the cores of whatever else runs.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from jaxtyping import install_import_hook

sys.path.insert(0, str(Path(__file__).parent))  # golden_files, tiny_models
# Checks every annotated shape while the tests run; the library itself never pays for it.
# rules: no framesift module may be imported above this line.
install_import_hook(
    [
        "framesift.features",
        "framesift.similarity",
        "framesift.metrics",
        "framesift.clip_blocks",
        "framesift.perturbed_top_k",
        "framesift.matchers",
        "framesift.temporal",
        "framesift.rerankers",
        "framesift.encoders",
        "framesift.model",
        "framesift.ranking",
        "framesift.evaluation",
        "framesift.training",
    ],
    "beartype.beartype",
)

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    """No test hands its environment on: verbs run in this process set variables, as in a process of their own."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(autouse=True)
def _offline(_own_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reaches a model hub. What monkeypatch puts back, it puts back before all else is."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real clips, hostile files and annotation files; the test skips where it is not at hand."""
    given = os.environ.get("FRAMESIFT_REAL_DATA")
    folder = Path(given) if given else REPO.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set FRAMESIFT_REAL_DATA to a folder with clips/ and hostile/")
    return folder
