"""``/api/jobs`` and ``/api/folders``: what is being indexed, and where from."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query
from fastapi import Path as InPath
from starlette.responses import Response, StreamingResponse

from ...errors import IndexStateError, InputError
from ...index.files import VIDEO_SUFFIXES
from ...index.schema import IndexMeta, from_column, to_column
from ..answers import Json, shown, shown_name
from ..bodies import Folders, JobFacts, JobList, answers
from ..errors import ApiError
from ..files import allowed_folder
from ..job_store import Job
from ..schemas import JobBody, Text
from ..services import Services, ServicesOf

__all__ = ["router"]

router = APIRouter(tags=["jobs"])

LOOK_EVERY_S = 0.25
KEEP_ALIVE_S = 15.0  # proxies close a stream that says nothing for a minute
MOST_FOLDERS = 2000
COUNTED_FILES = 5000  # in a folder; more are not counted

JobId = Annotated[Text, InPath(max_length=64)]


@router.get("/api/jobs", responses=answers(JobList))
async def jobs(services: ServicesOf) -> Json:
    """All jobs, the newest first."""
    found = await services.reading.run(services.jobs.jobs)
    return Json({"jobs": [_told(job) for job in found]})


@router.post("/api/jobs", status_code=202, responses=answers(JobFacts, 202))
async def add(services: ServicesOf, body: JobBody) -> Json:
    """Queue a job: index files and folders, or forget files that are gone."""
    return Json(_told(await services.reading.run(_added, services, body)), status=202)


def _added(services: Services, body: JobBody) -> Job:
    services.check_writable()
    library = services.libraries.get(body.index)
    if IndexMeta.read(library.path).model is None:
        raise IndexStateError(
            f"the index {library.name!r} was built with a model that has no name; add to it where that model is"
        )
    if body.kind != "prune" and not body.paths:
        raise InputError("say what to index: paths is empty")
    paths: list[str] = []
    for given in map(from_column, body.paths):
        real = allowed_folder(given, services.allowed)
        if not os.path.exists(real):
            raise InputError(f"there is no file or folder {given!r}")
        paths.append(os.path.abspath(given))
    return services.jobs.queue(library.name).add(
        body.kind,
        paths=paths,
        include=body.include,
        exclude=body.exclude,
        retry_failed=body.retry_failed,
    )


@router.get("/api/jobs/{job_id}", responses=answers(JobFacts))
async def job(services: ServicesOf, job_id: JobId) -> Json:
    """One job as it is now."""
    return Json(_told(await services.reading.run(services.jobs.get, job_id)))


@router.delete("/api/jobs/{job_id}", status_code=202, responses=answers(JobFacts, 202))
async def cancel(services: ServicesOf, job_id: JobId) -> Json:
    """Cancel a job that waits or runs; what was indexed stays."""
    services.check_writable()
    return Json(_told(await services.reading.run(services.jobs.cancel, job_id)), status=202)


@router.get(
    "/api/jobs/{job_id}/events",
    response_class=Response,
    responses={200: {"content": {"text/event-stream": {}}, "description": "The job at each change."}},
)
async def events(services: ServicesOf, job_id: JobId) -> StreamingResponse:
    """The job again and again as server-sent events, from now until it is finished."""
    services.streams.check()
    first = await services.reading.run(services.jobs.get, job_id)
    return StreamingResponse(
        _events(services, first),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


async def _events(services: Services, now: Job) -> AsyncGenerator[bytes]:
    shown: Job | None = None
    quiet_s = 0.0
    with (
        suppress(ApiError),
        services.streams.place(),
    ):  # the job was forgotten, or too much is read: ask again
        while True:
            if now != shown:
                yield b"data: " + orjson.dumps(_told(now)) + b"\n\n"
                shown, quiet_s = now, 0.0
            elif quiet_s > KEEP_ALIVE_S:
                yield b": still here\n\n"
                quiet_s = 0.0
            if now.finished or services.stopping.is_set():
                return
            await asyncio.sleep(LOOK_EVERY_S)
            quiet_s += LOOK_EVERY_S
            now = await services.reading.run(services.jobs.get, now.id)


def _told(job: Job) -> dict[str, Any]:
    """A job as the API shows it."""
    values = job.to_dict()
    values["paths"] = [to_column(path) for path in job.paths]
    values["failed"] = [
        {"path": to_column(one.path), "name": shown_name(one.path), "reason": one.reason}
        for one in job.failed
    ]
    values["message"] = shown(job.message)
    return values


@router.get("/api/folders", responses=answers(Folders))
async def folders(services: ServicesOf, path: Annotated[Text | None, Query(max_length=4096)] = None) -> Json:
    """The folders in a folder, to choose one to index; without a path, the folders that are allowed."""
    return Json(await services.reading.run(_folders, services, path))


def _folders(services: Services, path: str | None) -> dict[str, Any]:
    allowed = services.allowed
    if path is None:
        found = [_folder(folder) for folder in allowed.outermost()[:MOST_FOLDERS]]
        return {"path": None, "parent": None, "folders": found}
    real = allowed_folder(from_column(path), allowed)
    try:
        with os.scandir(real) as entries:
            names = sorted(
                (
                    entry.name
                    for entry in entries
                    if not entry.name.startswith(".")
                    and entry.is_dir()
                    and allowed.holds(os.path.realpath(entry))
                ),
                key=str.casefold,
            )
    except OSError as error:
        raise ApiError(404, "unknown_folder", f"the folder cannot be read: {error.strerror}") from None
    parent = os.path.dirname(real)
    return {
        "path": to_column(real),
        "parent": to_column(parent) if parent != real and allowed.holds(parent) else None,
        "folders": [_folder(os.path.join(real, name)) for name in names[:MOST_FOLDERS]],
    }


def _folder(path: str) -> dict[str, Any]:
    return {"name": shown_name(path) or path, "path": to_column(path), "videos": _count(path)}


def _count(path: str) -> int | None:
    """Videos in a folder itself, not below it; None where they are too many to count or cannot be seen."""
    count = 0
    try:
        with os.scandir(path) as entries:
            for seen, entry in enumerate(entries):
                if seen >= COUNTED_FILES:
                    return None
                count += os.path.splitext(entry.name)[1].lower() in VIDEO_SUFFIXES
    except OSError:
        return None
    return count
