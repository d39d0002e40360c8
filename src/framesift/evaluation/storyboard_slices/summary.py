"""From the answers of all models to the tables of a result file.

A system's number is the mean over its seeds. Its interval resamples queries and takes all seeds of a query together (of
the captions of one video, and of the two texts of a pair, too), so it tells how much the choice of queries matters; the
standard deviation tells how much the seed does. Two systems are compared on the same queries, each seed with the same
seed of the other, or with the only one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...metrics import Metrics, summarise
from ...storyboard import IOU_THRESHOLDS, PairedSlice, Slice
from ..seeds import OverSeeds
from ..significance import (
    Difference,
    bootstrap_interval,
    metric_intervals,
    paired_differences,
    sign_flip,
)
from .answers import Answered
from .runs import FAMILY, references

__all__ = ["summarise_slice"]

RECALL_AT = (1, 5, 10)
KEYS = {"R@1": "r1", "R@5": "r5", "R@10": "r10", "MdR": "mdr", "MnR": "mnr"}
HEADLINES = ("t2v_r1", "t2v_pair", "v2t_pair")  # listed once more as pairs of systems

Values = NDArray[np.float64]


def summarise_slice(
    gallery: Slice, answered: Mapping[str, Sequence[Answered]], *, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """One slice of a result file: what it is, every system on it, and paired differences.

    Args:
        answered: system's folder -> its seeds.
        notes: what a reader must know of the slice.
    """
    clusters = _clusters(gallery)
    systems: dict[str, Any] = {}
    differences: list[dict[str, Any]] = []
    for system, seeds in answered.items():
        name = FAMILY.get(system, system)
        systems[name] = _system(seeds, clusters)
        against: dict[str, Any] = {}
        for other in references(system):
            compared = _against(answered.get(other, ()), seeds, clusters)
            if compared:
                against[FAMILY.get(other, other)] = {key: one.to_dict() for key, one in compared.items()}
            for key in HEADLINES:
                if key in compared:
                    found = {"first": FAMILY.get(other, other), "second": name, "metric": key}
                    differences.append({**found, **compared[key].to_dict()})
        if against:
            systems[name]["against"] = against
    several = len(gallery.captions) > len(set(gallery.owners))
    return {
        "split": {
            "benchmark": "storyboard",
            "split": "test",
            "slice": gallery.name,
            "protocol": "all-captions"
            if several
            else "paragraph"
            if gallery.name == "paragraph"
            else "one-caption",
            "videos": len(gallery.videos),
            "captions": len(gallery.captions),
            "several_answers": int((gallery.relevance.sum(axis=1) > 1).sum()),
            "content_hash": gallery.content_hash,
            "notes": list(notes),
        },
        "systems": systems,
        "differences": differences,
    }


def _system(seeds: Sequence[Answered], clusters: Mapping[str, NDArray[np.int64]]) -> dict[str, Any]:
    values = [_values(one) for one in seeds]
    summary = {key: OverSeeds.of([own[key] for own in values]) for key in values[0]}
    ends: dict[str, tuple[float, float]] = {}
    for way, ranks in seeds[0].ranks.items():
        group = _pooled(clusters[way], len(ranks), len(seeds))
        drawn = metric_intervals(
            np.concatenate([one.ranks[way] for one in seeds]), clusters=group, recall_at=RECALL_AT
        )
        ends |= {f"{way}_{KEYS[name]}": interval for name, interval in drawn.items()}
    for key, hits_of in _shares(seeds[0]).items():
        hits = [hits_of(one) for one in seeds]
        group = _pooled(clusters[_way(key)], len(hits[0]), len(seeds))
        ends[key] = bootstrap_interval(np.concatenate(hits), clusters=group)
    return {
        "seeds": [_seed(one) for one in seeds],
        "mean": {key: one.mean for key, one in summary.items()},
        "sd": {key: one.sd for key, one in summary.items() if one.sd is not None},
        "low": {key: low for key, (low, _) in ends.items()},
        "high": {key: high for key, (_, high) in ends.items()},
        "seed_low": {key: one.low for key, one in summary.items() if one.low is not None},
        "seed_high": {key: one.high for key, one in summary.items() if one.high is not None},
    }


def _seed(one: Answered) -> dict[str, Any]:
    plain: dict[str, Any] = {"seed": one.seed, "fingerprint": one.fingerprint, "seconds": one.seconds}
    if one.rerank_depth is not None:
        plain["rerank_depth"] = one.rerank_depth
    for way, metrics in _metrics(one).items():
        plain[way] = {**metrics.to_dict(), "tied_queries": one.tied[way]}
    if one.choices:
        plain["pair_accuracy"] = {way: 100 * float(np.mean(hits)) for way, hits in one.choices.items()}
    if one.overlaps:
        plain["moments"] = {
            where: {f"{least:g}": 100 * float(np.mean(np.array(iou) >= least)) for least in IOU_THRESHOLDS}
            for where, iou in one.overlaps.items()
        }
    return plain


def _metrics(one: Answered) -> dict[str, Metrics]:
    return {
        way: summarise(
            torch.tensor(ranks, dtype=torch.float64),
            ties="pessimistic",
            direction="t2v" if way == "t2v" else "v2t",
        )
        for way, ranks in one.ranks.items()
    }


def _values(one: Answered) -> dict[str, float]:
    """Every metric by its key: ``t2v_r1``, ``v2t_mnr``, ``t2v_pair``, ``moment_video_0.5`` and so on."""
    found: dict[str, float] = {}
    for way, metrics in _metrics(one).items():
        found |= {f"{way}_r{k}": metrics.recall_at[k] for k in RECALL_AT}
        found |= {f"{way}_mdr": metrics.median_rank, f"{way}_mnr": metrics.mean_rank}
    return found | {key: 100 * float(hits_of(one).mean()) for key, hits_of in _shares(one).items()}


def _shares(like: Answered) -> dict[str, Callable[[Answered], Values]]:
    """What is a mean over queries, besides ranks: key -> how right each query was answered, 0 to 1."""
    found: dict[str, Callable[[Answered], Values]] = {}
    for way in like.choices:
        found[f"{way}_pair"] = lambda one, way=way: np.array(one.choices[way])
    for where in like.overlaps:
        for least in IOU_THRESHOLDS:
            found[f"moment_{where}_{least:g}"] = lambda one, where=where, least=least: (
                np.array(one.overlaps[where]) >= least
            ).astype(np.float64)
    return found


def _against(
    first: Sequence[Answered], second: Sequence[Answered], clusters: Mapping[str, NDArray[np.int64]]
) -> dict[str, Difference]:
    """Differences of all metrics, second minus first; nothing where no seeds belong together."""
    by_seed = {one.seed: one for one in first}
    pairs = [
        (by_seed[two.seed] if two.seed in by_seed else first[0], two)
        for two in second
        if two.seed in by_seed or len(first) == 1
    ]
    if not pairs:
        return {}
    found: dict[str, Difference] = {}
    for way in pairs[0][0].ranks:
        if any(way not in one.ranks for pair in pairs for one in pair):
            continue
        a, b = (np.concatenate([pair[side].ranks[way] for pair in pairs]) for side in (0, 1))
        group = _pooled(clusters[way], len(pairs[0][0].ranks[way]), len(pairs))
        made = paired_differences(a, b, clusters=group, recall_at=RECALL_AT)
        found |= {f"{way}_{KEYS[name]}": one for name, one in made.items()}
    for key, hits_of in _shares(pairs[0][0]).items():
        change = np.stack([hits_of(two) - hits_of(one) for one, two in pairs])
        group = _pooled(clusters[_way(key)], change.shape[1], len(pairs))
        low, high = bootstrap_interval(change.ravel(), clusters=group)
        found[key] = Difference(
            value=100 * float(change.mean()),
            low=low,
            high=high,
            p=sign_flip(change.ravel(), clusters=group),
            n=change.size,
        )
    return found


def _clusters(gallery: Slice) -> dict[str, NDArray[np.int64]]:
    """Which queries were drawn together, by direction: texts of one video; of a paired slice, of one pair."""
    together = 2 if isinstance(gallery, PairedSlice) else 1
    videos = np.flatnonzero(gallery.relevance.any(axis=0))
    return {"t2v": np.asarray(gallery.owners) // together, "v2t": videos // together}


def _pooled(clusters: NDArray[np.int64], queries: int, seeds: int) -> NDArray[np.int64] | None:
    """Clusters of the answers of several seeds, one after the other; None where every answer stands alone."""
    assert len(clusters) == queries
    alone = seeds == 1 and len(np.unique(clusters)) == queries
    return None if alone else np.tile(clusters, seeds)


def _way(key: str) -> str:
    """Whose queries a share is of; moments are searched by text."""
    return "v2t" if key.startswith("v2t") else "t2v"
