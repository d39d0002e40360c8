"""The training loop: steps, schedule, log, evaluation, checkpoints that resume exactly.

Batch and noise are functions of (seed, step), so that a run which is killed and resumed sees what an undisturbed
run would have seen.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ..errors import CheckpointError, InputError
from ..model import LOGIT_SCALE_MAX
from .checkpoint import load_state, save_state
from .gather import ALONE, World
from .log import Entry, RunLog
from .optim import adamw, warmup_cosine

__all__ = ["FitConfig", "fit"]

SEEDS = 1_000_003  # noise of step s of seed n is drawn from seed n * SEEDS + s
PROCESS_SEEDS = 2**40  # and, in process r, r times this is added


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How long and how fast to train.

    Attributes:
        steps: optimiser steps in all.
        lr: peak learning rate, reached after ``warmup_steps``, then half a cosine down to zero.
        max_norm: gradients are clipped to this global norm; 0: they are not.
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
    optimizer: tuple[Optimizer, LambdaLR] | None = None,
    backward: Callable[[Any], Tensor] | None = None,
    keep: Callable[[list[Entry]], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    world: World = ALONE,
    run: Mapping[str, Any] | None = None,
    board: bool = False,
) -> list[Entry]:
    """Train the parameters of ``module`` that require gradients; resumes from ``folder`` when it was interrupted.

    Args:
        batches: first step -> the batches from that step on.
        loss: batch -> scalar.
        folder: holds ``state.pt`` (the last checkpoint) and ``log.jsonl``.
        logit_scale: clipped to ln 100 after every step, as CLIP's is.
        evaluate: called every ``evaluate_every`` steps and at the end, in the first process; its numbers go to the log.
        report: receives one line a log entry.
        optimizer: and its schedule; default: X-Pool's AdamW, decay on matrices only, warm-up and cosine.
        backward: batch -> its loss, having added its gradients, in place of ``loss(batch).backward()``.
        keep: called with the log after each evaluation, to keep the best model.
        progress: called with every step and the number of steps.
        world: the processes that train together; their gradients are averaged.
        run: what a resumed run must have in common with the one it resumes; default: steps, batch size, rate and seed.
        board: write TensorBoard's files too.

    Returns:
        The log: one mapping an entry.

    Raises:
        CheckpointError: ``folder`` holds a checkpoint of another run, or a damaged one.
        InputError: the loss is not finite, or ``folder`` cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    trained = [p for p in module.parameters() if p.requires_grad]
    rule, schedule = optimizer or _default_optimizer(trained, config)
    state = _State(folder / "state.pt", module, rule, schedule, run=dict(run or _identity(config)))
    first = state.restore()
    world.wait()  # no process writes while another one reads
    log = RunLog(folder, upto=first, writes=world.leads, report=report, board=board)
    before, started = log.seconds, time.monotonic()
    logged = saved = started
    logged_at = first

    for step, batch in zip(
        range(first + 1, config.steps + 1), _iterate(batches, first, config.steps), strict=False
    ):
        module.train()
        torch.manual_seed(config.seed * SEEDS + step + world.rank * PROCESS_SEEDS)  # dropout and other noise
        rule.zero_grad(set_to_none=True)
        if backward is not None:
            value = backward(batch)
        else:
            value = loss(batch)
            value.backward()
        world.average(trained)
        norm = nn.utils.clip_grad_norm_(trained, config.max_norm or math.inf)
        state.count(_finite(value, step), norm.item())
        rates = {str(group.get("name", "")).split("_")[0]: float(group["lr"]) for group in rule.param_groups}
        rule.step()
        schedule.step()
        if logit_scale is not None:
            with torch.no_grad():
                logit_scale.clamp_(max=LOGIT_SCALE_MAX)
        last = step == config.steps
        measured = evaluate is not None and (step % config.evaluate_every == 0 or last)
        if step % config.log_every == 0 or measured:
            now = time.monotonic()
            entry: Entry = {
                "step": step,
                "seconds": round(before + now - started, 1),
                "loss": round(state.mean_loss, 5),
                "lr": float(schedule.get_last_lr()[0]),
                **{f"lr_{name}": rate for name, rate in rates.items() if name},
                "grad_norm": float(f"{state.mean_norm:.5g}"),
                "samples_per_s": float(
                    f"{(step - logged_at) * config.batch_size / max(now - logged, 1e-9):.4g}"
                ),
            }
            state.forget()
            logged, logged_at = now, step
            if logit_scale is not None:
                entry["logit_scale"] = round(logit_scale.item(), 4)
            if evaluate is not None and measured and world.leads:
                module.eval()
                entry.update(evaluate())
            log.add(entry)
            if measured and keep is not None and world.leads:
                keep(log.entries)
            if measured:
                world.wait()
        if world.leads and (last or time.monotonic() - saved > config.checkpoint_s):
            state.save(step)
            saved = time.monotonic()
        if progress is not None:
            progress(step, config.steps)
    world.wait()
    log.close()
    module.eval()
    return log.entries


class _State:
    """All that a run needs to go on: weights, optimiser, schedule, and the losses since the last log entry."""

    def __init__(
        self, path: Path, module: nn.Module, optimizer: Optimizer, schedule: LambdaLR, *, run: dict[str, Any]
    ) -> None:
        self._path, self._run = path, run
        self._parts: dict[str, Any] = {"module": module, "optimizer": optimizer, "schedule": schedule}
        self.forget()

    def count(self, loss: float, norm: float) -> None:
        """Add a step to the means."""
        self._loss, self._norm, self._counted = self._loss + loss, self._norm + norm, self._counted + 1

    def forget(self) -> None:
        """Start the means anew."""
        self._loss, self._norm, self._counted = 0.0, 0.0, 0

    @property
    def mean_loss(self) -> float:
        """Since the last log entry."""
        return self._loss / max(1, self._counted)

    @property
    def mean_norm(self) -> float:
        """Of the gradients before clipping, since the last log entry."""
        return self._norm / max(1, self._counted)

    def save(self, step: int) -> None:
        """Write the checkpoint of ``step``."""
        parts = {name: part.state_dict() for name, part in self._parts.items()}
        means = [self._loss, self._norm, self._counted]
        save_state(self._path, {"step": step, "run": self._run, "means": means, **parts})

    def restore(self) -> int:
        """Take over the checkpoint, where there is one; returns its step, or 0."""
        state = load_state(self._path)
        if state is None:
            return 0
        if state["run"] != self._run:
            raise CheckpointError(
                f"{str(self._path)!r} is of another run ({state['run']}); expected {self._run}. "
                "Choose another folder, or delete this one to start again."
            )
        for name, part in self._parts.items():
            part.load_state_dict(state[name])
        self._loss, self._norm, self._counted = state.get("means", (0.0, 0.0, 0))
        return int(state["step"])


def _default_optimizer(trained: list[nn.Parameter], config: FitConfig) -> tuple[Optimizer, LambdaLR]:
    decayed = [p for p in trained if p.ndim >= 2]
    plain = [p for p in trained if p.ndim < 2]  # gains, biases, the logit scale
    optimizer = adamw(
        [
            {"params": decayed, "lr": config.lr, "weight_decay": config.weight_decay},
            {"params": plain, "lr": config.lr, "weight_decay": 0.0},
        ],
        betas=(0.9, config.beta2),
    )
    return optimizer, warmup_cosine(optimizer, total_steps=config.steps, warmup_steps=config.warmup_steps)


def _finite(value: Tensor, step: int) -> float:
    number = value.item()
    if not math.isfinite(number):
        raise InputError(
            f"the loss is {number} at step {step}: lower the learning rate, or look for videos or features that are not"
            " finite"
        )
    return number


def _iterate(batches: Callable[[int], Iterable[Any]], first: int, steps: int) -> Iterator[Any]:
    if first < steps:
        yield from batches(first)


def _identity(config: FitConfig) -> dict[str, Any]:
    """What a resumed run has in common with the one it resumes, unless the caller says more."""
    return {"steps": config.steps, "batch_size": config.batch_size, "lr": config.lr, "seed": config.seed}
