"""All systems on all slices of Storyboard: ``python -m framesift.evaluation.storyboard_slices --runs RUNS``.

Trained models are found in folders (:mod:`.runs`), every gallery is rendered and encoded once for all of them
(:mod:`.features`), each model answers every query (:mod:`.answers`, :mod:`.windows`), and the answers of all seeds
become one result file (:mod:`.summary`) and a picture of it (:mod:`.plot`).
"""

from __future__ import annotations

from .answers import Answered, answer
from .features import Features
from .runs import FAMILY, Run, find_runs, load_runs
from .summary import summarise_slice
from .windows import Windows

__all__ = [
    "FAMILY",
    "Answered",
    "Features",
    "Run",
    "Windows",
    "answer",
    "find_runs",
    "load_runs",
    "summarise_slice",
]
