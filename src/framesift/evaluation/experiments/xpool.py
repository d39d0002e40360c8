"""X-Pool's three measurements (Gorti et al. 2022, Figures 3 and 4): which frames should a text look at?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ConfigError
from ...features import VideoFeatures, unit
from ...matchers import Matcher, MeanPool, SoftmaxPool, SoftmaxPoolConfig, TopK, TopKConfig
from ...metrics import ranks, summarise
from ...similarity import similarity_matrix
from ...storyboard import diversity
from ..significance import bootstrap_interval, metric_intervals
from ..storyboard import frames_of
from .bench import Bench, encode_for_all, recall_with_interval
from .outcome import Outcome, Series, Table

__all__ = [
    "BestKConfig",
    "DiversityConfig",
    "PoolingConfig",
    "best_k",
    "measure_best_k",
    "measure_diversity",
    "measure_pooling",
    "paper_lines",
]

PAPER_FOREIGN = 8
"""Most foreign scenes a video in our reference series: the paper's text gives the first and last median rank only."""


@dataclass(frozen=True, kw_only=True)
class PoolingConfig:
    """Figure 3a. ``k``: frames of top-k pooling."""

    k: int = 3  # X-Pool, section 4.4


@dataclass(frozen=True, kw_only=True)
class BestKConfig:
    """Figure 3b. ``num_frames``: frames a video; 0: as many as each model was trained with."""

    num_frames: int = 0

    def __post_init__(self) -> None:
        if self.num_frames < 0:
            raise ConfigError(f"num_frames={self.num_frames}: expected 0 or more")


@dataclass(frozen=True, kw_only=True)
class DiversityConfig:
    """Figure 4.

    Attributes:
        most: foreign scenes in every video at most.
        sources: where they come from, see :func:`framesift.storyboard.diversity`.
    """

    most: int = PAPER_FOREIGN
    sources: tuple[str, ...] = ("pool", "gallery")

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ConfigError(f"most={self.most}: expected at least 1")
        wrong = [source for source in self.sources if source not in ("pool", "gallery")]
        if wrong or not self.sources:
            raise ConfigError(f"sources={list(self.sources)}: expected 'pool', 'gallery' or both")


def measure_pooling(bench: Bench, config: PoolingConfig) -> Outcome:
    """Mean pooling against top-k pooling of the same features, and the model's own matcher where it was trained."""
    top_k = f"top-{config.k} pooling"
    kinds: dict[str, Callable[[Matcher], Matcher | None]] = {
        "mean pooling": lambda own: MeanPool(),
        top_k: lambda own: TopK(TopKConfig(k=config.k)),
        "trained matcher": lambda own: own if _trained(own) else None,
    }

    def measure(name: str) -> dict[str, Any]:
        text, video, found = bench.text(name), bench.video(name), dict[str, Tensor]()
        for kind, make in kinds.items():
            matcher = make(bench.models[name].matcher)
            if matcher is not None:
                found[kind] = bench.found(similarity_matrix(matcher, text, video))
        first = {kind: (own <= 1).double() for kind, own in found.items()}
        gain = first[top_k] - first["mean pooling"]
        low, high = bootstrap_interval(gain, seed=bench.seed)
        return {
            "r1": {kind: recall_with_interval(own, 1, seed=bench.seed) for kind, own in found.items()},
            "r5": {kind: recall_with_interval(own, 5, seed=bench.seed) for kind, own in found.items()},
            "median_rank": {kind: float(own.median()) for kind, own in found.items()},
            "gain": (100 * float(gain.mean()), low, high),
        }

    points = {name: bench.points.at(name, lambda name=name: measure(name)) for name in bench.models}
    series = tuple(
        Series(
            name=kind,
            values=tuple(_entry(point["r1"], kind, 0) for point in points.values()),
            low=tuple(_entry(point["r1"], kind, 1) for point in points.values()),
            high=tuple(_entry(point["r1"], kind, 2) for point in points.values()),
        )
        for kind in kinds
        if any(kind in point["r1"] for point in points.values())
    )
    rows = tuple(
        (name, kind, point["r1"][kind][0], point["r5"][kind][0], point["median_rank"][kind])
        for name, point in points.items()
        for kind in point["r1"]
    )
    gains = "; ".join(
        f"{name} {point['gain'][0]:+.1f} (95 % interval {point['gain'][1]:+.1f} to {point['gain'][2]:+.1f})"
        for name, point in points.items()
    )
    return Outcome(
        x_label="model",
        x_values=tuple(points),
        y_label="R@1, text to video, %",
        chart="bar",
        series=series,
        tables=(
            Table(
                title="Text to video", columns=("model", "pooling", "R@1", "R@5", "median rank"), rows=rows
            ),
        ),
        shows=f"R@1 of {top_k} less that of mean pooling, paired over the queries: {gains}.",
    )


def best_k(sentence: Float[Tensor, " dim"], frame: Float[Tensor, "frame dim"]) -> Float[Tensor, " frame"]:
    """Cosine of a text and the mean of its k nearest unit frames, for k = 1 to all."""
    text, frames = unit(sentence.double()), unit(frame.double())
    ordered = frames[(frames @ text).argsort(descending=True, stable=True)]
    return unit(ordered.cumsum(dim=0)) @ text


def measure_best_k(bench: Bench, config: BestKConfig) -> Outcome:
    """Over all pairs that belong together: the k whose top-k pooling gives the highest cosine."""
    chosen: dict[str, list[int]] = {}
    alike: dict[str, str] = {}
    frames = max(config.num_frames or model.num_frames for model in bench.models.values())
    for name, model in bench.models.items():
        key = f"{model.fingerprint()} {config.num_frames or model.num_frames}"
        if key in alike:  # the matcher has no say in this
            continue
        alike[key] = name

        def measure(name: str = name) -> list[int]:
            text, video = bench.text(name), bench.video(name, config.num_frames or None)
            pairs = bench.benchmark.relevance.nonzero().tolist()
            return [
                1 + int(best_k(text.sentence[t], video.frame[v][video.frame_mask[v]]).argmax())
                for t, v in pairs
                if bool(video.frame_mask[v].any())
            ]

        chosen[name] = bench.points.at(name, measure)
    axis = range(1, frames + 1)
    rows: list[tuple[Any, ...]] = []
    for name, own in chosen.items():
        few = 100 * sum(k <= 3 for k in own) / len(own)
        every = 100 * sum(k == frames for k in own) / len(own)
        rows.append((name, len(own), sum(own) / len(own), float(sorted(own)[len(own) // 2]), few, every))
    said = "; ".join(
        f"{row[0]}: {row[4]:.0f} % of {row[1]} pairs are best matched by at most 3 of {frames} frames,"
        f" {row[5]:.0f} % by all (mean k {row[2]:.1f})"
        for row in rows
    )
    return Outcome(
        x_label="k frames with the highest cosine to their text",
        x_values=tuple(axis),
        y_label="share of true pairs, %",
        better=None,
        chart="bar",
        series=tuple(
            Series(name=name, values=tuple(100 * own.count(k) / len(own) for k in axis))
            for name, own in chosen.items()
        ),
        tables=(
            Table(
                title="The best k of true pairs",
                columns=("features of", "pairs", "mean k", "median k", "k at most 3, %", "all frames, %"),
                rows=tuple(rows),
            ),
        ),
        shows=f"{said}. Models with the same features share a histogram.",
    )


def measure_diversity(bench: Bench, config: DiversityConfig) -> Outcome:
    """Median rank of every matcher with 0 to ``most`` foreign scenes at random places of every video."""
    base = bench.benchmark.slice
    assert base is not None  # the experiment is for Storyboard only
    first = next(iter(bench.models))
    matchers: dict[str, tuple[str, Matcher]] = {
        "mean-pool": (first, MeanPool()),
        "top-k (k = 3)": (first, TopK()),
        "softmax-pool (T = 0.01)": (first, SoftmaxPool(SoftmaxPoolConfig(temperature=0.01))),
    }
    baselines = {(type(matcher), bench.models[first].fingerprint()) for _, matcher in matchers.values()}
    for name, model in bench.models.items():
        if _trained(model.matcher) or (type(model.matcher), model.fingerprint()) not in baselines:
            matchers[name] = (name, model.matcher)

    def measure(foreign: int, source: str) -> dict[str, Any]:
        gallery = diversity(base, foreign, source=source)
        used = {name: bench.models[name] for name, _ in matchers.values()}
        features = _encode_with_own_frames(used, gallery.videos)
        relevance = torch.from_numpy(gallery.relevance)
        rows: dict[str, Any] = {}
        for label, (name, matcher) in matchers.items():
            found = ranks(
                similarity_matrix(matcher, bench.text(name), features[name]).float().cpu(), relevance
            )
            metrics = summarise(found, ties="pessimistic", direction="t2v")
            rows[label] = {
                "median_rank": metrics.median_rank,
                "mean_rank": metrics.mean_rank,
                "interval": metric_intervals(found, seed=bench.seed)["MdR"],
                "r1": recall_with_interval(found, 1, seed=bench.seed),
            }
        return rows

    axis = tuple(range(config.most + 1))
    points: dict[tuple[str, int], dict[str, Any]] = {}
    for source in config.sources:
        for foreign in axis:
            undisturbed = "0 foreign scenes"  # the same videos, whatever the source
            key = undisturbed if foreign == 0 else f"{foreign} foreign scenes from {source}"
            points[source, foreign] = bench.points.at(
                key, lambda foreign=foreign, source=source: measure(foreign, source)
            )
    panels = {
        "pool": "median rank (scenes of other videos)",
        "gallery": "median rank (scenes of the gallery)",
    }
    series: list[Series] = []
    for source in config.sources:
        for label in matchers:
            own = [points[source, foreign][label] for foreign in axis]
            series.append(
                Series(
                    name=label,
                    values=tuple(row["median_rank"] for row in own),
                    low=tuple(row["interval"][0] for row in own),
                    high=tuple(row["interval"][1] for row in own),
                    panel=panels[source],
                )
            )
        series += paper_lines(axis, panels[source])
    rows = tuple(
        (label, source, foreign, row["median_rank"], row["mean_rank"], *row["r1"])
        for source in config.sources
        for label in matchers
        for foreign in axis
        for row in (points[source, foreign][label],)
    )
    growth = "; ".join(
        f"{label} {points[source, 0][label]['median_rank']:g} to"
        f" {points[source, config.most][label]['median_rank']:g} ({source})"
        for source in config.sources
        for label in matchers
    )
    return Outcome(
        x_label="foreign scenes in every video",
        x_values=axis,
        y_label="median rank, text to video",
        better="lower",
        series=tuple(series),
        tables=(
            Table(
                title="Text to video, by number of foreign scenes",
                columns=(
                    "matcher",
                    "scenes from",
                    "n",
                    "median rank",
                    "mean rank",
                    "R@1",
                    "95 % from",
                    "95 % to",
                ),
                rows=rows,
            ),
        ),
        shows=f"Median rank from 0 to {config.most} foreign scenes a video: {growth}. The paper: mean-pool 2 to 46,"
        " X-Pool 2 to 9.",
    )


def paper_lines(axis: tuple[int, ...], panel: str) -> list[Series]:
    """The ends of the paper's curves, on MSR-VTT; none where the axis is shorter than ours by default."""
    if PAPER_FOREIGN not in axis:
        return []
    lines: list[Series] = []
    for label, first, last in (("mean-pool", 2.0, 46.0), ("X-Pool", 2.0, 9.0)):
        values = tuple({0: first, PAPER_FOREIGN: last}.get(foreign) for foreign in axis)
        lines.append(Series(name=f"paper, {label} (MSR-VTT)", values=values, reference=True, panel=panel))
    return lines


def _encode_with_own_frames(models: dict[str, Any], videos: Iterable[Any]) -> dict[str, VideoFeatures]:
    """Every model sees as many frames as it was trained with."""
    videos = tuple(videos)
    result: dict[str, VideoFeatures] = {}
    for frames in {model.num_frames for model in models.values()}:
        alike = {name: model for name, model in models.items() if model.num_frames == frames}
        result |= encode_for_all(alike, (frames_of(video, frames) for video in videos))
    return result


def _trained(matcher: Matcher) -> bool:
    return any(True for _ in matcher.parameters())


def _entry(by_kind: dict[str, Any], kind: str, place: int) -> float | None:
    return by_kind[kind][place] if kind in by_kind else None
