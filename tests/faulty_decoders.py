"""Decoders that misbehave, by name of the file; workers import them by name."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from framesift.video import Frames, decode


def misbehave(path: str, sampler: Any, *, transform: Any = None) -> Frames:
    """Do what the file name says before decoding."""
    match Path(path).stem:
        case "exit":
            os._exit(7)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "abort":
            print("noise of a library", file=sys.stderr)
            os.abort()
        case "hang":
            time.sleep(600)
        case "raise":
            raise ZeroDivisionError("oops")
        case "memory":
            np.ones(64 * 2**30, dtype=np.uint8)
    return decode(path, sampler, transform=transform)


def pid(path: str, sampler: Any, *, transform: Any = None) -> Frames:
    """The worker's process id, as a time."""
    return Frames(np.zeros((1, 1, 1, 3), dtype=np.uint8), np.array([float(os.getpid())]), path)


def tiny(pixels: np.ndarray) -> np.ndarray:
    return pixels[:8, :8]


def threads(path: str, sampler: Any, *, transform: Any = None) -> Frames:
    """The number of threads that the worker's numerical libraries may start, as a time."""
    count = float(os.environ.get("OMP_NUM_THREADS", "nan"))
    return Frames(np.zeros((1, 1, 1, 3), dtype=np.uint8), np.array([count]), path)
