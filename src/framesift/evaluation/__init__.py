"""Evaluation: the metrics of a matcher on a benchmark, and normalizations of a finished matrix."""

from __future__ import annotations

from .evaluate import Evaluation, evaluate, evaluate_similarity
from .normalization import Normalized, dual_softmax, inverted_softmax, qb_norm

__all__ = [
    "Evaluation",
    "Normalized",
    "dual_softmax",
    "evaluate",
    "evaluate_similarity",
    "inverted_softmax",
    "qb_norm",
]
