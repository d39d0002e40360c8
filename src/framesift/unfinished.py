"""Files that are there as a whole or not at all: written under another name, then moved into place."""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError

__all__ = ["unfinished"]


@contextmanager
def unfinished(target: str | os.PathLike[str], *, overwrite: bool = False) -> Generator[Path]:
    """A path beside ``target`` to write to; it becomes ``target`` when the block ends, and goes if the block fails.

    Raises InputError if ``target`` exists (unless ``overwrite``) or is a directory, if its folder does not exist, and
    for whatever the file system refuses.
    """
    target = Path(target)
    if target.is_dir():
        raise InputError(f"cannot write {str(target)!r}: it is a directory")
    if not overwrite and os.path.lexists(target):
        raise _exists(target)
    if not target.parent.is_dir():
        raise InputError(f"cannot write {str(target)!r}: the folder {str(target.parent)!r} does not exist")
    draft = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        yield draft
        if overwrite:
            draft.replace(target)
        else:
            _move_to_a_free_name(draft, target)
    except OSError as error:
        raise InputError(f"cannot write {str(target)!r}: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)


def _move_to_a_free_name(draft: Path, target: Path) -> None:
    """A hard link is refused where the name was taken meanwhile; a move would replace what is there."""
    try:
        os.link(draft, target)
    except FileExistsError:
        raise _exists(target) from None
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise _exists(target) from None
        draft.replace(target)


def _exists(target: Path) -> InputError:
    return InputError(
        f"{str(target)!r} exists already; choose another name, or overwrite it (--force on the command line)"
    )
