"""``/api/search`` and ``/api/indexes``: questions and answers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from ...errors import InputError
from ...ranking import RERANK_DEPTH
from ...search.answer import Answer, Result
from ...search.query import MomentRef, MomentTerm, Term
from ...search.syntax import MOST_CHARACTERS, parse
from ...search.syntax import format as format_query
from ..answers import Json, shown_folder, shown_name
from ..bodies import Indexes, Results, answers
from ..library import Library
from ..schemas import MAX_K, MAX_OFFSET, LikedMoment, MomentBody, SearchBody, Text
from ..services import Services, ServicesOf

__all__ = ["router"]

router = APIRouter(tags=["search"])


@router.get("/api/indexes", responses=answers(Indexes))
async def indexes(services: ServicesOf) -> Json:
    """The indexes that are served; the first is searched where a request names none."""
    found = [await services.reading.run(library.info) for library in services.libraries]
    return Json({"indexes": found})


@router.get("/api/search", responses=answers(Results))
async def search_line(
    services: ServicesOf,
    q: Annotated[Text, Query(max_length=MOST_CHARACTERS)],
    index: Annotated[Text | None, Query(max_length=255)] = None,
    k: Annotated[int, Query(ge=1, le=MAX_K)] = 20,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
    unit: Literal["moment", "video"] = "moment",
    rerank: bool = True,
) -> Json:
    """Search by a line of text, in the syntax of the command line."""
    body = SearchBody(query=q, index=index, k=k, offset=offset, unit=unit, rerank=rerank)
    return Json(await services.search(_answer, services, body))


@router.post("/api/search", responses=answers(Results))
async def search(services: ServicesOf, body: SearchBody) -> Json:
    """Search by text, pictures, clips, moments, and by what was liked and disliked."""
    return Json(await services.search(_answer, services, body))


def _answer(services: Services, body: SearchBody) -> dict[str, Any]:
    library = services.libraries.get(body.index)
    terms: list[Term] = [MomentTerm(moment=_moment(library, like), weight=like.weight) for like in body.like]
    upload = None if body.upload is None else services.uploads.get(body.upload.id)
    if upload is not None and body.upload is not None:
        terms.append(upload.term(body.upload))
    query = parse(
        body.query,
        like=terms,
        liked=[_moment(library, one) for one in body.liked],
        disliked=[_moment(library, one) for one in body.disliked],
    )
    searcher = library.searcher
    try:
        answer = searcher.search(
            query,
            k=body.k,
            offset=body.offset,
            rerank_depth=RERANK_DEPTH if body.rerank else 0,
            unit=body.unit,
            sources=tuple(dict.fromkeys(body.sources)),
            group_duplicates=body.group_duplicates,
        )
    except InputError as error:
        if upload is None:
            raise
        raise InputError(
            str(error).replace(str(upload.path), upload.name)
        ) from None  # not where it lies here
    return {
        **_described(answer, library),
        "index": library.name,
        "can_rerank": searcher.index.model.reranker is not None,
    }


def _moment(library: Library, body: MomentBody | LikedMoment) -> MomentRef:
    return MomentRef(video=library.record(body.video_id).uri, start_s=body.start_s, end_s=body.end_s)


def _described(answer: Answer, library: Library) -> dict[str, Any]:
    return {
        **answer.to_dict(),
        "query": format_query(answer.query),
        "results": [_result(result, library) for result in answer.results],
    }


def _result(result: Result, library: Library) -> dict[str, Any]:
    """A result with names in place of paths; a video that was forgotten meanwhile keeps its identifier."""
    hit = result.hit
    return {
        "rank": hit.rank,
        "video_id": result.video_id,
        "video": shown_name(hit.video),
        "folder": shown_folder(hit.video),
        "start_s": hit.start_s,
        "end_s": hit.end_s,
        "focus_s": hit.focus_s if hit.attention else (hit.start_s, hit.end_s),
        "score": hit.score,
        "relevance": result.relevance,
        "frame_times_s": hit.frame_times_s,
        "attention": hit.attention,
        "sources": [asdict(source) for source in result.sources],
        "parts": [asdict(part) for part in result.parts],
        "duplicates": [
            {
                "video_id": library.catalogue.ids.get(one.video),
                "video": shown_name(one.video),
                "start_s": one.start_s,
                "end_s": one.end_s,
            }
            for one in result.duplicates
        ],
    }
