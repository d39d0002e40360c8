"""``/api/export``: results as files for other programs."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from ..files import check_indexed
from ..schemas import ExportBody
from ..sending import attachment
from ..services import Services, ServicesOf

__all__ = ["router"]

router = APIRouter(tags=["export"])

TYPES = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "edl": "text/plain; charset=utf-8",
    "fcpxml": "application/xml",
    "otio": "application/json",
}
TIMELINES = frozenset({"edl", "fcpxml", "otio"})
DOWNLOAD: dict[int | str, dict[str, Any]] = {
    200: {"content": {kind.partition(";")[0]: {} for kind in TYPES.values()}, "description": "The file."}
}


@router.post("/api/export", response_class=Response, responses=DOWNLOAD)
async def export(services: ServicesOf, body: ExportBody) -> Response:
    """Write results as a table (``csv``, ``json``) or a timeline for video editors (``edl``, ``fcpxml``, ``otio``).

    What could not be written is counted in the header ``X-Framesift-Notes``.
    """
    results = await services.reading.run(_results, services, body)
    draft = services.uploads.draft(f".{body.format}")
    write = partial(services.clips.run if body.format in TIMELINES else services.pictures.run, "export")
    data, notes = await write(path=str(draft), results=results, query=body.query)
    headers = {"content-disposition": attachment(f"framesift.{body.format}")}
    if notes:
        headers["x-framesift-notes"] = str(len(notes))
    return Response(data, media_type=TYPES[body.format], headers=headers)


def _results(services: Services, body: ExportBody) -> list[dict[str, Any]]:
    """What the exporting process is given of each result; a timeline is of files that may be read."""
    records = {one.video_id: services.find(one.video_id, body.index)[1] for one in body.results}
    if body.format in TIMELINES:
        for record in records.values():
            check_indexed(record, services.allowed)
    return [
        {
            "video": records[one.video_id].uri,
            "start_s": one.start_s,
            "end_s": one.end_s,
            "score": one.score,
            "text": one.text,
        }
        for one in body.results
    ]
