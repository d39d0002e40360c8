"""CrossTVR's ablations (Tables 6, 9 and 10): which parts of the second stage are worth their place?

:func:`variants` names the rerankers to train, which ``python -m framesift.training.storyboard_variants`` does on
Storyboard; the experiment compares trained models, whatever they are.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from ...errors import ConfigError
from ...metrics import ranks
from ...rerankers import CrossTVRConfig
from .bench import Bench, recall_with_interval
from .outcome import Outcome, Series, Table

__all__ = ["PAPER", "AblationConfig", "measure_ablations", "variants"]

PAPER = Table(
    title="In the paper (MSR-VTT 1K-A, text to video; Table 6 with ViT-G, 9 and 10 with ViT-B/32)",
    columns=("table", "variant", "R@1", "R@5", "mean rank"),
    rows=(
        ("6", "first stage", 47.0, 74.5, 13.0),
        ("6", "one of the two passes", 51.3, 75.9, 12.0),
        ("6", "the other pass", 51.5, 76.8, 11.9),
        ("6", "spatial + temporal", 54.0, 77.5, 11.8),
        ("9", "unshared parameters", 48.6, 74.9, 12.2),
        ("9", "shared parameters", 49.6, 75.5, 12.1),
        ("10", "an image encoder of its own", 49.6, 75.5, 12.1),
        ("10", "the first stage's image encoder", 49.6, 75.6, 12.0),
    ),
)


@dataclass(frozen=True, kw_only=True)
class AblationConfig:
    """``rerank_depth``: candidates that are reranked."""

    rerank_depth: int = 15  # CrossTVR, section 4.1: K

    def __post_init__(self) -> None:
        if self.rerank_depth < 1:
            raise ConfigError(f"rerank_depth={self.rerank_depth}: expected at least 1")


def variants(
    base: CrossTVRConfig, *, selected: tuple[int, ...] = (1, 2, 8), image_encoder: str = ""
) -> dict[str, CrossTVRConfig]:
    """The rerankers of the ablations by name, each of which differs from ``base`` in one thing.

    Args:
        base: both passes, shared parameters, and M selected tokens.
        selected: other numbers of selected tokens.
        image_encoder: another frozen encoder of the same width to compare with the first stage's; empty: none.
    """
    base = replace(base, passes="both", shared=True)
    found = {
        "both": base,
        "spatial": replace(base, passes="spatial"),
        "temporal": replace(base, passes="temporal"),
        "unshared": replace(base, shared=False),
        **{f"selected-{m}": replace(base, num_selected=m) for m in selected if m != base.num_selected},
    }
    if image_encoder and image_encoder != base.encoder:
        found["own-encoder"] = replace(base, encoder=image_encoder)
    return found


def measure_ablations(bench: Bench, config: AblationConfig) -> Outcome:
    """Both directions of every model, and of its first stage alone."""
    points: dict[str, Any] = {}
    first_stages: dict[str, str] = {}
    for name, model in bench.models.items():
        stage = bench.points.at(f"first stage of {name}", lambda name=name: _row(bench, name, depth=None))
        known = f"{stage['t2v']} {stage['v2t']}"
        if known not in first_stages:
            first_stages[known] = "first stage" if not first_stages else f"first stage of {name}"
            points[first_stages[known]] = stage
        if model.reranker is not None:
            points[name] = bench.points.at(
                name, lambda name=name: _row(bench, name, depth=config.rerank_depth)
            )
    rows = tuple(
        (
            name,
            *(point["t2v"][k][0] for k in ("1", "5")),
            point["t2v"]["mean_rank"],
            *(point["v2t"][k][0] for k in ("1", "5")),
            point["v2t"]["mean_rank"],
            point["pair_ms"],
            point["parameters"],
        )
        for name, point in points.items()
    )
    best = max(points, key=lambda name: points[name]["t2v"]["1"][0])
    base = next(iter(points))
    return Outcome(
        x_label="",
        x_values=tuple(points),
        y_label="recall, text to video, %",
        chart="bar",
        series=tuple(
            Series(
                name=f"R@{k}",
                values=tuple(point["t2v"][k][0] for point in points.values()),
                low=tuple(point["t2v"][k][1] for point in points.values()),
                high=tuple(point["t2v"][k][2] for point in points.values()),
            )
            for k in ("1", "5")
        ),
        tables=(
            Table(
                title=f"{config.rerank_depth} candidates reranked",
                columns=(
                    "variant",
                    "t2v R@1",
                    "R@5",
                    "mean rank",
                    "v2t R@1",
                    "R@5",
                    "mean rank",
                    "ms a pair",
                    "parameters of the reranker",
                ),
                rows=rows,
            ),
            PAPER,
        ),
        shows=f"Best text-to-video R@1: {best}, {points[best]['t2v']['1'][0]:.1f}; {base}"
        f" {points[base]['t2v']['1'][0]:.1f}.",
    )


def _row(bench: Bench, name: str, *, depth: int | None) -> dict[str, Any]:
    """Recall in both directions; ``depth`` None: the first stage alone."""
    result: dict[str, Any] = {"pair_ms": None, "parameters": None}
    relevance = bench.benchmark.relevance
    if depth is not None:
        reranker = bench.models[name].reranker
        assert reranker is not None
        result["parameters"] = sum(parameter.numel() for parameter in reranker.parameters())
        bench.reranked(name)  # encoded before the clock starts
    for direction in ("t2v", "v2t"):
        started = time.perf_counter()
        if depth is None:
            similarity = bench.coarse(name)
        else:
            similarity = bench.scores(name, rerank_depth=depth, direction=direction)
            if direction == "t2v":
                pairs = similarity.shape[0] * min(depth, similarity.shape[1])
                result["pair_ms"] = 1e3 * (time.perf_counter() - started) / pairs
        if direction == "t2v":
            found = ranks(similarity, relevance)
        else:
            asked = relevance.any(dim=0)
            found = ranks(similarity.T[asked], relevance.T[asked])
        result[direction] = {
            **{str(k): recall_with_interval(found, k, seed=bench.seed) for k in (1, 5, 10)},
            "mean_rank": float(found.mean()),
        }
    return result
