"""Writing so that a power failure leaves the old content or the new, never a mixture."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["fsync_path", "write_json", "write_whole"]


def fsync_path(path: Path) -> None:
    """Make a file's content, or a directory's list of names, survive a power failure. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file, or make one: written under another name, synced and renamed. Raises OSError, and the old file is
    then as it was.

    Two processes must not do this to one file at a time.
    """
    draft = path.parent / f".{path.name}.draft"
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    fsync_path(path.parent)


def write_json(path: Path, value: Any, *, indent: int | None = None) -> None:
    """The same with a JSON document."""
    write_whole(path, f"{json.dumps(value, indent=indent)}\n".encode())
