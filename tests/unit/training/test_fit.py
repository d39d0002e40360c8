from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from framesift.errors import CheckpointError
from framesift.training.fit import FitConfig, fit

CONFIG = FitConfig(
    steps=30, batch_size=8, lr=1e-2, warmup_steps=3, log_every=10, evaluate_every=15, checkpoint_s=0.0
)


class Interrupted(Exception):
    pass


def run(
    folder: Path, *, stop_at: int | None = None, config: FitConfig = CONFIG
) -> tuple[nn.Module, list[int]]:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.3), nn.Linear(4, 1))
    seen: list[int] = []

    def batches(first: int) -> Iterator[tuple[Tensor, Tensor]]:
        for step in range(first, config.steps):
            if step == stop_at:
                raise Interrupted
            seen.append(step)
            x = torch.randn(config.batch_size, 4, generator=torch.Generator().manual_seed(step))
            yield x, x.sum(dim=1, keepdim=True)

    def loss(batch: tuple[Tensor, Tensor]) -> Tensor:
        return (module(batch[0]) - batch[1]).square().mean()

    fit(module, batches, loss, config=config, folder=folder, evaluate=lambda: {"answer": 42.0})
    return module, seen


def test_a_resumed_run_equals_an_undisturbed_one(tmp_path: Path) -> None:
    whole, _ = run(tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(tmp_path / "broken", stop_at=17)
    resumed, seen = run(tmp_path / "broken")
    assert seen == list(range(17, 30)), "the steps before the interruption are not repeated"
    for expected, got in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(expected, got)


def test_it_learns_and_writes_the_log(tmp_path: Path) -> None:
    run(
        tmp_path,
        config=FitConfig(
            steps=300, batch_size=32, lr=3e-2, warmup_steps=10, log_every=50, evaluate_every=150
        ),
    )
    import json

    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == [50, 100, 150, 200, 250, 300]
    assert log[-1]["loss"] < log[0]["loss"] / 4
    assert [entry["step"] for entry in log if "answer" in entry] == [150, 300]


def test_a_finished_run_does_nothing_more(tmp_path: Path) -> None:
    run(tmp_path)
    _, seen = run(tmp_path)
    assert seen == []


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    other = FitConfig(steps=30, batch_size=8, lr=5e-2)
    with pytest.raises(CheckpointError, match="another run"):
        run(tmp_path, config=other)


def test_the_logit_scale_is_clipped(tmp_path: Path) -> None:
    scale = nn.Parameter(torch.tensor(4.6))
    module = nn.ParameterDict({"scale": scale})
    config = FitConfig(steps=20, batch_size=1, lr=1e-1, warmup_steps=0, weight_decay=0.0)
    fit(
        module,
        lambda first: range(first, 20),
        lambda _: -scale,
        config=config,
        folder=tmp_path,
        logit_scale=scale,
    )
    assert scale.item() == pytest.approx(4.605170, abs=1e-5)
