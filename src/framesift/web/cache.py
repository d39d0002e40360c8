"""Pictures and clips that were made once, kept on disk within a limit; each is made once however many ask for it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

__all__ = ["FileCache", "cache_key"]

STALE_S = 3600.0  # an unfinished file that was not written to for so long is of a server that was killed
KEEP_SHARE = 0.9  # of the limit is left after tidying up, so that it does not happen at every file


def cache_key(*parts: object) -> str:
    """A file name for whatever decides a file's content."""
    return hashlib.blake2b(repr(parts).encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()


class FileCache:
    """Files by key in one folder, the ones unused longest removed when there are too many bytes.

    Several servers may share a folder: files come by renaming and a missing one is made again. Each counts its own.

    Args:
        folder: made if it is missing.
        max_bytes: of all files together.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = threading.Lock()
        self._making: dict[str, asyncio.Task[Path]] = {}
        self._bytes = 0
        self._tidy()

    @property
    def size_bytes(self) -> int:
        """What the files take."""
        return self._bytes

    async def get(self, key: str, suffix: str, make: Callable[[Path], Awaitable[None]]) -> Path:
        """The file of a key.

        Args:
            key: as of :func:`cache_key`.
            suffix: of the file's name, with its dot.
            make: writes the file to the path that it is given.
        """
        path = self._folder / f"{key}{suffix}"
        try:
            os.utime(path)  # used now
            return path
        except FileNotFoundError:
            pass
        task = self._making.get(path.name)
        if task is None:
            task = asyncio.create_task(self._make(path, make))
            self._making[path.name] = task
            task.add_done_callback(lambda _: self._making.pop(path.name, None))
        return await asyncio.shield(task)  # who goes away does not take it from the others

    async def _make(self, path: Path, make: Callable[[Path], Awaitable[None]]) -> Path:
        unfinished = path.with_name(f".{os.getpid()}-{path.name}")
        try:
            await make(unfinished)
            size = unfinished.stat().st_size
            unfinished.rename(path)
        finally:
            with suppress(FileNotFoundError):
                unfinished.unlink()
        self._bytes += size
        if self._bytes > self._max_bytes:
            await asyncio.to_thread(self._tidy)
        return path

    def _tidy(self) -> None:
        """Count the files, and remove those unused longest if they are too many."""
        with self._lock:
            files: list[tuple[float, int, str]] = []
            for entry in os.scandir(self._folder):
                with suppress(FileNotFoundError):
                    facts = entry.stat(follow_symlinks=False)
                    if entry.name.startswith(".") and time.time() - facts.st_mtime > STALE_S:
                        os.unlink(entry.path)
                        continue
                    files.append((facts.st_mtime, facts.st_size, entry.path))
            total = sum(size for _, size, _ in files)
            if total > self._max_bytes:
                for _, size, path in sorted(files):
                    if total <= KEEP_SHARE * self._max_bytes:
                        break
                    with suppress(FileNotFoundError):
                        os.unlink(path)
                    total -= size
            self._bytes = total
