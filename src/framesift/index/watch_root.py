"""A folder that is followed: what in it is wanted, what was seen there, and whether it is the same folder still."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Literal

from ..video.subtitles import is_sidecar_name
from .files import is_video_name, lies_in, vanished
from .patterns import Patterns, Selection

__all__ = ["Facts", "WatchRoot", "facts_of"]

Facts = tuple[int, int]
"""Size in bytes and modification time in ns of a file."""


class WatchRoot:
    """A file or folder that was given, and which files were seen in it."""

    def __init__(self, path: str, is_folder: bool, patterns: Patterns) -> None:
        self.path = path
        self.is_folder = is_folder
        self._prefix = os.path.join(path, "")
        self.patterns = patterns
        self._selection = Selection(path, patterns)
        self.seen: dict[str, Facts] = {}
        self._devices: dict[str, int] = {}
        self._identity = self._identify()

    def look(self) -> Literal["same", "lost", "back"]:
        """Whether it is there as it was at the last call; a disk that was mounted over it is another folder."""
        before, self._identity = self._identity, self._identify()
        if self._identity == before:
            return "same"
        return "lost" if self._identity is None else "back"

    @property
    def is_there(self) -> bool:
        return self._identity is not None

    def _identify(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self.path)
            if self.is_folder:
                os.scandir(self.path).close()
        except OSError:
            return None
        return (status.st_dev, status.st_ino) if self.is_folder else (0, 0)

    def holds(self, path: str) -> bool:
        """Whether a path is the root or lies in it."""
        return lies_in(path, self.path) if self.is_folder else path == self.path

    def wants(self, path: str) -> bool:
        """Whether a path is a video or a subtitle file that is to be followed."""
        if path == self.path:
            return True
        if any(part.startswith(".") for part in path[len(self._prefix) :].split(os.sep)):
            return False
        if is_sidecar_name(path):
            return True  # patterns are about videos
        return is_video_name(*os.path.split(path)) and self._selection.takes(path)

    def scan(self) -> dict[str, Facts]:
        """All that is to be followed, as it is now."""
        # anew: which .framesiftignore files are there may have changed
        self._selection = Selection(self.path, self.patterns)
        if not self.is_folder:
            facts = facts_of(self.path)
            return {} if facts is None else {self.path: facts}
        found: dict[str, Facts] = {}
        for parent, names in self._selection.walk():
            for name in names:
                path = os.path.join(parent, name)
                wanted = is_sidecar_name(name) or (
                    is_video_name(parent, name) and self._selection.takes_file(path)
                )
                if wanted and (facts := facts_of(path)) is not None:
                    found[path] = facts
        return found

    def note(self, path: str, facts: Facts | None) -> None:
        """Remember that a path was seen, or seen no more."""
        if facts is None:
            self.seen.pop(path, None)
            return
        self.seen[path] = facts
        folder = os.path.dirname(path)
        if folder not in self._devices:
            with suppress(OSError):
                self._devices[folder] = os.stat(folder).st_dev

    def knows_folder(self, path: str) -> bool:
        """Whether files were seen in a folder."""
        return path in self._devices

    def was_deleted(self, path: str) -> bool:
        """Whether a path that was seen is gone, and did not go with a disk that was mounted below this root."""
        if path not in self.seen or not vanished(path):
            return False
        folder = os.path.dirname(path)
        device = self._devices.get(folder)
        while vanished(folder):
            folder = os.path.dirname(folder)
        try:
            return os.stat(folder).st_dev == device
        except OSError:
            return False

    def forget(self) -> None:
        """Begin anew: what is not there at the next scan was not deleted."""
        self.seen.clear()
        self._devices.clear()


def facts_of(path: str) -> Facts | None:
    """None for what is not there, cannot be looked at, or is a folder."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return None if os.path.isdir(path) else (status.st_size, status.st_mtime_ns)
