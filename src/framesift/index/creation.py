"""The directory of a new index: it is empty or not there at first, and an index at the very end."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import IndexStateError, InputError
from .journal import ASIDE, JOURNAL_NAME
from .lock import LOCK_NAME, WriterLock
from .schema import META_NAME, MOMENTS_TABLE, VIDEOS_TABLE, IndexMeta
from .store import Store
from .subtitles import SUBTITLES_NAMES

__all__ = ["check_free", "create_tables_in"]

OWN_NAMES = {
    *(META_NAME, LOCK_NAME, JOURNAL_NAME, ASIDE, f"{VIDEOS_TABLE}.lance", f"{MOMENTS_TABLE}.lance"),
    *SUBTITLES_NAMES,
}


def check_free(path: Path) -> None:
    """Refuse a directory that holds an index, or anything that is not the remains of a killed creation.

    Raises:
        IndexStateError: there is an index, or the directory cannot be read.
        InputError: there is something else.
    """
    if os.path.exists(path / META_NAME):
        raise IndexStateError(
            f"there is an index at {str(path)!r} already; open it, or choose another directory"
        )
    if os.path.isdir(path):
        try:
            names = {
                name
                for name in os.listdir(path)
                if not name.startswith((f".{META_NAME}", f".{JOURNAL_NAME}"))
            }
        except OSError as error:
            raise IndexStateError(f"cannot read {str(path)!r}: {error.strerror}") from error
        foreign = sorted(names - OWN_NAMES)
        if foreign:
            raise InputError(
                f"{str(path)!r} holds other files ({foreign[0]}, ...); an index needs a directory of its own"
            )
    elif os.path.exists(path):
        raise InputError(f"{str(path)!r} is a file; an index is a directory")


def create_tables_in(path: Path, meta: IndexMeta) -> Store:
    """Make the directory and empty tables in it.

    Raises:
        IndexStateError: there is an index meanwhile, or the directory cannot be written to.
        InputError: something else was put there meanwhile.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise IndexStateError(f"cannot create the index {str(path)!r}: {error.strerror}") from error
    with WriterLock(path):
        check_free(path)  # again: someone else may have been faster
        store = Store.create(path, meta)
        meta.write(path)  # last: an index without it does not exist
    return store
