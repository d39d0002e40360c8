"""Index jobs: a queue for each index, one job at a time, each in a process of its own; and folders that are watched.

Two clients that add folders at once are queued one after the other; an index that another program writes to is waited
for. A job's process ends with the server, however the server ends, and the next server goes on with the job: the index
skips what is done already.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..index.location import Location
from .errors import ApiError
from .job_store import SHOWN_FAILURES, Failure, Job, JobStore, Kind

__all__ = ["JobQueue", "Jobs"]

SAVE_EVERY_S = 2.0
CLOSE_WAIT_S = 5.0
MOST_QUEUED = 100
MOST_WATCHES = 4  # of an index; each is a process that holds the model


@dataclass(eq=False)
class _Running:
    """A job that has begun, as it is now."""

    job: Job
    process: subprocess.Popen[str] | None = None
    cancelled: bool = False


class JobQueue:
    """The jobs of one index. Those that watch folders run beside the others: they wait for most of the time.

    Args:
        name: of the index.
        directory: where it lies: a directory, or a URI.
        state: folder of job files.
    """

    def __init__(self, name: str, directory: Location, state: Path) -> None:
        self.name, self._directory = name, directory
        self._store = JobStore(state, directory)
        self._changed = threading.Condition()
        self._running: dict[str, _Running] = {}
        self._closing = False
        work, watch = frozenset[Kind]({"index", "prune"}), frozenset[Kind]({"watch"})
        self._threads = [
            threading.Thread(target=self._work, args=(kinds,), name=f"framesift-jobs-{name}", daemon=True)
            for kinds in (work, *[watch] * MOST_WATCHES)
        ]
        if self._store.owned:
            self._store.requeue()
            for thread in self._threads:
                thread.start()

    def jobs(self) -> list[Job]:
        """All jobs, the oldest first, those that run as they are now."""
        return [self._now(job) for job in self._store.jobs()]

    def _now(self, job: Job) -> Job:
        running = self._running.get(job.id)
        return job if running is None else running.job

    def get(self, job_id: str) -> Job | None:
        """A job as it is now."""
        job = self._store.get(job_id)
        return None if job is None else self._now(job)

    def add(
        self,
        kind: Kind,
        *,
        paths: Iterable[str] = (),
        include: Iterable[str] = (),
        exclude: Iterable[str] = (),
        retry_failed: bool = False,
    ) -> Job:
        """Queue a job; one that asks for the same as a job that waits already is that job.

        Raises:
            ApiError: 423, another server keeps the jobs of this index; 503, too many are queued.
        """
        self._check_owned()
        job = Job(
            id=uuid.uuid4().hex,
            index=self.name,
            kind=kind,
            paths=tuple(paths),
            include=tuple(include),
            exclude=tuple(exclude),
            retry_failed=retry_failed,
            created_at=time.time(),
        )
        with self._changed:
            unfinished = [one for one in self.jobs() if not one.finished]
            for one in unfinished:
                if _asks(one) == _asks(job) and (one.state == "queued" or kind == "watch"):
                    return one
            waiting = [one for one in unfinished if one.state == "queued"]
            if len(waiting) >= MOST_QUEUED:
                raise ApiError(503, "busy", f"{len(waiting)} jobs wait for this index already")
            job = self._store.save(job)
            self._changed.notify_all()
        return job

    def cancel(self, job_id: str) -> Job:
        """End a job; what it has committed to the index stays.

        Raises:
            ApiError: 404, there is no such job; 409, it is finished; 423, it is another server's.
        """
        self._check_owned()
        with self._changed:
            job = self.get(job_id)
            if job is None:
                raise ApiError(404, "unknown_job", "there is no job of that id")
            if job.finished:
                raise ApiError(409, "job_finished", f"the job is {job.state} already")
            running = self._running.get(job_id)
            if running is not None:
                running.cancelled = True
                if running.process is not None:
                    running.process.terminate()
                job = running.job = replace(job, message="is being cancelled")
            else:
                job = self._store.save(replace(job, state="cancelled", message="cancelled before it began"))
        return job

    def close(self) -> None:
        """End the jobs that run, for the next server to go on with."""
        with self._changed:
            self._closing = True
            for running in self._running.values():
                if running.process is not None:
                    running.process.kill()
            self._changed.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(CLOSE_WAIT_S)
        self._store.close()

    def _check_owned(self) -> None:
        if not self._store.owned:
            raise ApiError(
                423, "index_locked", "another framesift serve keeps the jobs of this index; ask that one"
            )

    # ---- in the queue's own threads

    def _work(self, kinds: frozenset[Kind]) -> None:
        """Do one job of these kinds after another."""
        while True:
            with self._changed:
                job = self._next(kinds)
                while job is None and not self._closing:
                    self._changed.wait()
                    job = self._next(kinds)
                if job is None or self._closing:
                    return
                running = _Running(self._store.save(replace(job, state="running", message="is starting")))
                running.process = _start(running.job, self._directory)
                self._running[job.id] = running
            ended = self._follow(running, running.process)
            with self._changed:
                if not self._closing:  # else it stays as it is on disk, which says that it was running
                    self._store.save(ended)
                    self._store.forget_old()
                del self._running[job.id]

    def _next(self, kinds: frozenset[Kind]) -> Job | None:
        if self._closing:
            return None
        waiting = (job for job in self._store.jobs() if job.state == "queued" and job.kind in kinds)
        return next((job for job in waiting if job.id not in self._running), None)

    def _follow(self, running: _Running, process: subprocess.Popen[str]) -> Job:
        """Take in what the process of a job says until it ends; gives the job as it ended."""
        saved = time.monotonic()
        assert process.stdin is not None
        assert process.stdout is not None
        for line in process.stdout:
            with suppress(ValueError, KeyError, TypeError):  # a line that was cut off by the process's end
                running.job = _after(running.job, json.loads(line))
            if time.monotonic() - saved > SAVE_EVERY_S and not running.job.finished:
                saved = time.monotonic()
                self._store.save(running.job)
        status = process.wait()
        process.stdout.close()
        with suppress(OSError):
            process.stdin.close()
        job = running.job
        if job.finished:
            return job
        if running.cancelled:
            return replace(job, state="cancelled", eta_s=None, message="cancelled; what was indexed stays")
        ending = signal.Signals(-status).name if status < 0 else f"status {status}"
        return replace(job, state="failed", eta_s=None, message=f"the process ended unexpectedly ({ending})")


def _asks(job: Job) -> tuple[Any, ...]:
    """What decides what a job does."""
    return job.kind, job.paths, job.include, job.exclude, job.retry_failed


def _start(job: Job, directory: Location) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        # -P: without it, "-m" would import queue.py, av.py, ... from the current directory first
        [sys.executable, "-P", "-m", f"{__package__}.job_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        process_group=0,  # Ctrl-C is for the server; this ends when its stdin does
        env=_environment() | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.write(json.dumps({**asdict(job), "directory": str(directory)}) + "\n")
        process.stdin.flush()
    return process


def _environment() -> dict[str, str]:
    """The server's, without its limit of one core for a search."""
    return {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}


def _after(job: Job, event: Mapping[str, Any]) -> Job:
    """A job after an event of its process."""
    now = {"updated_at": time.time()}
    match event["event"]:
        case "waiting":
            return replace(job, message=event["message"], **now)
        case "progress":
            return replace(
                job,
                done=event["done"],
                total=event["total"],
                skipped=event["known"],
                num_failed=event["failed"],
                eta_s=event["eta_s"],
                message=event["path"],
                **now,
            )
        case "watch":
            return _watched(replace(job, **now), event)
        case "report":
            failures = [Failure(**failure) for failure in event.get("failed", ())]
            return replace(
                job,
                state="done",
                added=event.get("added", 0),
                replaced=event.get("replaced", 0),
                skipped=event.get("skipped", 0),
                pruned=event.get("pruned", 0),
                failed=tuple(failures[:SHOWN_FAILURES]),
                num_failed=len(failures),
                eta_s=None,
                message="",
                **now,
            )
        case "failed":
            return replace(job, state="failed", eta_s=None, message=event["message"], **now)
        case _:
            return job


def _watched(job: Job, event: Mapping[str, Any]) -> Job:
    """A job that watches folders, after something happened in them."""
    path, detail = event["path"], event["detail"]
    match event["kind"]:
        case "added" | "moved":
            return replace(job, added=job.added + 1, message=f"added {path}")
        case "replaced":
            return replace(job, replaced=job.replaced + 1, message=f"read again {path}")
        case "forgotten":
            return replace(job, pruned=job.pruned + 1, message=f"forgot {path}")
        case "failed":
            others = [one for one in job.failed if one.path != path]
            failed = (*others, Failure(path=path, reason=detail))[-SHOWN_FAILURES:]
            return replace(
                job, failed=failed, num_failed=job.num_failed + 1, message=f"could not read {path}"
            )
        case "watching" | "polling":
            return replace(job, eta_s=None, message="watching")
        case kind:
            return replace(job, message=f"{kind}: {detail or path}")


class Jobs:
    """The queues of all indexes of a server."""

    def __init__(self, indexes: Mapping[str, Location], state: Path) -> None:
        self._queues = {name: JobQueue(name, directory, state) for name, directory in indexes.items()}

    def queue(self, index: str) -> JobQueue:
        """The queue of an index by its name."""
        return self._queues[index]

    def jobs(self) -> list[Job]:
        """All jobs of all indexes, the newest first."""
        found = [job for queue in self._queues.values() for job in queue.jobs()]
        return sorted(found, key=lambda job: job.created_at, reverse=True)

    def get(self, job_id: str) -> Job:
        """A job as it is now.

        Raises:
            ApiError: 404, there is none of that id.
        """
        for queue in self._queues.values():
            if (job := queue.get(job_id)) is not None:
                return job
        raise ApiError(404, "unknown_job", "there is no job of that id")

    def cancel(self, job_id: str) -> Job:
        """End a job.

        Raises:
            ApiError: as for :meth:`JobQueue.cancel`.
        """
        return self.queue(self.get(job_id).index).cancel(job_id)

    def close(self) -> None:
        """End what runs, for the next server to go on with."""
        for queue in self._queues.values():
            queue.close()
