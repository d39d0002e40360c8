"""One writer at a time: an advisory lock on a file inside the index."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import IndexLockedError, IndexStateError

__all__ = ["WriterLock"]

LOCK_NAME = "writer.lock"


class WriterLock:
    """Context manager that holds the only right to write to an index.

    The kernel drops the lock when its holder ends, however it ends, so that no lock is ever stale. The file
    stays; its content only tells others whose lock it is. LanceDB itself needs this: concurrent
    ``merge_insert`` calls duplicate rows without an error.

    Raises:
        IndexLockedError: someone else holds it; the message names the process.
        IndexStateError: the index cannot be written to at all.
    """

    def __init__(self, index: Path) -> None:
        self._index = index
        self._file: int | None = None

    def __enter__(self) -> Self:
        path = self._index / LOCK_NAME
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file, 64).decode("ascii", "replace").strip() or "unknown"
            os.close(file)
            raise IndexLockedError(
                f"process {holder} is writing to the index {str(self._index)!r}; wait until it has "
                "finished, or stop it (what it has committed stays). Searching works meanwhile"
            ) from None
        except OSError as error:
            os.close(file)
            raise self._unusable(error) from error
        try:
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:  # no space for a few bytes: there is none for anything else
            os.close(file)
            raise self._unusable(error) from error
        self._file = file
        return self

    def _unusable(self, error: OSError) -> IndexStateError:
        return IndexStateError(f"cannot write to the index {str(self._index)!r}: {error.strerror}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = None
