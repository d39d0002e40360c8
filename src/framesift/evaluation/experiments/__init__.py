"""Experiments as commands: each asks one question of a paper, and answers with numbers, a picture and a page.

::

    framesift experiment                      # which there are
    framesift experiment xpool-figure-3a      # results/xpool-figure-3a.json, .png and .md
"""

from __future__ import annotations

from .crosstvr_ablations import variants
from .outcome import Experiment, Outcome, Series, Table
from .registry import EXPERIMENTS
from .run import run_experiment

__all__ = ["EXPERIMENTS", "Experiment", "Outcome", "Series", "Table", "run_experiment", "variants"]
