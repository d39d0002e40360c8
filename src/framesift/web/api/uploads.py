"""``/api/uploads``: pictures and clips to search by."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.datastructures import UploadFile

from ..answers import Json
from ..errors import ApiError
from ..services import ServicesOf

__all__ = ["router"]

router = APIRouter(tags=["search"])

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


@router.post("/api/uploads", status_code=201, openapi_extra=BODY)
async def upload(services: ServicesOf, request: Request) -> Json:
    """Send a picture or clip (the part ``file`` of a form); a search names it by the ``id`` that is answered."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise ApiError(415, "not_a_form", "send the file as the part 'file' of a multipart/form-data form")
    async with services.uploads.place(), request.form(max_files=1, max_fields=1) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise ApiError(422, "invalid_request", "the form has no part 'file' with a file")
        taken = await services.uploads.take(file.file, file.filename or "file")
    return Json(taken.to_dict(), status=201)
