"""What a video says to a query, and why: ``timeline``, ``explain``, ``describe``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from torch import Tensor

from ...search.captions import describe as rank_captions
from ...search.query import MomentRef
from ...search.syntax import MOST_CHARACTERS
from ..answers import Json
from ..bodies import RankedCaptions, Timeline, Why, answers
from ..files import check_indexed
from ..schemas import MAX_S, DescribeBody, Text
from ..services import Services, ServicesOf
from .videos import IndexName, VideoId

__all__ = ["router"]

router = APIRouter(tags=["search"])

Line = Annotated[Text, Query(max_length=MOST_CHARACTERS)]
Second = Annotated[float, Query(ge=0, le=MAX_S, allow_inf_nan=False)]


@router.get("/api/videos/{video_id}/timeline", responses=answers(Timeline))
async def timeline(services: ServicesOf, video_id: VideoId, q: Line, index: IndexName = None) -> Json:
    """How well every moment and every frame of a video fits a query."""
    return Json(await services.search(_timeline, services, video_id, q, index))


def _timeline(services: Services, video_id: str, q: str, index: str | None) -> dict[str, Any]:
    library, record = services.find(video_id, index)
    found = library.searcher.timeline(record.uri, q).to_dict()
    return {"video_id": video_id, "moments": found["moments"], "frames": found["frames"]}


@router.get("/api/videos/{video_id}/explain", responses=answers(Why))
async def explain(
    services: ServicesOf, video_id: VideoId, q: Line, start: Second, end: Second, index: IndexName = None
) -> Json:
    """Why a moment has its score: the weight of every frame, and what else the model's matcher can tell.

    ``word_frame`` is X-CLIP's grid, a row for each of ``words``; ``contrasts`` are its four scores. What the model
    cannot tell is null.
    """
    return Json(await services.search(_explained, services, video_id, q, start, end, index))


def _explained(
    services: Services, video_id: str, q: str, start_s: float, end_s: float, index: str | None
) -> dict[str, Any]:
    library, record = services.find(video_id, index)
    reason = library.searcher.explain(q, MomentRef(video=record.uri, start_s=start_s, end_s=end_s))
    found = reason.explanation
    return {
        "video_id": video_id,
        "start_s": reason.moment.start_s,
        "end_s": reason.moment.end_s,
        "text": reason.text,
        "scores": dict(found.scores),
        "frame_times_s": reason.frame_times_s,
        "frame_weight": _numbers(found.frame_weight),
        "words": found.words,
        "word_frame": _numbers(found.word_frame),
        "contrasts": None if found.contrasts is None else dict(found.contrasts),
    }


@router.post("/api/videos/{video_id}/describe", responses=answers(RankedCaptions))
async def describe(
    services: ServicesOf, video_id: VideoId, body: DescribeBody, index: IndexName = None
) -> Json:
    """Rank captions or tags for a video, or for a stretch of it, best first."""
    return Json(await services.search(_ranked, services, video_id, body, index))


def _ranked(services: Services, video_id: str, body: DescribeBody, index: str | None) -> dict[str, Any]:
    library, record = services.find(video_id, index)
    if body.start_s is not None or body.end_s is not None or record.status != "ok":
        check_indexed(record, services.allowed)  # what is not stored is decoded
    opened = library.searcher.index
    ranked = rank_captions(
        opened.model, opened, record.uri, body.captions, start_s=body.start_s, end_s=body.end_s
    )
    return {"video_id": video_id, "captions": [one.to_dict() for one in ranked]}


def _numbers(values: Tensor | None) -> list[Any] | None:
    return None if values is None else values.tolist()
