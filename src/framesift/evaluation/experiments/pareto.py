"""Cost against accuracy of all systems: which of them is beaten by another one in every respect?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError
from .bench import Bench, recall_with_interval
from .costs import encode_seconds, kept_bytes, match_seconds, rerank_seconds, text_seconds
from .outcome import Outcome, Series, Table

__all__ = ["ParetoConfig", "measure_pareto", "pareto_best"]


@dataclass(frozen=True, kw_only=True)
class ParetoConfig:
    """Configuration.

    Attributes:
        rerank_depth: candidates that a model with a reranker sees again.
        timed_videos: videos whose encoding is timed.
    """

    rerank_depth: int = 15  # CrossTVR, section 4.1: K
    timed_videos: int = 8

    def __post_init__(self) -> None:
        if min(self.rerank_depth, self.timed_videos) < 1:
            raise ConfigError("rerank_depth and timed_videos: expected at least 1")


def pareto_best(costs: Mapping[str, tuple[float, ...]], gains: Mapping[str, float]) -> list[str]:
    """Those that no other one beats: at most every cost and at least the gain, and better in one of them."""

    def beats(one: str, other: str) -> bool:
        no_worse = gains[one] >= gains[other] and all(
            mine <= its for mine, its in zip(costs[one], costs[other], strict=True)
        )
        return no_worse and (gains[one], costs[one]) != (gains[other], costs[other])

    return [name for name in costs if not any(beats(other, name) for other in costs)]


def measure_pareto(bench: Bench, config: ParetoConfig) -> Outcome:
    """R@1, and seconds and bytes, of every model."""

    def measure(name: str) -> dict[str, Any]:
        found = bench.found(bench.scores(name, rerank_depth=config.rerank_depth))
        reranker, tokens = bench.models[name].reranker, 0
        if reranker is not None and reranker.reads_patches:
            patch = bench.reranked(name)[1].patch
            assert patch is not None
            tokens = 2 * patch[0].numel()
        return {
            "r1": recall_with_interval(found, 1, seed=bench.seed),
            "encode_s": encode_seconds(bench, name, videos=config.timed_videos),
            "text_s": text_seconds(bench, name),
            "match_s": match_seconds(bench, name),
            "rerank_s": rerank_seconds(bench, name, config.rerank_depth),
            "kept_bytes": kept_bytes(bench.video(name)),
            "token_bytes": tokens,
        }

    points = {name: bench.points.at(name, lambda name=name: measure(name)) for name in bench.models}
    gains = {name: point["r1"][0] for name, point in points.items()}
    search_ms = {
        name: 1e3 * (point["text_s"] + point["match_s"] + point["rerank_s"]) for name, point in points.items()
    }
    by_search = pareto_best({name: (search_ms[name],) for name in points}, gains)
    by_all = pareto_best(
        {
            name: (search_ms[name], point["encode_s"], float(point["kept_bytes"] + point["token_bytes"]))
            for name, point in points.items()
        },
        gains,
    )
    names = sorted(points, key=lambda name: search_ms[name])

    def alone(name: str, value: float) -> tuple[float | None, ...]:
        return tuple(value if other == name else None for other in names)

    return Outcome(
        x_label="searching 1,000 videos for one text, ms",
        x_values=tuple(float(f"{search_ms[name]:.4g}") for name in names),
        y_label="R@1, text to video, %",
        chart="dot",
        series=tuple(
            Series(
                name=f"{name} (Pareto-best)" if name in by_search else name,
                values=alone(name, points[name]["r1"][0]),
                low=alone(name, points[name]["r1"][1]),
                high=alone(name, points[name]["r1"][2]),
            )
            for name in names
        ),
        tables=(
            Table(
                title="Cost and accuracy",
                columns=(
                    "model",
                    "R@1",
                    "encoding a video, ms",
                    "encoding a text, ms",
                    "matching 1,000 videos, ms",
                    f"reranking {config.rerank_depth}, ms",
                    "features, bytes a video",
                    "tokens, bytes a video",
                    "Pareto-best: search",
                    "Pareto-best: all costs",
                ),
                rows=tuple(
                    (
                        name,
                        points[name]["r1"][0],
                        *(1e3 * points[name][key] for key in ("encode_s", "text_s", "match_s", "rerank_s")),
                        points[name]["kept_bytes"],
                        points[name]["token_bytes"],
                        "yes" if name in by_search else "no",
                        "yes" if name in by_all else "no",
                    )
                    for name in names
                ),
            ),
        ),
        shows=f"No system finds more in less time than {', '.join(by_search)}. Counting encoding and storage as well,"
        f" none beats {', '.join(by_all)}. Reranking is timed with the tokens of the candidates at hand.",
    )
