"""Negative terms: things that some videos show beside what is asked for, and others do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...search.terms import STANDS_OUT, combine, standardised
from ...storyboard import Storyboard
from ..significance import bootstrap_interval
from .galleries import Seen, article, shown_things

__all__ = ["auc", "average_precision", "measure_exclusion"]

FIRST = 10  # results that a page shows
FEWEST = 2  # videos that show the wanted thing alone
Scores = NDArray[np.float64]


def measure_exclusion(galleries: dict[str, Seen], videos: Sequence[Storyboard]) -> dict[str, Any]:
    """For "a red circle -(a blue square)": average precision of videos with the one and without the other; of the first
    ten results how many show what was excluded; how often a wanted video stands before one with both; and how much the
    videos that do not show what was excluded are reordered (correlation of their ranks, 1: not at all)."""
    things = [shown_things(video) for video in videos]
    asked = _questions(things)
    names = sorted({name for pair in asked for name in pair})
    rows: dict[str, Any] = {}
    for model, own in galleries.items():
        each = dict(zip(names, own.similarity(map(article, names)).double().numpy(), strict=True))
        said = (
            own.similarity([f"{article(one)} without {article(other)}" for one, other in asked])
            .double()
            .numpy()
        )
        values: dict[str, list[tuple[float, ...]]] = {}
        for (wanted, barred), sentence in zip(asked, said, strict=True):
            has = np.array([wanted in own_things for own_things in things])
            bad = np.array([barred in own_things for own_things in things])
            pair = np.stack([each[wanted], each[barred]])
            plain, other = standardised(pair, pair)
            ways = {
                "without the negative term": plain,
                '"... without ..." in the sentence': sentence,
                "minus the standardised score": plain - other,
                "minus half of it": plain - other / 2,
                "calibrated exclusion": combine([1.0, -1.0], pair, pair),
            } | {
                f"exclusion beyond {least:g} deviations": plain - np.maximum(other - least, 0.0)
                for least in (0.0, 1.0, 1.5)
                if least != STANDS_OUT
            }
            for label, scores in ways.items():
                order = np.argsort(-scores, kind="stable")
                values.setdefault(label, []).append(
                    (
                        100 * average_precision(scores, has & ~bad),
                        100 * float((has & bad)[order[:FIRST]].mean()),
                        100 * auc(scores[has & ~bad], scores[has & bad]),
                        float(np.corrcoef(_places(plain[~bad]), _places(scores[~bad]))[0, 1]),
                    )
                )
        told = {label: np.array(parts) for label, parts in values.items()}
        before = told["without the negative term"]
        rows[model] = {
            label: {
                "ap": float(found[:, 0].mean()),
                "ap_gain": _change(found[:, 0] - before[:, 0]),
                "barred_in_first_ten": float(found[:, 1].mean()),
                "barred_change": _change(found[:, 1] - before[:, 1]),
                "in_order": float(found[:, 2].mean()),
                "order_kept": float(found[:, 3].mean()),
            }
            for label, found in told.items()
        }
    return {"videos": len(videos), "questions": len(asked), "models": rows}


def auc(positive: Scores, negative: Scores) -> float:
    """How often a positive score is above a negative one; a tie counts as half."""
    ordered = np.sort(negative)
    below, upto = np.searchsorted(ordered, positive, "left"), np.searchsorted(ordered, positive, "right")
    return float((below + upto).mean() / (2 * len(negative)))


def average_precision(scores: Scores, relevant: NDArray[np.bool_]) -> float:
    """Mean of the precision at every relevant row."""
    hits = relevant[np.argsort(-scores, kind="stable")]
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


def _questions(things: Sequence[set[str]]) -> list[tuple[str, str]]:
    """What is wanted and what is barred: for every thing the two that it is seen with most often."""
    found: list[tuple[str, str]] = []
    for wanted in sorted(set().union(*things)):
        showing = [own for own in things if wanted in own]
        beside = Counter(other for own in showing for other in sorted(own) if other != wanted)
        found += [(wanted, other) for other, count in beside.most_common(2) if len(showing) - count >= FEWEST]
    return found


def _places(scores: Scores) -> NDArray[np.int64]:
    return np.argsort(np.argsort(scores, kind="stable"))


def _change(differences: Scores) -> dict[str, float]:
    low, high = bootstrap_interval(differences / 100)
    return {"value": float(differences.mean()), "low": low, "high": high}
