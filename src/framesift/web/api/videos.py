"""``/api/videos``: what an index holds, and one video of it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import torch
from fastapi import APIRouter, Path, Query

from ...index.schema import VideoRecord, to_column
from ..answers import Json, shown, shown_folder, shown_name
from ..bodies import Video, Videos, WholeVideo, answers
from ..library import Library
from ..schemas import TagsBody, Text
from ..services import Services, ServicesOf

__all__ = ["IndexName", "VideoId", "described", "router"]

router = APIRouter(tags=["videos"])

VideoId = Annotated[Text, Path(max_length=64)]
IndexName = Annotated[Text | None, Query(max_length=255)]


@router.get("/api/videos", responses=answers(Videos))
async def videos(
    services: ServicesOf,
    index: IndexName = None,
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    status: Literal["ok", "failed", "all"] = "all",
    folder: Annotated[Text | None, Query(max_length=4096)] = None,
    q: Annotated[Text | None, Query(max_length=1000)] = None,
) -> Json:
    """The files of an index, by path: all, those that could (not) be read, in a folder, with a word in their path."""
    library = services.libraries.get(index)
    return Json(await services.reading.run(_listed, library, offset, limit, status, folder, q))


def _listed(
    library: Library, offset: int, limit: int, status: str, folder: str | None, q: str | None
) -> dict[str, Any]:
    words = (q or "").casefold().split()
    below = "" if folder is None else folder.rstrip("/") + "/"
    found = [
        record
        for record in library.catalogue.records
        if status in ("all", record.status)
        and shown(record.uri).startswith(below)
        and all(word in shown(record.uri).casefold() for word in words)
    ]
    return {
        "videos": [described(record, library) for record in found[offset : offset + limit]],
        "total": len(found),
    }


@router.get("/api/videos/{video_id}", responses=answers(WholeVideo))
async def video(services: ServicesOf, video_id: VideoId, index: IndexName = None) -> Json:
    """One video: its file, its moments, its subtitles."""
    return Json(await services.reading.run(_video, services, video_id, index))


def _video(services: Services, video_id: str, index: str | None) -> dict[str, Any]:
    library, record = services.find(video_id, index)
    cues = library.listing.subtitles.cues(record.video_id)
    return {
        **described(record, library),
        "moments": _moments(library, record),
        "subtitles": [asdict(cue) for cue in cues],
    }


@router.put("/api/videos/{video_id}/tags", responses=answers(Video))
async def tag(services: ServicesOf, video_id: VideoId, body: TagsBody, index: IndexName = None) -> Json:
    """Give a video these tags and no others."""
    return Json(await services.reading.run(_tagged, services, video_id, index, body.tags))


def _tagged(services: Services, video_id: str, index: str | None, tags: list[str]) -> dict[str, Any]:
    services.check_writable()
    library, record = services.find(video_id, index)
    wanted = {tag.casefold() for tag in tags}
    (after,) = library.listing.tag(
        [record.uri], add=tags, remove=[tag for tag in record.tags if tag.casefold() not in wanted]
    )
    return described(after, library)


def _moments(library: Library, record: VideoRecord) -> list[dict[str, Any]]:
    gallery = library.listing.gallery()
    rows = sorted(gallery.rows_of(record.uri), key=lambda row: gallery.moment(row).start_s)
    if not rows:
        return []
    _, times = gallery.features_and_times(torch.tensor(rows, dtype=torch.long))
    places = [gallery.moment(row) for row in rows]
    return [
        {"start_s": place.start_s, "end_s": place.end_s, "frame_times_s": own}
        for place, own in zip(places, times, strict=True)
    ]


def described(record: VideoRecord, library: Library) -> dict[str, Any]:
    """A file of an index as the API shows it."""
    return {
        "video_id": record.video_id,
        "index": library.name,
        "name": shown_name(record.uri),
        "folder": shown_folder(record.uri),
        "path": to_column(record.uri),
        "duration_s": record.duration_s,
        "width": record.width,
        "height": record.height,
        "codec": record.codec,
        "fps": record.fps,
        "size_bytes": record.size_bytes,
        "added_at": record.added_at,
        "modified_at": datetime.fromtimestamp(record.mtime_ns / 1e9, UTC).isoformat(timespec="seconds"),
        "status": record.status,
        "error": record.error,
        "tags": list(record.tags),
    }
