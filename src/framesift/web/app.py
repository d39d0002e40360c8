"""The application: :func:`create_app` puts the parts together."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from ..index import Index
from .api import benchmark, jobs, media, searching, sessions, taking, understanding, uploads, videos
from .errors import handle_errors
from .guard import Guard
from .schemas import ErrorBody
from .services import Services
from .settings import Settings

__all__ = ["create_app"]

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": what, "model": ErrorBody}
    for status, what in {
        400: "The request asks for what makes no sense.",
        401: "The token is missing or wrong.",
        403: "Not allowed: another site, a folder that is not allowed, a server that is read-only.",
        404: "Not known.",
        409: "Not possible as things are: the file has changed, the model cannot be had, the job is over.",
        410: "The file is gone.",
        413: "Too large.",
        415: "Not a form.",
        422: "Not valid, or a file that cannot be decoded.",
        423: "Another process is writing to the index.",
        501: "An optional package is not installed.",
        503: "Too much to do; the header Retry-After says when to try again.",
    }.items()
}
"""What any route may answer instead of what it says, for the OpenAPI document."""


def create_app(libraries: Mapping[str, str | Path | Index], *, settings: Settings | None = None) -> FastAPI:
    """REST API and page over some indexes.

    Nothing is shared between two applications but files on disk. The indexes are opened when they are first asked for.

    Args:
        libraries: directories of indexes, or open ones, by the name that requests choose them by; the first is the
            default.
        settings: limits, folders and the token.

    Raises:
        InputError: there is no index.
    """
    settings = settings or Settings()
    services = Services.start(libraries, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            services.close()

    app = FastAPI(
        title="framesift",
        version=version("framesift"),
        description="Find moments in videos by text, and see which frames the text attended to.",
        lifespan=lifespan,
        docs_url=None,  # its scripts come from elsewhere; the document is at openapi_url
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    app.state.services = services

    app.add_middleware(Guard, settings=settings, observe=services.measures.observe)
    handle_errors(app)
    for part in (sessions, searching, uploads, videos, understanding, media, taking, jobs, benchmark):
        app.include_router(part.router, responses=ERRORS)
    _add_pages(app)
    return app


def _add_pages(app: FastAPI) -> None:
    from .pages import HERE, Files, page_routes

    app.include_router(page_routes())
    if (HERE / "static").is_dir():
        app.mount("/static", Files(directory=HERE / "static"), name="static")
