"""How many frames does a video need? Accuracy and cost of every model against the number of frames."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError, ShapeError
from .bench import Bench, recall_with_interval
from .costs import encode_seconds
from .outcome import Outcome, Series, Table

__all__ = ["FrameCountConfig", "measure_frame_count"]


@dataclass(frozen=True, kw_only=True)
class FrameCountConfig:
    """Configuration.

    Attributes:
        counts: numbers of frames, sampled uniformly.
        rerank_depth: candidates that a model with a reranker sees again.
        timed_videos: videos whose encoding is timed.
    """

    counts: tuple[int, ...] = (1, 2, 4, 8, 12, 16, 24)
    rerank_depth: int = 15  # CrossTVR, section 4.1: K
    timed_videos: int = 8

    def __post_init__(self) -> None:
        if not self.counts or min(self.counts) < 1 or list(self.counts) != sorted(set(self.counts)):
            raise ConfigError(f"counts={list(self.counts)}: expected growing numbers of frames, 1 or more")
        if min(self.rerank_depth, self.timed_videos) < 1:
            raise ConfigError("rerank_depth and timed_videos: expected at least 1")


def measure_frame_count(bench: Bench, config: FrameCountConfig) -> Outcome:
    """R@1 and seconds of encoding a video, for every model and number of frames."""

    def measure(name: str, count: int) -> dict[str, Any] | None:
        try:
            similarity = bench.scores(name, count, rerank_depth=config.rerank_depth)
        except ShapeError:
            return None  # the model was made for another number of frames
        found = bench.found(similarity)
        started = time.perf_counter()
        bench.scores(name, count, rerank_depth=config.rerank_depth)  # features are at hand
        matching_s = time.perf_counter() - started
        return {
            "r1": recall_with_interval(found, 1, seed=bench.seed),
            "r5": recall_with_interval(found, 5, seed=bench.seed),
            "encode_s": encode_seconds(bench, name, count, videos=config.timed_videos),
            "match_s": matching_s / similarity.shape[0],
        }

    points = {
        (name, count): bench.points.at(
            f"{name}, {count} frames", lambda name=name, count=count: measure(name, count)
        )
        for count in config.counts  # models that share an encoder follow one another
        for name in bench.models
    }
    series: list[Series] = []
    for name in bench.models:
        own = [points[name, count] for count in config.counts]
        recall = [None if point is None else point["r1"] for point in own]
        series.append(
            Series(
                name=name,
                values=tuple(None if row is None else row[0] for row in recall),
                low=tuple(None if row is None else row[1] for row in recall),
                high=tuple(None if row is None else row[2] for row in recall),
                panel="R@1, text to video, %",
            )
        )
    series += [
        Series(
            name=name,
            values=tuple(
                None if (point := points[name, count]) is None else 1e3 * point["encode_s"]
                for count in config.counts
            ),
            panel="encoding a video, ms",
        )
        for name in bench.models
    ]
    rows = tuple(
        (name, count, point["r1"][0], point["r5"][0], 1e3 * point["encode_s"], 1e3 * point["match_s"])
        for (name, count), point in sorted(
            points.items(), key=lambda item: list(bench.models).index(item[0][0])
        )
        if point is not None
    )
    missing = sorted({name for (name, _), point in points.items() if point is None})
    said: list[str] = []
    for name in bench.models:
        known = [(points[name, c]["r1"][0], c) for c in config.counts if points[name, c] is not None]
        if known:
            best, count = max(known, key=lambda one: (one[0], -one[1]))
            said.append(f"{name} is best with {count} frames (R@1 {best:.1f})")
    note = f" Made for a fixed number of frames: {', '.join(missing)}." if missing else ""
    return Outcome(
        x_label="frames a video",
        x_values=config.counts,
        y_label="R@1, text to video, %",
        series=tuple(series),
        tables=(
            Table(
                title="By number of frames",
                columns=(
                    "model",
                    "frames",
                    "R@1",
                    "R@5",
                    "encoding a video, ms",
                    "all scores of a text, ms",
                ),
                rows=rows,
            ),
        ),
        shows=f"{'; '.join(said)}.{note}",
    )
