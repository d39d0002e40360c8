"""Measured points kept on disk, so that an interrupted experiment goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...errors import InputError

__all__ = ["Points"]


class Points:
    """Points of one experiment by name; a file of other settings is started anew.

    Args:
        path: a JSON file, written after every point.
        settings: all that decides a value.
        report: receives a line when kept points are found, and one for every new point.
    """

    def __init__(
        self, path: Path, settings: Mapping[str, Any], *, report: Callable[[str], None] | None = None
    ) -> None:
        self.path = path
        self._report = report or (lambda line: None)
        text = json.dumps(settings, sort_keys=True, default=str)
        self._hash = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        self._kept: dict[str, Any] = {}
        self.seconds = 0.0
        """Spent on points, in this run and in those that were interrupted."""
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["settings"] == self._hash:
                self._kept, self.seconds = dict(document["points"]), float(document["seconds"])
        except (OSError, ValueError, KeyError, TypeError):
            return  # nothing there, or nothing of use
        if self._kept:
            self._report(f"going on after {len(self._kept)} points kept in {str(path)!r}")

    def at(self, name: str, measure: Callable[[], Any]) -> Any:
        """The value of a point, measured unless it is kept; a JSON value.

        Raises:
            InputError: the file cannot be written.
        """
        if name not in self._kept:
            started = time.monotonic()
            # As JSON has it, so that a resumed run computes with the very same values.
            self._kept[name] = json.loads(json.dumps(measure(), allow_nan=False))
            spent = time.monotonic() - started
            self.seconds += spent
            self._write()
            self._report(f"{name}: {spent:.1f} s")
        return self._kept[name]

    def forget(self) -> None:
        """Remove the file: the experiment is done."""
        self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        document = {"settings": self._hash, "seconds": self.seconds, "points": self._kept}
        unfinished = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_text(json.dumps(document), encoding="utf-8")
            os.replace(unfinished, self.path)
        except OSError as error:
            raise InputError(f"cannot write {str(self.path)!r}: {error.strerror or error}") from None
