"""One writer at a time where there is no file to lock: a lease, which ends by itself when its holder does not renew it.

The lease is a small object that says who holds it and until when. It is only ever replaced under the condition that it
still is the version that was read, so that of two who want it one gets it. The holder renews it before every commit:
one who was silent for too long, and whose lease was taken over, finds that out before it writes.

What remains is the moment between that renewal and the commit. A process that is stopped there for longer than the
lease lasts, and then goes on, makes that one commit; its next one fails. Lance refuses it where it touches what has
changed; else the worst are rows that are there twice, which ``framesift info --verify`` finds.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ...errors import IndexLockedError, IndexStateError
from ..lock import LOCK_NAME
from .objects import Found, Mark, NotAsExpected, Objects

__all__ = ["LEASE_S", "SKEW_S", "Lease", "LeaseRecord"]

LEASE_S = 60.0
SKEW_S = 15.0
"""By how much the clocks of two machines may differ."""

_held_here: set[str] = set()
"""Tokens of this process: others of it could not be given back, as the object store was away."""

FRESH_S = 1.0  # a renewal of so long ago is taken for one of now
ATTEMPTS = 5


@dataclass(frozen=True, kw_only=True)
class LeaseRecord:
    """What the object says.

    Attributes:
        holder: for people; "" if nobody holds it.
        machine: tells whether ``pid`` is one of this machine's.
        pid: of the holder.
        token: of this holding.
        serial: counts its renewals.
        until_s: when it ends, in seconds since 1970 by the holder's clock.
    """

    holder: str
    machine: str
    pid: int
    token: str
    serial: int
    until_s: float

    @classmethod
    def parse(cls, content: bytes) -> LeaseRecord | None:
        """The record of an object; None if it is none."""
        try:
            return cls(**json.loads(content))
        except (ValueError, TypeError):
            return None

    def to_bytes(self) -> bytes:
        """The object."""
        return json.dumps(asdict(self)).encode()

    @property
    def is_free(self) -> bool:
        """Whether nobody holds it any more."""
        if not self.holder or time.time() > self.until_s + SKEW_S:
            return True
        if self.machine != _machine():
            return False
        return self.token not in _held_here if self.pid == os.getpid() else not _is_alive(self.pid)


class Lease:
    """Context manager that holds the only right to write to an index in an object store.

    Raises:
        IndexLockedError: someone else holds it; the message says who.
        IndexStateError: the object store refuses, or cannot be reached.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._token = uuid.uuid4().hex
        self._serial = 0
        self._mark: Mark = {}
        self._renewed = 0.0
        self._lost: str | None = None
        self._changing = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="framesift-lease", daemon=True)

    def __enter__(self) -> Self:
        for _ in range(ATTEMPTS):
            found = self._objects.get(LOCK_NAME)
            record = LeaseRecord.parse(found.content) if found is not None else None
            if found is not None and not (record is not None and record.is_free):
                raise self._locked(record)
            asked = _now()
            with suppress(NotAsExpected):  # someone else was faster: see who
                self._mark = self._put(found)
                self._renewed = asked
                _held_here.add(self._token)
                self._thread.start()
                return self
        raise IndexLockedError(
            f"several processes want to write to the index {str(self._objects.uri)!r} at once; try again"
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        with self._changing, suppress(NotAsExpected, IndexStateError):  # it ends by itself, only later
            self._serial += 1
            self._objects.put(LOCK_NAME, self._record(held=False).to_bytes(), mode=self._mark)
        _held_here.discard(self._token)
        self._thread.join()

    def check(self) -> None:
        """Renew the lease.

        Raises:
            IndexLockedError: it was lost.
            IndexStateError: it cannot be told whether it was.
        """
        with self._changing:
            if self._lost is None and _now() - self._renewed > FRESH_S:
                self._renew()
            if self._lost is not None:
                raise IndexLockedError(
                    f"this process lost the right to write to the index {str(self._objects.uri)!r}: it was silent for "
                    f"more than {LEASE_S:.0f} s, and {self._lost} writes to it now. What was committed before is kept; "
                    "run the same command again when the other has finished"
                )

    def _renew(self) -> None:
        asked = _now()
        self._serial += 1
        record = self._record(held=True)
        try:
            self._mark = self._objects.put(LOCK_NAME, record.to_bytes(), mode=self._mark)
        except NotAsExpected:
            found = self._objects.get(LOCK_NAME)
            if found is None or found.content != record.to_bytes():
                other = LeaseRecord.parse(found.content) if found is not None else None
                self._lost = (other.holder if other is not None else "") or "another process"
                return
            self._mark = found.mark  # it was put, but the answer was lost and the client tried once more
        self._renewed = asked

    def _keep(self) -> None:
        while not self._ended.wait(LEASE_S / 3):
            with self._changing:
                if self._ended.is_set() or self._lost is not None:
                    return
                with suppress(IndexStateError):  # the next commit says it, if it still is so
                    self._renew()

    def _put(self, found: Found | None) -> Mark:
        content = self._record(held=True).to_bytes()
        if found is None:
            mark = self._objects.put(LOCK_NAME, content, mode="create")
            self._see_that_conditions_hold(content)
            return mark
        return self._objects.put(LOCK_NAME, content, mode=found.mark)

    def _see_that_conditions_hold(self, content: bytes) -> None:
        """Once for an index: some object stores take a condition and ignore it."""
        with suppress(NotAsExpected):
            self._objects.put(LOCK_NAME, content, mode="create")
            self._objects.delete([LOCK_NAME])
            raise IndexStateError(
                f"the object store of {str(self._objects.uri)!r} ignores the condition of a write (If-None-Match), so "
                "that two writers could not be kept apart; use one that honours it, as S3 does, or a local directory"
            )

    def _record(self, *, held: bool) -> LeaseRecord:
        return LeaseRecord(
            holder=f"process {os.getpid()} on {socket.gethostname()}" if held else "",
            machine=_machine(),
            pid=os.getpid(),
            token=self._token,
            serial=self._serial,
            until_s=time.time() + LEASE_S if held else 0.0,
        )

    def _locked(self, record: LeaseRecord | None) -> IndexLockedError:
        uri = str(self._objects.uri)
        if record is None:
            return IndexLockedError(
                f"{LOCK_NAME} in the index {uri!r} cannot be read, so that it is not known who writes to it; if nobody "
                "does, delete it"
            )
        until = time.strftime("%H:%M:%S", time.localtime(record.until_s + SKEW_S))
        return IndexLockedError(
            f"{record.holder} is writing to the index {uri!r}; wait until it has finished, or stop it (what it has "
            f"committed stays). If it was killed or has lost its network, others may write from {until} on. "
            "Searching works meanwhile"
        )


def _now() -> float:
    """Seconds, those in which the machine slept included, which a monotonic clock leaves out on Linux."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _machine() -> str:
    """Within what process ids mean the same: a host since it was started, and one namespace on it."""
    parts = [socket.gethostname()]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with suppress(OSError):
            parts.append(os.readlink(path) if os.path.islink(path) else Path(path).read_text().strip())
    return " ".join(parts)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
