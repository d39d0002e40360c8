"""CrossTVR's Figure 4: how many candidates should the second stage see? Every pair is scored once for all depths."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ...errors import ConfigError, InputError
from ...features import TextFeatures, VideoFeatures
from ...ranking import rerank_similarity
from ...rerankers import Reranker
from ...rerankers.base import Fusion
from .bench import Bench, recall_with_interval
from .outcome import Outcome, Series, Table

__all__ = ["DepthConfig", "Remembered", "measure_depth"]


@dataclass(frozen=True, kw_only=True)
class DepthConfig:
    """Depths to look at; the paper has 2 to 19."""

    first: int = 2
    last: int = 19

    def __post_init__(self) -> None:
        if not 1 <= self.first <= self.last:
            raise ConfigError(f"depths {self.first} to {self.last}: expected 1 <= first <= last")


@final
class Remembered(Reranker):
    """A reranker whose scores were computed before: a table ``[text, video]``, read by row numbers.

    :meth:`rows` makes the features that stand for those numbers.
    """

    name = "remembered"

    def __init__(self, table: Float[Tensor, "text video"], fusion: Fusion) -> None:
        super().__init__()
        self.table = table
        self._fusion = fusion

    @property
    def fusion(self) -> Fusion:
        """That of the reranker whose scores these are."""
        return self._fusion

    def rows(self) -> tuple[TextFeatures, VideoFeatures]:
        """A text for every row of the table and a video for every column: embeddings that are its number."""
        texts, videos = (torch.arange(count, dtype=torch.float64)[:, None] for count in self.table.shape)
        mask = torch.ones(len(videos), 1, dtype=torch.bool)
        return TextFeatures(sentence=texts), VideoFeatures(frame=videos[:, :, None], frame_mask=mask)

    def forward(
        self, text: TextFeatures, video: VideoFeatures, pairs: Int64[Tensor, "pair 2"]
    ) -> Float[Tensor, " pair"]:
        """What was computed for the pairs."""
        row = text.sentence[pairs[:, 0], 0].long()
        column = video.frame[pairs[:, 1], 0, 0].long()
        return self.table[row, column]


def measure_depth(bench: Bench, config: DepthConfig) -> Outcome:
    """Recall and mean rank against the number of candidates that are reranked."""
    axis = tuple(range(config.first, config.last + 1))
    points: dict[str, Any] = {}
    for name, model in bench.models.items():
        if model.reranker is None:
            raise InputError(
                f"{name} has no reranker; this experiment needs a model with one, such as CrossTVR"
            )
        points[name] = bench.points.at(name, lambda name=name: _measure(bench, name, axis))
    several = len(points) > 1
    series: list[Series] = []
    for name, point in points.items():
        for label, k in (("R@1", 1), ("R@5", 5), ("R@10", 10)):
            values = [row["recall"][str(k)] for row in point["depths"]]
            series.append(
                Series(
                    name=label,
                    values=tuple(value for value, _, _ in values),
                    low=tuple(low for _, low, _ in values),
                    high=tuple(high for _, _, high in values),
                    panel=f"{name}: recall, %" if several else "",
                )
            )
        for label, k in (("R@1", 1), ("R@5", 5), ("R@10", 10)):
            series.append(
                Series(
                    name=f"{label}, first stage alone",
                    values=(point["first_stage"]["recall"][str(k)][0],) * len(axis),
                    reference=True,
                    panel=f"{name}: recall, %" if several else "",
                )
            )
    rows = tuple(
        (name, depth, *(row["recall"][k][0] for k in ("1", "5", "10")), row["mean_rank"])
        for name, point in points.items()
        for depth, row in zip(("first stage", *axis), (point["first_stage"], *point["depths"]), strict=True)
    )
    said: list[str] = []
    for name, point in points.items():
        best = max(range(len(axis)), key=lambda i: point["depths"][i]["recall"]["5"][0])
        said.append(
            f"{name}: R@5 is best at K = {axis[best]} ({point['depths'][best]['recall']['5'][0]:.1f}, first stage"
            f" {point['first_stage']['recall']['5'][0]:.1f}); a pair takes {1e3 * point['pair_s']:.2f} ms"
        )
    return Outcome(
        x_label="K, candidates that are reranked",
        x_values=axis,
        y_label="recall, text to video, %",
        series=tuple(series),
        tables=(
            Table(
                title="Text to video, by candidates reranked",
                columns=("model", "K", "R@1", "R@5", "R@10", "mean rank"),
                rows=rows,
            ),
        ),
        shows=". ".join(said) + ".",
    )


def _measure(bench: Bench, name: str, axis: tuple[int, ...]) -> dict[str, Any]:
    reranker = bench.models[name].reranker
    assert reranker is not None
    coarse = bench.coarse(name)
    text, video = bench.reranked(name)
    deepest = min(axis[-1], coarse.shape[1])
    started = time.perf_counter()
    # The reranker's own scores of all pairs that any depth can ask for, and a constant elsewhere.
    table = rerank_similarity(
        coarse, reranker, text, video, depth=deepest, fusion=Fusion(weight=1.0, coarse_scale=0.0), tail="fill"
    )
    seconds = time.perf_counter() - started
    remembered = Remembered(table, reranker.fusion)
    text, video = remembered.rows()

    def row(similarity: Tensor) -> dict[str, Any]:
        found = bench.found(similarity)
        return {
            "recall": {str(k): recall_with_interval(found, k, seed=bench.seed) for k in (1, 5, 10)},
            "mean_rank": float(found.mean()),
        }

    return {
        "first_stage": row(coarse),
        "depths": [row(rerank_similarity(coarse, remembered, text, video, depth=k)) for k in axis],
        "pair_s": seconds / (len(coarse) * deepest),
    }
