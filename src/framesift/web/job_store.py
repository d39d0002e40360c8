"""Index jobs on disk: one small SQLite file for each index, in the server's state folder.

What is in it survives the server: a job that was running when the server ended is queued again by the next one. One
server at a time owns the file; a second server of the same index sees the jobs, but takes none.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ..errors import IndexStateError
from ..index.location import Location

__all__ = ["DONE", "Failure", "Job", "JobStore", "Kind", "State"]

Kind: TypeAlias = Literal["index", "prune", "watch"]
State: TypeAlias = Literal["queued", "running", "done", "failed", "cancelled"]

DONE: frozenset[State] = frozenset({"done", "failed", "cancelled"})
KEPT_JOBS = 200  # finished ones, the newest
SHOWN_FAILURES = 500
LAYOUT = 1


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A file that could not be read, and why."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Job:
    """Something to do with an index, and how far it is.

    Attributes:
        id: 32 hexadecimal digits.
        index: name of the index.
        kind: ``index`` adds files and folders, ``prune`` forgets files that are gone, ``watch`` adds and goes on
            adding.
        paths, include, exclude, retry_failed: as for :meth:`.Index.add`.
        state: ``queued``, ``running``, ``done``, ``failed`` or ``cancelled``.
        done, total: files; known ones are not among them.
        added, replaced, skipped, pruned: counts of the finished job, as far as they are known.
        failed: the first files that could not be read; ``num_failed`` counts all.
        eta_s: seconds left, if that is known.
        message: a sentence for people: what is waited for, or why it failed.
        created_at, updated_at: Unix time in seconds.
    """

    id: str
    index: str
    kind: Kind
    paths: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    retry_failed: bool = False
    state: State = "queued"
    done: int = 0
    total: int = 0
    added: int = 0
    replaced: int = 0
    skipped: int = 0
    pruned: int = 0
    failed: tuple[Failure, ...] = ()
    num_failed: int = 0
    eta_s: float | None = None
    message: str = ""
    created_at: float = 0.0
    updated_at: float = 0.0

    @property
    def finished(self) -> bool:
        """Whether nothing will happen any more."""
        return self.state in DONE

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class JobStore:
    """The jobs of one index.

    Args:
        folder: where such files lie; made if it is missing.
        index: directory or URI of the index, by which the file is found again.

    Raises:
        IndexStateError: the folder cannot be written to.
    """

    def __init__(self, folder: Path, index: Location) -> None:
        place = os.path.realpath(index) if isinstance(index, Path) else str(index)
        key = hashlib.blake2b(os.fsencode(place), digest_size=8).hexdigest()
        path = folder / f"jobs-{key}.sqlite"
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._owner = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._database = sqlite3.connect(
                path, check_same_thread=False, isolation_level=None, timeout=10.0
            )
            self.owned = self._own()
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS jobs (id TEXT PRIMARY KEY, created_at REAL NOT NULL, "
                "state TEXT NOT NULL, layout INTEGER NOT NULL, job TEXT NOT NULL)"
            )
        except (OSError, sqlite3.Error) as error:
            raise IndexStateError(
                f"cannot keep jobs in {str(folder)!r}: {error}; choose another place with --state DIR"
            ) from None

    def _own(self) -> bool:
        try:
            fcntl.flock(self._owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def jobs(self) -> list[Job]:
        """All jobs, the oldest first."""
        rows = self._all("SELECT job FROM jobs WHERE layout = ? ORDER BY created_at, id", (LAYOUT,))
        return [_read(row[0]) for row in rows]

    def get(self, job_id: str) -> Job | None:
        """A job by its identifier."""
        rows = self._all("SELECT job FROM jobs WHERE id = ? AND layout = ?", (job_id, LAYOUT))
        return _read(rows[0][0]) if rows else None

    def save(self, job: Job) -> Job:
        """Write a job, new or changed; returns it with the time of now."""
        job = replace(job, updated_at=time.time())
        self._all(
            "INSERT INTO jobs VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state, "
            "job = excluded.job",
            (job.id, job.created_at, job.state, LAYOUT, json.dumps(asdict(job))),
        )
        return job

    def requeue(self) -> list[Job]:
        """Queue again what was running when the last server ended; gives those jobs."""
        left = [job for job in self.jobs() if job.state == "running"]
        return [
            self.save(replace(job, state="queued", eta_s=None, message="goes on where it was interrupted"))
            for job in left
        ]

    def forget_old(self) -> None:
        """Keep the newest of the finished jobs only."""
        marks = ", ".join("?" * len(DONE))
        self._all(
            f"DELETE FROM jobs WHERE state IN ({marks}) AND id NOT IN (SELECT id FROM jobs WHERE state IN ({marks}) "
            f"ORDER BY created_at DESC LIMIT {KEPT_JOBS})",
            (*DONE, *DONE),
        )

    def close(self) -> None:
        """Let another server own the jobs."""
        with self._lock:
            self._database.close()
            os.close(self._owner)

    def _all(self, statement: str, values: Iterable[object]) -> list[Any]:
        with self._lock:
            return self._database.execute(statement, tuple(values)).fetchall()


def _read(text: str) -> Job:
    values = json.loads(text)
    known = {field.name for field in fields(Job)}
    job = Job(**{name: value for name, value in values.items() if name in known})
    return replace(
        job,
        paths=tuple(job.paths),
        include=tuple(job.include),
        exclude=tuple(job.exclude),
        failed=tuple(Failure(**failure) for failure in values["failed"]),
    )
