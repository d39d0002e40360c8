"""Every error as an HTTP answer: one table for the library's, and a class for what only HTTP knows.

The body is always ``{"error": {"code": ..., "message": ...}}``; the message is written for people.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from ..errors import (
    CheckpointError,
    ClusterError,
    ConfigError,
    DatasetError,
    DecodeError,
    EmptyVideoError,
    FingerprintError,
    FramesiftError,
    IndexLockedError,
    IndexNotFoundError,
    IndexStateError,
    InputError,
    MissingExtraError,
    MissingFeatureError,
    ModelError,
    ShapeError,
    UnknownModelError,
)
from .answers import Json

__all__ = ["STATUSES", "ApiError", "handle_errors", "refusal", "status_of"]

STATUSES: dict[type[FramesiftError], tuple[int, str]] = {
    InputError: (400, "input_error"),
    ShapeError: (400, "input_error"),
    ConfigError: (400, "input_error"),
    DecodeError: (422, "decode_error"),
    EmptyVideoError: (422, "decode_error"),
    ModelError: (409, "model_error"),
    UnknownModelError: (409, "unknown_model"),
    CheckpointError: (409, "model_error"),
    MissingFeatureError: (409, "model_error"),
    IndexStateError: (409, "index_state"),
    IndexNotFoundError: (404, "index_not_found"),
    FingerprintError: (409, "other_model"),
    IndexLockedError: (423, "index_locked"),
    DatasetError: (404, "data_not_found"),
    MissingExtraError: (501, "not_installed"),
    ClusterError: (503, "cluster_error"),
    FramesiftError: (500, "error"),
}
"""Status and code of the library's errors. An index or model that cannot be used is a conflict with the state of
things (409), not a fault of the server: the same request succeeds once a person has repaired them."""

HTTP_CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    408: "too_slow",
    413: "too_large",
}


class ApiError(Exception):
    """What the library has no error for, such as an identifier that nobody knows.

    Attributes:
        status: HTTP status.
        code: word for programs.
        message: sentence for people.
        headers: more headers of the answer.
    """

    def __init__(
        self, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers = dict(headers or {})


def status_of(error: FramesiftError) -> tuple[int, str]:
    """Status and code of an error: those of its class, or of the nearest one above it."""
    return next(STATUSES[cls] for cls in type(error).__mro__ if cls in STATUSES)


def refusal(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Json:
    """The answer that every error becomes."""
    return Json({"error": {"code": code, "message": message}}, status=status, headers=headers)


def handle_errors(app: FastAPI) -> None:
    """Let ``app`` answer errors as this module says."""

    @app.exception_handler(ApiError)
    async def _api(_: Request, error: ApiError) -> Json:
        return refusal(error.status, error.code, error.message, error.headers)

    @app.exception_handler(FramesiftError)
    async def _library(_: Request, error: FramesiftError) -> Json:
        return refusal(*status_of(error), str(error))

    @app.exception_handler(OSError)
    async def _system(_: Request, error: OSError) -> Json:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return refusal(507, "disk_full", "the server's disk is full")
        raise error

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> Json:
        return refusal(422, "invalid_request", _explained(error))

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> Json:
        code = HTTP_CODES.get(error.status_code, "error")
        return refusal(error.status_code, code, str(error.detail), error.headers)


def _explained(error: RequestValidationError) -> str:
    """One sentence for each fault; what was sent is not repeated."""
    faults = [
        f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()[:5]
    ]
    return "; ".join(faults) or "the request is not valid"
