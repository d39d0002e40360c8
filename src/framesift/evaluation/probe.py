"""Does a model use the order of frames at all? It is evaluated again with frames backwards, shuffled, or all the same.

A model that pools frames cannot tell, and its numbers do not move; a temporal one that does not move either has
learned nothing of time, or the benchmark asks nothing of it (CLIP4Clip's frame_order 0, 1 and 2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import DecodeError
from ..features import TextFeatures, VideoFeatures
from ..metrics import Ties
from ..similarity import Scores, similarity_matrix
from ..video import Frames
from .evaluate import Relevance, evaluate_similarity
from .gather import FRAME_ORDERS, FrameOrder, Searches, encode_clips
from .significance import Difference, bootstrap_interval, paired_differences

__all__ = ["Probed", "probe_orders", "temporal_probe"]

UNMOVED = 1e-5  # of the largest score: frames are summed in another order


@dataclass(frozen=True, kw_only=True)
class Probed:
    """A model on frames in one order.

    Attributes:
        t2v_r1: percent, with its 95 % interval in ``low`` and ``high``.
        difference: to the frames' own order, on the same queries; None for that order itself.
        largest: the largest change of a score. Changes that are rounding count as none.
    """

    order: FrameOrder
    t2v_r1: float
    low: float
    high: float
    difference: Difference | None
    largest: float

    def __str__(self) -> str:
        own = f"{self.order:<9} R@1 {self.t2v_r1:5.1f} ({self.low:.1f} to {self.high:.1f})"
        return own if self.difference is None else f"{own}, difference {self.difference}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def temporal_probe(
    model: Searches,
    frames: Iterable[Frames | DecodeError],
    texts: Sequence[str],
    relevance: Relevance | None = None,
    *,
    ties: Ties = "pessimistic",
    seed: int = 0,
) -> dict[FrameOrder, Probed]:
    """Encode videos with their frames in each order, and compare t2v R@1.

    Args:
        frames: of every video; one that cannot be read raises its error.
        relevance: which videos answer which texts; default: text i belongs to video i.
        seed: of the shuffled order and of the intervals.
    """

    def readable() -> Iterable[Frames]:
        for clip in frames:
            if isinstance(clip, DecodeError):
                raise clip
            yield clip

    encoded = encode_clips(model, readable(), orders=FRAME_ORDERS, seed=seed)
    text = model.encode_text(texts)
    return probe_orders(model.matcher, text, encoded.by_order, relevance=relevance, ties=ties, seed=seed)


def probe_orders(
    matcher: Scores,
    text: TextFeatures,
    by_order: Mapping[FrameOrder, VideoFeatures],
    *,
    relevance: Relevance | None = None,
    ties: Ties = "pessimistic",
    seed: int = 0,
) -> dict[FrameOrder, Probed]:
    """The same of features that are encoded already, the frames' own order (``normal``) among them."""
    own = similarity_matrix(matcher, text, by_order["normal"])
    base = evaluate_similarity(own, relevance=relevance, ties=ties)
    ranks, clusters = base.answers["t2v"].rank, base.answers["t2v"].video
    result: dict[FrameOrder, Probed] = {}
    for order, video in by_order.items():
        similarity = own if order == "normal" else similarity_matrix(matcher, text, video)
        largest = float((similarity - own).abs().max())
        moved = largest > UNMOVED * float(own.abs().max())
        done = evaluate_similarity(similarity, relevance=relevance, ties=ties) if moved else base
        found = done.answers["t2v"].rank
        low, high = bootstrap_interval(found <= 1, clusters=clusters, seed=seed)
        difference = None
        if order != "normal":
            difference = paired_differences(ranks, found, clusters=clusters, recall_at=(1,), seed=seed)["R@1"]
        result[order] = Probed(
            order=order,
            t2v_r1=done.t2v.recall_at[1],
            low=low,
            high=high,
            difference=difference,
            largest=largest if moved else 0.0,
        )
    return result
