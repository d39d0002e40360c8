"""Is the answer there at all? Captions whose videos are in the gallery, or were taken out of it; and everyday
sentences, of which a gallery of drawn shapes shows nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...search.calibration import THRESHOLD, Luck, Neutral, expected_maximum, nothing_fits, relevance
from ...search.neutral import EVERYDAY, neutral_texts
from ...search.terms import SAMPLE
from ...storyboard import Slice
from .exclusion import auc
from .galleries import Seen

__all__ = ["measure_absence"]

SIZES = (40, 100, 400)
Scores = NDArray[np.float64]


def measure_absence(galleries: dict[str, Seen], gallery: Slice, *, seed: int = 0) -> dict[str, Any]:
    """AUC of signals that tell answered queries from others, over galleries of several sizes and in each of them; and
    what the threshold that is shipped makes of them."""
    rows = {name: _of_model(own, gallery, seed=seed) for name, own in galleries.items()}
    return {"videos": len(gallery.videos), "sizes": _sizes(gallery), "threshold": THRESHOLD, "models": rows}


def _sizes(gallery: Slice) -> list[int]:
    return [size for size in SIZES if size < len(gallery.videos)]


def _of_model(own: Seen, gallery: Slice, *, seed: int) -> dict[str, Any]:
    dice = np.random.default_rng(seed)
    texts = own.similarity(gallery.texts).double().numpy()
    banks = {
        "neutral": own.similarity(neutral_texts(own.model)).double().numpy(),
        "everyday": own.similarity(EVERYDAY).double().numpy(),
    }
    signals: dict[str, dict[str, list[float]]] = {}
    empty: dict[str, list[bool]] = {"there": [], "taken out": [], "everyday": []}
    known: dict[str, list[int]] = {kind: [] for kind in empty}

    def ask(scores: Scores, kind: str, size: int, prior: Scores) -> None:
        """One query in one gallery; ``prior``: mean of the neutral sentences for every row."""
        sample = dice.choice(len(scores), min(SAMPLE, len(scores)), replace=False)
        told = {name: bank[:, columns][:, sample] for name, bank in banks.items()}
        chance = {
            name: Neutral(best=part.max(axis=1), deviation=part.std(axis=1), sample=len(sample)).luck(
                scores[sample], size
            )
            for name, part in told.items()
        }
        best = _deviations(scores, scores[sample])
        own_prior = scores - prior
        ordered = np.sort(scores)[::-1]
        values = {
            "similarity": float(scores.max()),
            "deviations above the mean": best,
            "beyond the best of n normal scores": best - expected_maximum(size),
            "gap to the second": float(ordered[0] - ordered[1]),
            "less every row's mean for neutral sentences": float(own_prior.max()),
            "beyond the luck of everyday sentences": _beyond(best, chance["everyday"]),
            "beyond the luck of neutral sentences": _beyond(best, chance["neutral"]),
        }
        for label, value in values.items():
            signals.setdefault(label, {}).setdefault(kind, []).append(value)
        known[kind].append(size)
        empty[kind].append(nothing_fits(scores, scores[sample], size, chance["neutral"]))

    for size in _sizes(gallery):
        for query in range(len(texts)):
            wrong = np.flatnonzero(~gallery.relevance[query])
            drawn = dice.choice(wrong, min(size, len(wrong)), replace=False)
            for kind in ("there", "taken out"):
                columns = drawn if kind == "taken out" else np.append(drawn[:-1], gallery.owners[query])
                ask(texts[query, columns], kind, len(columns), banks["neutral"][:, columns].mean(axis=0))
        for sentence in banks["everyday"]:
            columns = dice.choice(len(sentence), size, replace=False)
            ask(sentence[columns], "everyday", size, banks["neutral"][:, columns].mean(axis=0))
    sizes = {kind: np.array(found) for kind, found in known.items()}
    rates = {kind: 100 * float(np.mean(found)) for kind, found in empty.items()}
    flagged = sum(map(sum, (empty["taken out"], empty["there"])))
    return {
        "auc": {
            label: {
                "taken_out": 100 * auc(np.array(of["there"]), np.array(of["taken out"])),
                "everyday": 100 * auc(np.array(of["there"]), np.array(of["everyday"])),
                "taken_out_by_size": {
                    str(size): 100
                    * auc(
                        np.array(of["there"])[sizes["there"] == size],
                        np.array(of["taken out"])[sizes["taken out"] == size],
                    )
                    for size in _sizes(gallery)
                },
            }
            for label, of in signals.items()
        },
        "said_empty": rates,
        "precision": 100 * sum(empty["taken out"]) / flagged if flagged else None,
        "recall": rates["taken out"],
        "tiny": relevance(texts[0, :20], texts[0, :20], 20) is None,
    }


def _deviations(scores: Scores, sample: Scores) -> float:
    return float((scores.max() - sample.mean()) / sample.std())


def _beyond(best: float, luck: Luck) -> float:
    return (best - luck.typical) / luck.spread
