"""Pictures and the files themselves: ``/api/videos/{id}/frame``, ``strip``, ``sheet``, ``media``."""

from __future__ import annotations

import os
from functools import partial
from pathlib import PurePath
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from ...index.schema import VideoRecord
from ..cache import cache_key
from ..files import open_indexed
from ..schemas import MAX_S
from ..services import ServicesOf
from .videos import IndexName, VideoId

__all__ = ["router"]

router = APIRouter(tags=["media"])

MEDIA_TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".ogv": "video/ogg",
    ".avi": "video/x-msvideo",
    ".gif": "image/gif",
}
"""By the file's name, and nothing that a browser would run; the rest is ``application/octet-stream``."""

FRAMES_S = (
    31_536_000  # pictures are addressed by what they are made of, so a browser may keep them for a year
)
MAX_TIMES = 64
PRIVATE = f"private, max-age={FRAMES_S}, immutable"

Time = Annotated[
    float, Query(ge=0, le=MAX_S, allow_inf_nan=False, description="Seconds from the first frame.")
]
Width = Annotated[Literal["160", "320", "640", "1280"], Query(description="Pixels, at most.")]


@router.get("/api/videos/{video_id}/frame", response_class=Response)
async def frame(
    services: ServicesOf, video_id: VideoId, t: Time = 0.0, w: Width = "320", index: IndexName = None
) -> Response:
    """The frame on display at a time, as a JPEG."""
    record, path = await services.readable(video_id, index)
    key = cache_key("frame", *_identity(record), t, w)

    async def make(target: os.PathLike[str]) -> None:
        data = await services.media.run("frame", path=path, time_s=t, width_px=int(w))
        with open(target, "wb") as file:
            file.write(data)

    made = await services.cache.get(key, ".jpg", make)
    return FileResponse(made, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})


def _identity(record: VideoRecord) -> tuple[str, int, int]:
    """What decides the pictures of a file."""
    return record.uri, record.size_bytes, record.mtime_ns


@router.api_route("/api/videos/{video_id}/media", methods=["GET", "HEAD"], response_class=Response)
async def media(services: ServicesOf, video_id: VideoId, index: IndexName = None) -> Response:
    """The file itself, whole or in ranges (RFC 9110)."""
    _, record = await services.reading.run(services.find, video_id, index)
    file = await services.reading.run(partial(open_indexed, record, services.settings.allow_folders))
    suffix = PurePath(record.uri).suffix.lower()
    return OpenFile(file, media_type=MEDIA_TYPES.get(suffix, "application/octet-stream"))


class OpenFile(FileResponse):
    """A file that is open already, so that it cannot be swapped between the check and the answer."""

    def __init__(self, file: int, *, media_type: str) -> None:
        self._file = file
        super().__init__(
            f"/proc/self/fd/{file}",
            media_type=media_type,
            stat_result=os.fstat(file),
            headers={"cache-control": "private, no-cache"},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            os.close(self._file)
