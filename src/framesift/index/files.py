"""Which files a build has to read: folders expanded, each file compared with what the index knows of it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..data import VIDEO_SUFFIXES
from ..errors import DecodeError, InputError
from .patterns import Patterns, Selection
from .schema import VideoRecord

__all__ = [
    "VIDEO_SUFFIXES",
    "File",
    "Plan",
    "Todo",
    "by_folder",
    "check_paths",
    "content_hash",
    "is_video_name",
    "lies_in",
    "list_files",
    "listed",
    "plan",
    "vanished",
]

MPEG_TS_SYNC = b"\x47"  # ISO/IEC 13818-1: every packet begins with it; a TypeScript file does not

HASH_BYTES = 16  # 128 bits: no accidental collision among any number of files one could index


@dataclass(frozen=True, kw_only=True)
class File:
    """A file as it was found; ``uri`` is its absolute path."""

    uri: str
    size_bytes: int
    mtime_ns: int


Todo = tuple[File, VideoRecord | None]
"""A file to read, and the row that it replaces, if any."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a build will do.

    Attributes:
        todo: files to read.
        moved: rows whose file lies elsewhere now, as they will be.
        skipped: number of files that are known and unchanged.
        known_failures: those among them that failed before; they are not tried again.
    """

    todo: list[Todo] = field(default_factory=list)
    moved: list[VideoRecord] = field(default_factory=list)
    skipped: int = 0
    known_failures: int = 0


def listed(paths: str | Path | Iterable[str | Path]) -> list[str | Path]:
    """One path or several, as a list."""
    return [paths] if isinstance(paths, str | Path) else list(paths)


def lies_in(path: str, place: str) -> bool:
    """Whether an absolute path is ``place``, or lies somewhere below it."""
    return path == place or path.startswith(os.path.join(place, ""))


def by_folder(paths: Iterable[str]) -> dict[str, list[str]]:
    """The names of files in each of their folders."""
    folders: dict[str, list[str]] = {}
    for path in paths:
        folder, name = os.path.split(path)
        folders.setdefault(folder, []).append(name)
    return folders


def check_paths(paths: Iterable[str | Path]) -> list[tuple[str, bool]]:
    """``paths`` as absolute ones, each with whether it is a folder; nothing in them is read.

    Raises:
        InputError: one of ``paths`` does not exist, cannot be read, or is neither a file nor a folder.
    """
    checked: list[tuple[str, bool]] = []
    for given in paths:
        path = os.path.abspath(given)
        try:
            mode = os.stat(path).st_mode
            if stat.S_ISDIR(mode):
                os.scandir(path).close()
        except OSError as error:
            raise InputError(
                f"cannot read {str(given)!r}: {error.strerror}; nothing was indexed, so correct the path "
                "or its permissions and run it again"
            ) from error
        if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
            raise InputError(f"{str(given)!r} is neither a file nor a folder")
        checked.append((path, stat.S_ISDIR(mode)))
    return checked


def list_files(
    paths: Iterable[str | Path], patterns: Patterns | None = None
) -> tuple[list[File], list[DecodeError]]:
    """The files under ``paths``, sorted, each once, and what could not be listed below them.

    Folders are searched recursively for :data:`VIDEO_SUFFIXES`, leaving out hidden files and folders, and what
    ``patterns`` and ``.framesiftignore`` files leave out (see :mod:`.patterns`).

    Raises:
        InputError: one of ``paths`` itself does not exist, cannot be read, or is neither a file nor a folder.
    """
    found: dict[str, File] = {}
    failed: list[DecodeError] = []
    for path, is_folder in check_paths(paths):
        for name in _walk(path, patterns or Patterns(), failed) if is_folder else [path]:
            try:
                found[name] = _file(name)
            except OSError as error:
                failed.append(DecodeError(name, _reason(error)))
    return [found[name] for name in sorted(found)], failed


def plan(files: Sequence[File], records: Iterable[VideoRecord], *, retry_failed: bool = False) -> Plan:
    """Compare files with the rows of an index.

    A file is known when path, size and modification time are; a moved one is recognised by its content, which
    is read only where a row of the same size has lost its file.
    """
    by_uri = {record.uri: record for record in records}
    lost: dict[int, list[VideoRecord]] = {}
    for record in by_uri.values():
        if record.content_hash is not None and vanished(record.uri):
            lost.setdefault(record.size_bytes, []).append(record)
    result = Plan()
    skipped = known_failures = 0
    for file in files:
        record = by_uri.get(file.uri)
        if record is not None and (record.size_bytes, record.mtime_ns) == (file.size_bytes, file.mtime_ns):
            if record.status == "ok" or not retry_failed:
                skipped += 1
                known_failures += record.status == "failed"
                continue
        elif record is None and (origin := _origin(file, lost.get(file.size_bytes, []))) is not None:
            lost[file.size_bytes].remove(origin)
            result.moved.append(replace(origin, uri=file.uri, mtime_ns=file.mtime_ns))
            continue
        result.todo.append((file, record))
    return replace(result, skipped=skipped, known_failures=known_failures)


def content_hash(path: str | Path) -> str | None:
    """Hash of a whole file, or None where it cannot be read."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=HASH_BYTES)).hexdigest()
    except OSError:
        return None


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)  # what has become a pipe meanwhile would block


def vanished(path: str) -> bool:
    """Whether a file is gone for certain; one that may not be looked at is not."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def is_video_name(parent: str, name: str) -> bool:
    """Whether a file in the folder ``parent`` is taken for a video; hidden ones are not."""
    suffix = os.path.splitext(name)[1].lower()
    if name.startswith(".") or suffix not in VIDEO_SUFFIXES:
        return False
    if suffix != ".ts":
        return True
    try:
        with open(os.path.join(parent, name), "rb") as file:
            return file.read(1) == MPEG_TS_SYNC
    except OSError:
        return True  # to be reported when it is read


def _walk(folder: str, patterns: Patterns, failed: list[DecodeError]) -> Iterable[str]:
    def unreadable(error: OSError) -> None:
        failed.append(DecodeError(error.filename, _reason(error)))

    selection = Selection(folder, patterns, failed)
    for parent, names in selection.walk(unreadable):
        for name in names:
            path = os.path.join(parent, name)
            if is_video_name(parent, name) and selection.takes_file(path):
                yield path


def _file(name: str) -> File:
    facts = os.stat(name)
    if not stat.S_ISREG(facts.st_mode):
        raise OSError(0, "not a regular file", name)  # opening a named pipe would wait for ever
    return File(uri=name, size_bytes=facts.st_size, mtime_ns=facts.st_mtime_ns)


def _origin(file: File, lost: Sequence[VideoRecord]) -> VideoRecord | None:
    if not lost:
        return None
    found = content_hash(file.uri)
    return next((record for record in lost if record.content_hash == found), None)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
