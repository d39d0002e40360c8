"""Which files a server touches, and how: only what is indexed, only what it was then, only where it may.

A file of an index is read by the server if it still has the size and time with which it was indexed, and if it is a
plain file: a link is followed only while it stays inside the folders that are allowed. So a file that was swapped for a
link to something else is refused, and so is a link in a folder that somebody added through the API.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Container, Iterable
from pathlib import Path

from ..index.schema import VideoRecord
from .errors import ApiError

__all__ = ["Allowed", "allowed_folder", "check_indexed", "open_indexed"]


class Allowed:
    """The folders that a server may read, and where they were when it started: links in their own names are followed
    once, so that one which is swapped for a link later leads nowhere else.

    Args:
        folders: absolute ones.
    """

    def __init__(self, folders: Iterable[str | Path]) -> None:
        named = [str(folder) for folder in folders]
        self._named = frozenset(named)
        self._roots = {os.path.realpath(folder): folder for folder in reversed(named)}

    def holds(self, real: str) -> bool:
        """Whether a path without links is one of the folders or lies below one."""
        return _lies_in(real, self._roots)

    def names(self, path: str) -> bool:
        """Whether a path is in one of the folders by its name, wherever links in it lead."""
        return _lies_in(path, self._named)

    def outermost(self) -> list[str]:
        """The folders that lie in none of the others."""
        return [
            folder
            for real, folder in sorted(self._roots.items())
            if os.path.dirname(real) == real or not self.holds(os.path.dirname(real))
        ]


def _lies_in(path: str, folders: Container[str]) -> bool:
    """As quick for thousands of folders as for one."""
    while path not in folders:
        above = os.path.dirname(path)
        if above == path:
            return False
        path = above
    return True


def allowed_folder(path: str, allowed: Allowed) -> str:
    """A path given by a client, as a real one inside the folders.

    Raises:
        ApiError: 403, it lies elsewhere, or a link in it leads elsewhere; 400, it is no absolute path.
    """
    if "\0" in path or not os.path.isabs(path):
        raise ApiError(
            400, "input_error", "give the absolute path of a folder or file, such as /home/me/Videos"
        )
    real = os.path.realpath(path)
    if not allowed.holds(real):
        raise ApiError(
            403,
            "folder_not_allowed",
            "this path lies outside the folders that the server may read; "
            "allow it when starting the server: --allow-folder DIR",
        )
    return real


def open_indexed(record: VideoRecord, allowed: Allowed) -> int:
    """A descriptor of an indexed file, which the caller closes; what is read from it is what was indexed.

    Raises:
        ApiError: 410, the file is gone; 409, it has changed since; 403, it may not be read.
    """
    real = os.path.realpath(record.uri)
    if real != record.uri and _leads_out(record.uri, real, allowed):
        raise ApiError(
            403,
            "link_not_allowed",
            "the file is a link that leads out of the folders that the server may read; "
            "allow its target when starting the server: --allow-folder DIR",
        )
    try:
        file = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise ApiError(410, "file_gone", "the file is no longer where it was when it was indexed") from None
    except OSError as error:
        raise ApiError(403, "file_unreadable", f"the file cannot be read: {error.strerror}") from None
    facts = os.fstat(file)
    if os.readlink(f"/proc/self/fd/{file}") != real:  # a folder above it was swapped for a link meanwhile
        os.close(file)
        raise ApiError(409, "file_changed", "the file was moved while it was opened; try again")
    if not stat.S_ISREG(facts.st_mode) or (facts.st_size, facts.st_mtime_ns) != (
        record.size_bytes,
        record.mtime_ns,
    ):
        os.close(file)
        raise ApiError(
            409, "file_changed", "the file has changed since it was indexed; index its folder again"
        )
    return file


def _leads_out(path: str, real: str, allowed: Allowed) -> bool:
    """Whether a link leads out of the folders: the file itself is one, or a folder between them and it.

    A file that was indexed elsewhere by the server's user may be there by way of any folders.
    """
    plain = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    return (real != plain or allowed.names(path)) and not allowed.holds(real)


def check_indexed(record: VideoRecord, allowed: Allowed) -> None:
    """Raise what :func:`open_indexed` would raise."""
    os.close(open_indexed(record, allowed))
