"""The process of one index job: ``python -m framesift.web.job_process``.

It reads the job as a line of JSON on stdin and writes what happens as lines of JSON on stdout, each with an ``event``:
``waiting`` (someone else writes to the index), ``progress``, ``watch``, ``report``, ``failed``. Stdin stays open for
as long as the server lives: when it ends, so does this process, at once. The index is safe to kill at any time.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from ..errors import FramesiftError, IndexLockedError

if TYPE_CHECKING:
    from ..index.build import BuildReport, Progress

__all__ = ["main"]

LOCKED_WAIT_S = 1.0
NICENESS = 10  # searches come first
SHARE_OF_CORES = {"GOMP_SPINCOUNT": "0"}  # idle threads of GNU OpenMP would spin on cores that searches need


def main() -> None:
    """Do the job on stdin."""
    output = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what a library prints is no event
    os.environ.update(SHARE_OF_CORES)
    os.nice(NICENESS)

    def emit(event: str, **values: Any) -> None:
        output.write(json.dumps({"event": event, **values}) + "\n")

    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_server, daemon=True).start()
    try:
        _do(job, emit)
    except FramesiftError as error:
        emit("failed", message=str(error))
    except Exception as error:  # told to the person who asked; there is nobody else to tell
        emit("failed", message=f"{type(error).__name__}: {error}")


def _end_with_server() -> None:
    sys.stdin.read()
    os._exit(0)


def _do(job: dict[str, Any], emit: Any) -> None:
    from ..index import Index
    from ..index.build import BuildConfig

    def progress(now: Progress) -> None:
        emit(
            "progress",
            done=now.done,
            total=now.total,
            known=now.known,
            failed=now.failed,
            eta_s=now.eta_s,
            path=now.path,
        )

    options: dict[str, Any] = {
        "include": job["include"],
        "exclude": job["exclude"],
        "progress": progress,
        "config": BuildConfig(retry_failed=job["retry_failed"]),
    }
    with Index.open(job["directory"]) as index:
        while True:
            try:
                if job["kind"] == "prune":
                    emit("report", pruned=len(index.prune()))
                elif job["kind"] == "watch":
                    for event in index.watch(job["paths"], **options):  # waits for the lock itself
                        emit("watch", kind=event.kind, path=event.path, detail=event.detail)
                else:
                    emit("report", **_reported(index.add(job["paths"], **options)))
                return
            except IndexLockedError as error:
                emit("waiting", message=str(error))
                time.sleep(LOCKED_WAIT_S)


def _reported(report: BuildReport) -> dict[str, Any]:
    whole = report.to_dict()
    return {name: whole[name] for name in ("added", "replaced", "skipped", "failed")}


if __name__ == "__main__":
    main()
