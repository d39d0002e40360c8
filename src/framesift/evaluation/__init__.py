"""Evaluation: the metrics of a matcher on a benchmark, how sure they are, and whether they can be trusted."""

from __future__ import annotations

from .evaluate import Answers, Evaluation, evaluate, evaluate_similarity
from .leaks import Check, LeakReport, compare_permuted, find_leaks, suspicious
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
from .seeds import OverSeeds, summarise_seeds
from .significance import Difference, bootstrap_interval, metric_intervals, paired_differences

__all__ = [
    "Answers",
    "Check",
    "Column",
    "Difference",
    "Evaluation",
    "LeakReport",
    "Normalized",
    "OverSeeds",
    "bootstrap_interval",
    "compare_permuted",
    "dual_softmax",
    "dual_softmax_column",
    "evaluate",
    "evaluate_similarity",
    "find_leaks",
    "inverted_softmax",
    "inverted_softmax_column",
    "metric_intervals",
    "paired_differences",
    "qb_norm",
    "qb_norm_column",
    "summarise_seeds",
    "suspicious",
]
