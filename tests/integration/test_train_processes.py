"""Several processes train as one, and a killed run goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tiny_models import tiny_clip

SCRIPT = Path(__file__).with_name("train_process.py")
TIMED = ("seconds", "samples_per_s")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("encoder"))


def start(
    encoder: Path, folder: Path, *changes: str, system: str, **environment: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, SCRIPT, encoder, folder, system, *changes],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors[-2000:]


def together(encoder: Path, folder: Path, *changes: str, system: str, size: int = 2) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    finish(
        *(
            start(
                encoder,
                folder,
                *changes,
                system=system,
                RANK=str(rank),
                WORLD_SIZE=str(size),
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=str(port),
            )
            for rank in range(size)
        )
    )


def log(folder: Path) -> list[dict[str, float]]:
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in entry.items() if key not in TIMED} for entry in entries]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "state.pt", weights_only=True)["module"]


@pytest.mark.parametrize(
    ("system", "changes"),
    [
        ("X-Pool", ["matcher.config.dropout=0.0"]),
        (
            "CLIP4Clip tightTransf",
            ["reranker.config.dropout=0.0", "optim.chunk=1", "optim.optimizer=bert_adam"],
        ),
    ],
)
def test_two_processes_are_one(encoder: Path, tmp_path: Path, system: str, changes: list[str]) -> None:
    finish(start(encoder, tmp_path / "alone", *changes, system=system))
    together(encoder, tmp_path / "both", *changes, system=system)
    for one, both in zip(log(tmp_path / "alone"), log(tmp_path / "both"), strict=True):
        assert both == pytest.approx(one, abs=2e-5, rel=1e-4)
    assert log(tmp_path / "alone")[0]["loss"] != log(tmp_path / "alone")[-1]["loss"]
    expected, found = weights(tmp_path / "alone"), weights(tmp_path / "both")
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=2e-4, rtol=1e-3, msg=name)


def test_the_published_gather_gives_encoders_a_share(encoder: Path, tmp_path: Path) -> None:
    """With two processes and plain gradient norms: half of the encoders' gradient, all of the logit scale's."""
    fixed = ["optim.lr_encoder=0.0", "optim.lr_head=0.0", "optim.steps=2"]
    for gather in ("exact", "reference"):
        together(encoder, tmp_path / gather, *fixed, f"optim.gather={gather}", system="CLIP4Clip meanP")
    for exact, published in zip(log(tmp_path / "exact"), log(tmp_path / "reference"), strict=True):
        assert published["loss"] == pytest.approx(exact["loss"], abs=1e-5)
        assert 0.45 * exact["grad_norm"] < published["grad_norm"] < 0.95 * exact["grad_norm"]


@pytest.mark.parametrize(
    "changes",
    [["frames.jitter=true", "frames.augmentation=xpool"], ["optim.freeze=encoder", "samples=videos"]],
)
def test_a_killed_run_goes_on_bit_for_bit(encoder: Path, tmp_path: Path, changes: list[str]) -> None:
    """X-Pool with dropout, killed at two different steps."""
    finish(start(encoder, tmp_path / "whole", *changes, system="X-Pool"))
    for kill_at in (2, 5):
        process = start(encoder, tmp_path / "broken", *changes, system="X-Pool")
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= kill_at:
                process.send_signal(signal.SIGKILL)
                break
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
    finish(start(encoder, tmp_path / "broken", *changes, system="X-Pool"))
    assert log(tmp_path / "broken") == log(tmp_path / "whole")
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "broken")
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    result = json.loads((tmp_path / "broken" / "result.json").read_text())
    assert result["metrics"] == json.loads((tmp_path / "whole" / "result.json").read_text())["metrics"]
