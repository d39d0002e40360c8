"""The training loop: steps, schedule, log, evaluation, checkpoints that resume exactly.

Batch and noise are functions of (seed, step), so that a run which is killed and resumed sees what an undisturbed
run would have seen.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import CheckpointError
from ..model import LOGIT_SCALE_MAX
from .optim import adamw, warmup_cosine

__all__ = ["FitConfig", "fit"]


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How long and how fast to train.

    Attributes:
        steps: optimiser steps in all.
        lr: peak learning rate, reached after ``warmup_steps``, then half a cosine down to zero.
        max_norm: gradients are clipped to this global norm.
        checkpoint_s: seconds between two checkpoints.
    """

    steps: int
    batch_size: int
    lr: float
    warmup_steps: int = 100
    weight_decay: float = 0.2
    beta2: float = 0.999
    max_norm: float = 1.0
    seed: int = 0
    log_every: int = 20
    evaluate_every: int = 500
    checkpoint_s: float = 120.0


def fit(
    module: nn.Module,
    batches: Callable[[int], Iterable[Any]],
    loss: Callable[[Any], Tensor],
    *,
    config: FitConfig,
    folder: str | Path,
    logit_scale: nn.Parameter | None = None,
    evaluate: Callable[[], Mapping[str, float]] | None = None,
    report: Callable[[str], None] | None = None,
) -> list[dict[str, float | int]]:
    """Train the parameters of ``module`` that require gradients; resumes from ``folder`` when it was interrupted.

    Args:
        batches: first step -> the batches from that step on.
        loss: batch -> scalar.
        folder: holds ``state.pt`` (the last checkpoint) and ``log.jsonl``.
        logit_scale: clipped to ln 100 after every step, as CLIP's is.
        evaluate: called every ``evaluate_every`` steps and at the end; its numbers go to the log.
        report: receives one line a log entry.

    Returns:
        The log: one mapping an entry.

    Raises:
        CheckpointError: ``folder`` holds a checkpoint of another run.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    decayed = [p for p in trained.values() if p.ndim >= 2]
    plain = [p for p in trained.values() if p.ndim < 2]  # gains, biases, the logit scale
    optimizer = adamw(
        [
            {"params": decayed, "lr": config.lr, "weight_decay": config.weight_decay},
            {"params": plain, "lr": config.lr, "weight_decay": 0.0},
        ],
        betas=(0.9, config.beta2),
    )
    schedule = warmup_cosine(optimizer, total_steps=config.steps, warmup_steps=config.warmup_steps)
    state_path, log_path = folder / "state.pt", folder / "log.jsonl"
    first = _restore(state_path, module, optimizer, schedule, config)
    log = [entry for entry in _read_log(log_path) if entry["step"] <= first]
    log_path.write_text("".join(json.dumps(entry) + "\n" for entry in log))
    spent = log[-1]["seconds"] if log else 0.0

    def note(entry: dict[str, float | int]) -> None:
        log.append(entry)
        with log_path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        if report is not None:
            report("  ".join(f"{key} {value:.5g}" for key, value in entry.items()))

    started = saved = time.monotonic()
    total, counted = 0.0, 0
    for step, batch in zip(
        range(first + 1, config.steps + 1), _iterate(batches, first, config.steps), strict=False
    ):
        module.train()
        torch.manual_seed(config.seed * 1_000_003 + step)  # dropout and other noise
        value = loss(batch)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(list(trained.values()), config.max_norm)
        optimizer.step()
        schedule.step()
        if logit_scale is not None:
            with torch.no_grad():
                logit_scale.clamp_(max=LOGIT_SCALE_MAX)
        total, counted = total + value.item(), counted + 1
        last = step == config.steps
        measured = evaluate is not None and (step % config.evaluate_every == 0 or last)
        if step % config.log_every == 0 or measured:
            entry: dict[str, float | int] = {
                "step": step,
                "seconds": round(spent + time.monotonic() - started, 1),
                "loss": round(total / counted, 5),
                "lr": float(schedule.get_last_lr()[0]),
            }
            total, counted = 0.0, 0
            if logit_scale is not None:
                entry["logit_scale"] = round(logit_scale.item(), 4)
            if evaluate is not None and measured:
                module.eval()
                entry.update(evaluate())
            note(entry)
        if last or time.monotonic() - saved > config.checkpoint_s:
            _save(state_path, module, optimizer, schedule, config, step)
            saved = time.monotonic()
    module.eval()
    return log


def _iterate(batches: Callable[[int], Iterable[Any]], first: int, steps: int) -> Iterator[Any]:
    if first < steps:
        yield from batches(first)


def _identity(config: FitConfig) -> dict[str, Any]:
    """What a resumed run must have in common with the one it resumes."""
    return {"steps": config.steps, "batch_size": config.batch_size, "lr": config.lr, "seed": config.seed}


def _save(
    path: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: Any,
    config: FitConfig,
    step: int,
) -> None:
    state = {
        "step": step,
        "run": _identity(config),
        "module": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
    }
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    torch.save(state, unfinished)
    os.replace(unfinished, path)


def _restore(
    path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, schedule: Any, config: FitConfig
) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    if state["run"] != _identity(config):
        raise CheckpointError(
            f"{str(path)!r} is of another run ({state['run']}); expected {_identity(config)}. "
            "Choose another folder, or delete this one to start again."
        )
    module.load_state_dict(state["module"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    return int(state["step"])


def _read_log(path: Path) -> list[dict[str, float | int]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
