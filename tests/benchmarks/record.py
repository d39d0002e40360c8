"""Where a benchmark's numbers come from, where they are kept, and how much memory a process took for them."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import psutil
import torch

__all__ = ["PeakMemory", "keep", "machine"]


def machine() -> dict[str, Any]:
    """Processor, memory, versions and commit."""
    names = [
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "commit": commit.stdout.strip(),
    }


def keep(result: Mapping[str, Any], path: Path | None) -> None:
    """Print what was measured as JSON; and write it to a file, in a folder that is made if need be. None: no file."""
    text = json.dumps(result, indent=2)
    print(text)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")


class PeakMemory:
    """Context manager that watches a process and its children: the most memory that they had at once.

    ``peak_bytes`` is the proportional set size (PSS), in which shared pages count once; it is polled, so that
    what comes and goes within ``every_s`` seconds may be missed.
    """

    def __init__(self, pid: int, *, every_s: float = 0.05) -> None:
        self.peak_bytes = 0
        self._process = psutil.Process(pid)
        self._every_s = every_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(self._every_s):
            total = 0
            try:
                family = [self._process, *self._process.children(recursive=True)]
            except psutil.Error:
                return
            for one in family:
                try:
                    total += one.memory_full_info().pss
                except psutil.Error:
                    continue  # it has just ended
            self.peak_bytes = max(self.peak_bytes, total)
