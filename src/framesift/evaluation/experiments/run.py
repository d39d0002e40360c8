"""Run an experiment: models and benchmark in, a result file, a picture and a page out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...config import apply_overrides, from_dict, to_dict
from ...encoders.base import resolve_device
from ...encoders.weights import hash_state
from ...errors import InputError, suggest
from ..plots import plot_experiment
from ..results import write_result
from .bench import NO_BENCHMARK, Bench
from .benchmarks import STORYBOARD, open_benchmark
from .models import load_models
from .page import page
from .points import Points
from .registry import EXPERIMENTS

__all__ = ["run_experiment"]


def run_experiment(
    name: str,
    *,
    models: Sequence[str] = (),
    benchmark: str = STORYBOARD,
    root: Path | None = None,
    videos: int = 200,
    output: Path = Path("results"),
    seed: int = 0,
    device: str = "auto",
    overrides: Sequence[str] = (),
    report: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Measure, and write ``NAME.json``, ``NAME.png`` and ``NAME.md`` into ``output``.

    What was measured is kept in ``NAME.partial.json`` until it is done: an interrupted run goes on from there.

    Args:
        name: key of :data:`.EXPERIMENTS`.
        models: see :func:`.load_models`.
        benchmark, root, videos: see :func:`.open_benchmark`.
        overrides: of the experiment's config, ``KEY=VALUE``.
        report: receives a line a point.

    Returns:
        The content of the result file.

    Raises:
        InputError: no such experiment or device, unfit settings, or ``output`` cannot be written.
        UnknownModelError, CheckpointError: a model cannot be had.
        DatasetError: files of the benchmark are missing.
    """
    if name not in EXPERIMENTS:
        raise InputError(
            f"no experiment {name!r}{suggest(name, EXPERIMENTS)} (known: {', '.join(EXPERIMENTS)})"
        )
    experiment = EXPERIMENTS[name]
    started = time.monotonic()
    config = from_dict(experiment.config, apply_overrides({}, overrides))
    where = str(resolve_device(device))
    if experiment.suits is None:
        if models:
            raise InputError(f"{name} measures encoders of its own; leave out --model")
        loaded, data = {}, NO_BENCHMARK
    else:
        if experiment.storyboard_only and benchmark.partition("/")[0] != STORYBOARD:
            raise InputError(
                f"{name} puts scenes into videos, which only Storyboard's are made of; leave out --benchmark"
            )
        loaded = load_models(models, experiment.suits, device=where)
        data = open_benchmark(benchmark, root=root, videos=videos)
    settings: dict[str, Any] = {
        "config": to_dict(config),
        "models": {label: hash_state(model.state_dict())[:16] for label, model in loaded.items()},
        "frames": {label: model.num_frames for label, model in loaded.items()},
        "seed": seed,
        "device": where,
    }
    split = dict(data.split)
    points = Points(
        output / f"{name}.partial.json", {"experiment": name, "split": split, **settings}, report=report
    )
    earlier = points.seconds
    bench = Bench(loaded, data, points, seed=seed, device=where)
    outcome = experiment.measure(bench, config)
    result = {
        "kind": "experiment",
        "name": name,
        "title": experiment.title,
        "source": experiment.source,
        **outcome.to_dict(),
        "text": "\n\n".join(
            [
                f"{experiment.source}. {experiment.done}",
                outcome.shows,
                f"In the paper: {experiment.paper}",
                f"What differs: {experiment.differs}",
            ]
        ),
        "shows": outcome.shows,
        "settings": settings,
        "split": split,
    }
    path = output / f"{name}.json"
    write_result(path, result, seconds=earlier + time.monotonic() - started)
    picture = output / f"{name}.png"
    if find_spec("matplotlib") is None:
        if report is not None:
            report("no picture: matplotlib is not installed; pip install 'framesift[plots]'")
    else:
        plot_experiment(result, picture)
    drawn = picture.name if picture.exists() else None
    (output / f"{name}.md").write_text(page(name, experiment, result, picture=drawn), encoding="utf-8")
    points.forget()
    return result
