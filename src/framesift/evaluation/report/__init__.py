"""The report: result files, training logs and examples of attention as one HTML page that works offline.

``framesift report`` is the command. What each kind of result file holds is written down in ``docs/results.md``.
"""

from __future__ import annotations

from .attention import attention_examples, chosen_examples, true_frames
from .page import render_report, write_report
from .training import TrainingLog, read_logs

__all__ = [
    "TrainingLog",
    "attention_examples",
    "chosen_examples",
    "read_logs",
    "render_report",
    "true_frames",
    "write_report",
]
