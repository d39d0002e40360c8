"""Which files a server touches, and how: only what is indexed, only what it was then, only where it may.

A file of an index is read by the server if it still has the size and time with which it was indexed, and if it is a
plain file: a link is followed only while it stays inside the folders that are allowed. So a file that was swapped for a
link to something else is refused, and so is a link in a folder that somebody added through the API.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from ..index.schema import VideoRecord
from .errors import ApiError

__all__ = ["allowed_folder", "check_indexed", "inside", "open_indexed"]


def inside(path: str, folders: Sequence[str | Path]) -> bool:
    """Whether a real path is one of the folders or below one; links in the folders' own names are resolved."""
    return any(_contains(os.path.realpath(folder), path) for folder in folders)


def _contains(folder: str, path: str) -> bool:
    return path == folder or path.startswith(os.path.join(folder, ""))


def allowed_folder(path: str, folders: Sequence[str | Path]) -> str:
    """A path given by a client, as a real one inside ``folders``.

    Raises:
        ApiError: 403, it lies elsewhere, or a link in it leads elsewhere; 400, it is no absolute path.
    """
    if "\0" in path or not os.path.isabs(path):
        raise ApiError(
            400, "input_error", "give the absolute path of a folder or file, such as /home/me/Videos"
        )
    real = os.path.realpath(path)
    if not inside(real, folders):
        raise ApiError(
            403,
            "folder_not_allowed",
            "this path lies outside the folders that the server may read; "
            "allow it when starting the server: --allow-folder DIR",
        )
    return real


def open_indexed(record: VideoRecord, folders: Sequence[str | Path]) -> int:
    """A descriptor of an indexed file, which the caller closes; what is read from it is what was indexed.

    Raises:
        ApiError: 410, the file is gone; 409, it has changed since; 403, it may not be read.
    """
    real = os.path.realpath(record.uri)
    plain = os.path.join(os.path.realpath(os.path.dirname(record.uri)), os.path.basename(record.uri))
    if real != plain and not inside(real, folders):
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
    if not stat.S_ISREG(facts.st_mode) or (facts.st_size, facts.st_mtime_ns) != (
        record.size_bytes,
        record.mtime_ns,
    ):
        os.close(file)
        raise ApiError(
            409, "file_changed", "the file has changed since it was indexed; index its folder again"
        )
    return file


def check_indexed(record: VideoRecord, folders: Sequence[str | Path]) -> str:
    """The real path of an indexed file, for a decoder that opens it itself.

    Raises:
        ApiError: as for :func:`open_indexed`.
    """
    os.close(open_indexed(record, folders))
    return os.path.realpath(record.uri)
