"""Converted towers on disk, so that only the first process that needs one waits for its conversion.

An entry is a directory with the network (``model.xml``, ``model.bin``) and ``facts.json``, which has their hashes. It
is written beside its place and then moved there; what is damaged is deleted and made again. The entries together stay
within a bound: those unused longest go first. Everything here can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["STORE_BYTES", "CompiledStore", "store_folder"]

STORE_BYTES = 6 * 2**30
"""Most that all entries take: ten encoders of the size of CLIP ViT-B/32, or two of ViT-L/14."""

_FACTS = "facts.json"
_FILES = ("model.xml", "model.bin")
_DRAFT = ".draft-"
_STALE_S = 3600.0  # a draft that is older was left by a process that was killed


def store_folder() -> Path:
    """Where they are kept: ``$XDG_CACHE_HOME/framesift/encoders``, or below ``~/.cache``."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "framesift" / "encoders"


class CompiledStore:
    """Directory of entries, shared by any number of processes.

    Args:
        folder: where; made when something is kept.
        most_bytes: bound of all entries together.
    """

    def __init__(self, folder: Path | None = None, *, most_bytes: int = STORE_BYTES) -> None:
        self.folder = store_folder() if folder is None else folder
        self._most_bytes = most_bytes

    def find(self, key: str) -> Path | None:
        """The ``model.xml`` of an entry, or None where there is none. A damaged one is deleted."""
        entry = self.folder / key
        if not entry.is_dir():
            return None
        try:
            hashes = json.loads((entry / _FACTS).read_text(encoding="utf-8"))["sha256"]
            whole = all(_sha256(entry / name) == hashes[name] for name in _FILES)
        except (OSError, ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            self.drop(key)
            return None
        with suppress(OSError):  # a cache that cannot be written to is still good to read
            os.utime(entry)
        return entry / _FILES[0]

    def keep(self, key: str, write: Callable[[Path], None], facts: dict[str, Any]) -> Path:
        """Make an entry; ``write`` makes ``model.xml``, whose path it gets, and ``model.bin`` beside it.

        Returns:
            The entry's ``model.xml``, another process's where that was faster.

        Raises:
            OSError: it cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=self.folder))
        try:
            write(draft / _FILES[0])
            document = {**facts, "sha256": {name: _sha256(draft / name) for name in _FILES}}
            (draft / _FACTS).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
            entry = self.folder / key
            with suppress(OSError):  # it is there: made meanwhile by another process from the same weights
                draft.rename(entry)
            if not entry.is_dir():
                raise OSError(f"{str(entry)!r} cannot be made")
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        self._make_room(besides=key)
        return entry / _FILES[0]

    def drop(self, key: str) -> None:
        """Delete an entry, if it is there; under another name first, so that nobody finds half of it."""
        aside = self.folder / f"{_DRAFT}{os.getpid()}-{key}"
        with suppress(OSError):
            (self.folder / key).rename(aside)
        shutil.rmtree(aside, ignore_errors=True)

    def _make_room(self, *, besides: str) -> None:
        entries: list[tuple[float, int, str]] = []
        for path in self.folder.iterdir():
            with suppress(OSError):  # it is being deleted by another process
                used = path.stat().st_mtime
                if path.name.startswith(_DRAFT):
                    if used < (self.folder / besides).stat().st_mtime - _STALE_S:
                        shutil.rmtree(path, ignore_errors=True)
                elif (path / _FACTS).is_file():  # reports of the gate lie here, too
                    entries.append((used, sum(file.stat().st_size for file in path.iterdir()), path.name))
        excess = sum(size for _, size, _ in entries) - self._most_bytes
        for _, size, name in sorted(entries):
            if excess <= 0:
                return
            if name != besides:
                self.drop(name)
                excess -= size


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
