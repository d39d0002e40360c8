"""``/api/uploads``: pictures and clips to search by."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile

from ..answers import Json
from ..bodies import Sent, answers
from ..errors import ApiError
from ..services import Services, ServicesOf

__all__ = ["router"]

router = APIRouter(tags=["search"])

CHARSETS = (b"utf-8", b"utf8", b"us-ascii")  # of all that Python knows, some raise and some take for ever
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}


@router.post("/api/uploads", status_code=201, openapi_extra=BODY, responses=answers(Sent, 201))
async def upload(services: ServicesOf, request: Request) -> Json:
    """Send a picture or clip (the part ``file`` of a form); a search names it by the ``id`` that is answered."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        raise ApiError(415, "not_a_form", "send the file as the part 'file' of a multipart/form-data form")
    if options.get(b"charset", b"utf-8").lower() not in CHARSETS:
        raise ApiError(415, "not_a_form", "the form's charset has to be UTF-8")
    length = request.headers.get("content-length")  # which the guard has seen to be a number
    with services.uploads.place(None if length is None else int(length)):
        return await _taken(services, request)


async def _taken(services: Services, request: Request) -> Json:
    async with request.form(max_files=1, max_fields=1) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise ApiError(422, "invalid_request", "the form has no part 'file' with a file")
        taken = await services.uploads.take(file.file, file.filename or "file")
    return Json(taken.to_dict(), status=201)
