"""``/api/benchmark``: captions whose videos are known, and what the model finds for them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from ...ranking import RERANK_DEPTH, Hit
from ..answers import Json, shown_name
from ..bodies import CaptionResult, Captions, Place, answers
from ..captions import KnownCaption
from ..errors import ApiError
from ..library import Library
from ..schemas import Text
from ..services import Services, ServicesOf
from .videos import IndexName

__all__ = ["router"]

router = APIRouter(tags=["benchmark"])

TOP = 5
MOST_RANKED = 1000  # a true video behind this place is said to be behind it


@router.get("/api/benchmark", responses=answers(Captions))
async def captions(
    services: ServicesOf,
    index: IndexName = None,
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    q: Annotated[Text | None, Query(max_length=1000)] = None,
) -> Json:
    """The captions that lie beside the videos of an index, if there are any."""
    return Json(await services.reading.run(_captions, services.libraries.get(index), offset, limit, q))


def _captions(library: Library, offset: int, limit: int, q: str | None) -> dict[str, Any]:
    words = (q or "").casefold().split()
    known = library.captions
    found = [(n, one) for n, one in enumerate(known) if all(word in one.text.casefold() for word in words)]
    return {
        "available": bool(known),
        "index": library.name,
        "captions": [{"n": n, **_told(one, library)} for n, one in found[offset : offset + limit]],
        "total": len(found),
    }


def _told(caption: KnownCaption, library: Library) -> dict[str, Any]:
    return {
        "text": caption.text,
        "video_id": caption.video_id,
        "name": shown_name(library.record(caption.video_id).uri),
        "start_s": caption.start_s,
        "end_s": caption.end_s,
    }


@router.get("/api/benchmark/{n}", responses=answers(CaptionResult))
async def caption(
    services: ServicesOf,
    n: Annotated[int, Path(ge=0, le=10**9)],
    index: IndexName = None,
    rerank: bool = True,
) -> Json:
    """One caption: its own video with the attention over the frames, and the five videos that are found for it."""
    return Json(await services.search(_ranked, services, n, index, rerank))


def _ranked(services: Services, n: int, index: str | None, rerank: bool) -> dict[str, Any]:
    library = services.libraries.get(index)
    known = library.captions
    if n >= len(known):
        raise ApiError(404, "unknown_caption", f"there are {len(known)} captions; the first is 0")
    truth = known[n]
    searched = library.searcher.index
    hits = searched.search(
        truth.text,
        k=MOST_RANKED,
        depth=max(1, len(searched)),  # evaluation is search over all of the gallery
        rerank_depth=RERANK_DEPTH if rerank else 0,
        unit="video",
    )
    ids = library.catalogue.ids
    own = next((hit for hit in hits if ids.get(hit.video) == truth.video_id), None)
    return {
        "n": n,
        **_told(truth, library),
        "can_rerank": searched.model.reranker is not None,
        "truth": {
            **_told(truth, library),
            **(_seen(own) if own else dict.fromkeys(Place.model_fields)),
            "behind": None if own else MOST_RANKED,
        },
        "top": [
            {
                **_seen(hit),
                "video_id": ids.get(hit.video),
                "name": shown_name(hit.video),
                "truth": ids.get(hit.video) == truth.video_id,
            }
            for hit in hits[:TOP]
        ],
        "ranked": len(hits),
    }


def _seen(hit: Hit) -> dict[str, Any]:
    return {
        "rank": hit.rank,
        "score": hit.score,
        "found_start_s": hit.start_s,
        "found_end_s": hit.end_s,
        "frame_times_s": hit.frame_times_s,
        "attention": hit.attention,
    }
