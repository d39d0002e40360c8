"""Pictures, clips and the files themselves."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from ...errors import InputError
from ...index.schema import VideoRecord
from ..answers import Json
from ..bodies import Playable, answers
from ..cache import cache_key
from ..errors import ApiError
from ..files import open_indexed
from ..schemas import MAX_S, Text
from ..sending import OpenFile, attachment
from ..services import Services, ServicesOf
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

MAX_TIMES = 64
SHEET_FRAMES = 12
MAX_JPEG_PX = 65_500  # libjpeg's JPEG_MAX_DIMENSION
HOUR = "private, max-age=3600"

Time = Annotated[
    float, Query(ge=0, le=MAX_S, allow_inf_nan=False, description="Seconds from the first frame.")
]
OptionalTime = Annotated[float | None, Query(ge=0, le=MAX_S, allow_inf_nan=False)]
Width = Annotated[Literal["160", "320", "640", "1280"], Query(description="Pixels, at most.")]
JPEG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": {}}}}
MP4: dict[int | str, dict[str, Any]] = {200: {"content": {"video/mp4": {}}}, 206: {"description": "A part."}}


@router.get("/api/videos/{video_id}/frame", response_class=Response, responses=JPEG)
async def frame(
    services: ServicesOf, video_id: VideoId, t: Time = 0.0, w: Width = "320", index: IndexName = None
) -> Response:
    """The frame on display at a time, as a JPEG; after the end, the last one."""
    record = await services.readable(video_id, index)

    async def make() -> bytes:
        return await services.decoded(services.pictures, record, "frame", time_s=t, width_px=int(w))

    return await _picture(services, cache_key("frame", *_identity(record), t, w), make)


@router.get("/api/videos/{video_id}/strip", response_class=Response, responses=JPEG)
async def strip(
    services: ServicesOf,
    video_id: VideoId,
    t: Annotated[
        Text,
        Query(max_length=2000, description=f"Times in seconds with commas between, {MAX_TIMES} at most."),
    ],
    w: Width = "160",
    index: IndexName = None,
) -> Response:
    """The frames at several times side by side in one JPEG, all of one width: one request, one pass of decoding."""
    times = _times(t)
    if len(times) * int(w) > MAX_JPEG_PX:
        raise InputError(
            f"{len(times)} frames of {w} pixels make no JPEG, which has {MAX_JPEG_PX:,} at most; ask for fewer"
        )
    record = await services.readable(video_id, index)

    async def make() -> bytes:
        return await services.decoded(services.pictures, record, "strip", times_s=times, width_px=int(w))

    return await _picture(services, cache_key("strip", *_identity(record), times, w), make)


@router.get("/api/videos/{video_id}/sheet", response_class=Response, responses=JPEG)
async def sheet(
    services: ServicesOf,
    video_id: VideoId,
    start: Time = 0.0,
    end: OptionalTime = None,
    frames: Annotated[int, Query(ge=1, le=MAX_TIMES)] = SHEET_FRAMES,
    w: Width = "320",
    index: IndexName = None,
) -> Response:
    """A contact sheet of a stretch as a JPEG file: frames at equal distances, each with its time."""
    record = await services.readable(video_id, index)
    start_s, end_s = _stretch(record, start, end)
    step_s = (end_s - start_s) / frames
    times = [start_s + (number + 0.5) * step_s for number in range(frames)]

    async def make() -> bytes:
        captions = [_clock(time_s) for time_s in times]
        return await services.decoded(
            services.pictures, record, "sheet", times_s=times, captions=captions, width_px=int(w)
        )

    response = await _picture(services, cache_key("sheet", *_identity(record), times, w), make)
    response.headers["content-disposition"] = attachment(_name(record, start_s, end_s, ".jpg"))
    return response


@router.get("/api/videos/{video_id}/media", response_class=Response, responses=MP4)
@router.head("/api/videos/{video_id}/media", response_class=Response, include_in_schema=False)
async def media(services: ServicesOf, video_id: VideoId, index: IndexName = None) -> Response:
    """The file itself, whole or in ranges (RFC 9110)."""
    _, record = await services.reading.run(services.find, video_id, index)
    file = await services.reading.run(open_indexed, record, services.allowed)
    suffix = PurePath(record.uri).suffix.lower()
    return OpenFile(file, media_type=MEDIA_TYPES.get(suffix, "application/octet-stream"))


@router.get("/api/videos/{video_id}/play", response_class=Response, responses=MP4)
@router.head("/api/videos/{video_id}/play", response_class=Response, include_in_schema=False)
async def play(
    services: ServicesOf,
    video_id: VideoId,
    start: Time = 0.0,
    end: OptionalTime = None,
    index: IndexName = None,
) -> Response:
    """A stretch as an MP4 that every browser plays; made when it is first asked for, which may take a minute."""
    record = await services.readable(video_id, index)
    most_s = services.settings.clip_length_s
    start_s, end_s = _stretch(record, start, end)
    end_s = min(end_s, start_s + most_s)

    async def make(target: Path) -> None:
        await services.decoded(
            services.clips, record, "play", target=str(target), start_s=start_s, end_s=end_s, most_s=most_s
        )

    key = cache_key("play", *_identity(record), start_s, end_s)
    made = await services.cache.get(key, ".mp4", make)
    return OpenFile(await services.reading.run(_opened, made), media_type="video/mp4", cache=HOUR)


@router.get("/api/videos/{video_id}/cut", response_class=Response, responses=MP4)
async def cut(
    services: ServicesOf,
    video_id: VideoId,
    start: Time,
    end: Time,
    mode: Literal["auto", "copy", "encode"] = "auto",
    index: IndexName = None,
) -> Response:
    """A stretch as a file to keep: its streams as they are where that is possible, else encoded anew."""
    record = await services.readable(video_id, index)
    start_s, end_s = _stretch(record, start, end)
    if end_s - start_s > (most_s := services.settings.clip_length_s):
        raise InputError(f"a cut of {end_s - start_s:g} s was asked for; the longest is {most_s:g} s")
    suffix = PurePath(record.uri).suffix.lower()
    suffix = suffix if suffix in (".mov", ".mkv", ".webm") else ".mp4"

    async def make(target: Path) -> None:
        await services.decoded(
            services.clips, record, "cut", target=str(target), start_s=start_s, end_s=end_s, mode=mode
        )

    made = await services.cache.get(cache_key("cut", *_identity(record), start_s, end_s, mode), suffix, make)
    return OpenFile(
        await services.reading.run(_opened, made),
        media_type=MEDIA_TYPES[suffix],
        cache=HOUR,
        disposition=attachment(_name(record, start_s, end_s, suffix)),
    )


@router.get("/api/videos/{video_id}/playable", responses=answers(Playable))
async def playable(services: ServicesOf, video_id: VideoId, index: IndexName = None) -> Json:
    """How a browser can show the video (``direct``, ``remux``, ``transcode``, ``frames``, ``none``), and why."""
    try:
        record = await services.readable(video_id, index)
    except ApiError as error:
        if error.status == 404:
            raise
        return Json({"how": "none", "reason": error.message, "unless": None})
    if record.status != "ok":
        return Json({"how": "none", "reason": record.error, "unless": None})
    found = await services.decoded(services.pictures, record, "playable")
    how = "direct" if found["verdict"] == "as_is" else found["verdict"]
    return Json({"how": how, "reason": found["reason"], "unless": found["unless"]})


async def _picture(services: Services, key: str, make: Callable[[], Awaitable[bytes]]) -> Response:
    async def write(target: Path) -> None:
        data = await make()
        await services.reading.run(target.write_bytes, data)

    made = await services.cache.get(key, ".jpg", write)
    return OpenFile(await services.reading.run(_opened, made), media_type="image/jpeg", cache=HOUR)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _identity(record: VideoRecord) -> tuple[str, int, int]:
    """What decides the pictures of a file."""
    return record.uri, record.size_bytes, record.mtime_ns


def _times(text: str) -> list[float]:
    try:
        times = [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError("t is a list of seconds with commas between, such as 0.5,1.5,2.5") from None
    if len(times) > MAX_TIMES or not all(0 <= time_s <= MAX_S for time_s in times):
        raise InputError(f"t holds {MAX_TIMES} times at most, each from 0 to {MAX_S:g} seconds")
    return times


def _stretch(record: VideoRecord, start_s: float, end_s: float | None) -> tuple[float, float]:
    """The stretch that was asked for, no longer than the video."""
    length_s = record.duration_s if record.duration_s is not None else MAX_S
    stop_s = length_s if end_s is None else min(end_s, length_s)
    if not start_s < stop_s:
        raise InputError(
            f"there is nothing from {start_s:g} s to {stop_s:g} s in this video of {length_s:g} s"
        )
    return start_s, stop_s


def _clock(time_s: float) -> str:
    minutes, seconds = divmod(time_s, 60)
    return f"{int(minutes)}:{seconds:04.1f}"


def _name(record: VideoRecord, start_s: float, end_s: float, suffix: str) -> str:
    return f"{PurePath(record.uri).stem} {start_s:.1f}-{end_s:.1f} s{suffix}"
