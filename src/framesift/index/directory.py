"""An index in a local directory: every commit is synced, and what a power failure tore is set aside (journal.py)."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Generator, Hashable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa

from ..errors import IndexLockedError, IndexStateError, InputError
from .durable import fsync_path, write_json
from .journal import (
    ASIDE,
    JOURNAL_NAME,
    TABLES,
    Journal,
    checksum,
    find_damage,
    manifests,
    newest_whole,
    open_table,
    recover,
    tables,
    tell,
)
from .lock import LOCK_NAME, WriterLock
from .place import Place
from .published import PUBLISHED_NAME, State
from .schema import META_NAME, MOMENTS_TABLE, VIDEOS_TABLE
from .subtitles import SUBTITLES_NAMES

__all__ = ["CACHE_NAME", "Directory"]

CACHE_NAME = "cache"
HINT = "latest_version_hint.json"  # the only file that Lance rewrites in place
RECOVERY_WAIT_S = 10.0  # another process that is restoring the index needs milliseconds

OWN_NAMES = {
    *(META_NAME, LOCK_NAME, JOURNAL_NAME, PUBLISHED_NAME, ASIDE, CACHE_NAME),
    *(f"{VIDEOS_TABLE}.lance", f"{MOMENTS_TABLE}.lance"),
    *SUBTITLES_NAMES,
}


class Directory(Place):
    """The place of an index on a local file system.

    Args:
        path: the directory, absolute.
    """

    refresh_s = 0.0
    compares = "size and checksum"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: dict[str, tuple[int, int]] | None = None

    @property
    def location(self) -> Path:
        return self.path

    def __repr__(self) -> str:
        return f"<Directory {self.path}>"

    # ---- documents

    def read(self, name: str) -> bytes | None:
        path = self.path / name
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise IndexStateError(f"cannot read {str(path)!r}: {error.strerror}") from error

    def write(self, name: str, document: Any, *, indent: int | None = None) -> None:
        path = self.path / name
        try:
            write_json(path, document, indent=indent)
        except OSError as error:
            raise IndexStateError(f"cannot write {str(path)!r}: {error.strerror or error}") from error

    def stamp(self, name: str) -> Hashable:
        try:
            facts = os.stat(self.path / name)
        except OSError:
            return None
        return facts.st_mtime_ns, facts.st_ino, facts.st_size

    # ---- tables

    def table(self, name: str, version: int | None = None) -> Any:
        return open_table(tables(self.path)[name], version)

    def make_table(self, name: str, schema: pa.Schema) -> None:
        path = tables(self.path)[name]
        shutil.rmtree(path, ignore_errors=True)
        lance.write_dataset(schema.empty_table(), path)

    def versions(self, name: str) -> list[int]:
        return list(manifests(tables(self.path)[name]))

    # ---- reading

    def check(self) -> State | None:
        """Where the newest commit is damaged, the last good state is restored, with a warning; on a medium that cannot
        be written to it is read instead."""
        if not newest_whole(self.path)[1]:
            return None
        deadline = time.monotonic() + RECOVERY_WAIT_S
        while True:
            try:
                with WriterLock(self.path):
                    recover(self.path)
                return None
            except IndexLockedError:  # whoever writes restores the index before anything else
                state, reason = newest_whole(self.path)
                if not reason:
                    return None
                if time.monotonic() > deadline:
                    return self._read_instead(state, reason)
                time.sleep(0.05)
            except IndexStateError:
                state, reason = newest_whole(self.path)
                return self._read_instead(state, reason) if reason else None

    def _read_instead(self, state: State, reason: str) -> State:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(state.time_s))
        tell(self.path, f"{reason}. The index cannot be written to; its state of {when} is read instead")
        return state

    def damage(self, state: State, journal: Journal, *, thorough: bool = False) -> str | None:
        options: dict[str, Any] = {"checked_bytes": None} if thorough else {}
        for name in TABLES:
            reason = find_damage(self.path, name, state.version(name), journal, **options)
            if reason is not None:
                return f"version {state.version(name)} of the table {name!r}: {reason}"
        return None

    def recoveries(self) -> int:
        try:
            return len(os.listdir(self.path / ASIDE))
        except OSError:
            return 0

    def size_bytes(self) -> int:
        total = 0
        for parent, _, names in os.walk(self.path):
            for name in names:
                with suppress(FileNotFoundError):  # a writer's temporary file
                    total += os.lstat(os.path.join(parent, name)).st_size
        return total

    # ---- writing

    def make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise IndexStateError(f"cannot create the index {str(self.path)!r}: {error.strerror}") from error

    def claim(self) -> None:
        path = self.path
        if os.path.exists(path / META_NAME):
            raise IndexStateError(
                f"there is an index at {str(path)!r} already; open it, or choose another directory"
            )
        if os.path.isdir(path):
            drafts = (f".{META_NAME}", f".{JOURNAL_NAME}")
            try:
                names = {name for name in os.listdir(path) if not name.startswith(drafts)}
            except OSError as error:
                raise IndexStateError(f"cannot read {str(path)!r}: {error.strerror}") from error
            foreign = sorted(names - OWN_NAMES)
            if foreign:
                raise InputError(
                    f"{str(path)!r} holds other files ({foreign[0]}, ...); an index needs a directory of its own"
                )
        elif os.path.exists(path):
            raise InputError(f"{str(path)!r} is a file; an index is a directory")

    @contextmanager
    def writing(self) -> Generator[None]:
        with WriterLock(self.path):
            self._files = None  # another process may have written since
            yield

    def recover(self) -> None:
        recover(self.path)

    def guard(self) -> None:
        """The kernel keeps the lock for as long as this process lives."""

    def sync(self) -> dict[str, tuple[int, int]]:
        """fsync what appeared since the last call: Lance itself never does. Notes sizes and checksums."""
        folders = [Path(folder) for table in tables(self.path).values() for folder, _, _ in os.walk(table)]
        present = {entry.path: entry for folder in folders for entry in os.scandir(folder) if entry.is_file()}
        known = self._files if self._files is not None else dict(Journal.read(self.path).files)
        self._files = {}
        # manifests name the others: last
        for path in sorted(present, key=lambda name: ("_versions" in name, name)):
            name = os.path.relpath(path, self.path)
            if name in known and os.path.basename(path) != HINT:
                self._files[name] = known[name]
            else:
                fsync_path(Path(path))
                self._files[name] = checksum(Path(path))
        for folder in [*folders, self.path]:
            fsync_path(folder)
        return self._files

    # ---- beside the tables

    @property
    def cache_folder(self) -> Path:
        return self.path / CACHE_NAME

    def subtitles_to_read(self) -> Path:
        return self.path

    def subtitles_to_write(self) -> Path:
        return self.path

    def keep_subtitles(self) -> None:
        """Readers open the writer's own database."""
