"""The application: :func:`create_app` puts the parts together."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI

from ..index import Index
from .api import benchmark, jobs, media, searching, sessions, taking, understanding, uploads, videos
from .bodies import ERRORS
from .errors import handle_errors
from .guard import Guard
from .services import Services
from .settings import Settings

__all__ = ["create_app"]


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
