"""The state of an index that is searched: always the newest, or, for servers, the one before until the newest is ready.

What a commit changed has to be read, and the engine that proposes candidates made anew, which takes a second where the
index is large. Whoever searches an index that they have just changed wants to see the change. Whoever searches a server
does not know of changes, but notices the second. So a server's search waits for a moment, and is then answered from the
state before, while a thread brings the new one into memory.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import suppress

from ..errors import FramesiftError
from ..index import Index
from .snapshot import Snapshot

__all__ = ["Following"]


class Following:
    """Gives snapshots of an index. Threads may share it.

    Args:
        index: which is followed.
        patience_s: how long :meth:`snapshot` waits for a state that was committed since; None: as long as it takes.
    """

    def __init__(self, index: Index, *, patience_s: float | None) -> None:
        self._index = index
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._held: Snapshot | None = None
        self._coming: Future[Snapshot] | None = None

    def snapshot(self) -> Snapshot:
        """What to search now: never older than what an earlier call gave.

        Raises:
            IndexStateError: the index cannot be read.
        """
        held = self._held
        if self._patience_s is None or held is None or held.gallery.version == self._index.version:
            return self.newest()
        with suppress(TimeoutError):
            return self._begun().result(timeout=self._patience_s)
        return self._held or held

    def newest(self) -> Snapshot:
        """What was committed last, however long it takes to read. Raises IndexStateError."""
        gallery = self._index.gallery()
        with self._lock:
            if self._held is None or self._held.gallery is not gallery:
                self._held = Snapshot(gallery)
            return self._held

    def prepare(self) -> None:
        """Bring into memory what the first search of the newest state would, and search that from now on.

        Raises:
            FramesiftError: the index or its model cannot be had.
        """
        self._begun().result()

    def _begun(self) -> Future[Snapshot]:
        """A thread at a time makes the newest state ready."""
        with self._lock:
            if self._coming is None or self._coming.done():
                self._coming = Future()
                threading.Thread(
                    target=self._make, args=(self._coming,), name="framesift-newest", daemon=True
                ).start()
            return self._coming

    def _make(self, told: Future[Snapshot]) -> None:
        before = self._held
        try:
            gallery = self._index.gallery()
            with suppress(FramesiftError):  # a search that needs the engine tells what is wrong with it
                _ = gallery.engine
            with self._lock:
                if self._held is before and (before is None or before.gallery is not gallery):
                    self._held = Snapshot(gallery)  # nobody has got hold of a newer one meanwhile
                assert self._held is not None
                told.set_result(self._held)
        except BaseException as error:
            told.set_exception(error)
