"""Evaluation: the metrics of a matcher on a benchmark, and normalizations of a finished matrix."""

from __future__ import annotations

from .evaluate import Evaluation, evaluate, evaluate_similarity
from .normalization import (
    Column,
    Normalized,
    dual_softmax,
    dual_softmax_column,
    inverted_softmax,
    inverted_softmax_column,
    qb_norm,
    qb_norm_column,
)

__all__ = [
    "Column",
    "Evaluation",
    "Normalized",
    "dual_softmax",
    "dual_softmax_column",
    "evaluate",
    "evaluate_similarity",
    "inverted_softmax",
    "inverted_softmax_column",
    "qb_norm",
    "qb_norm_column",
]
