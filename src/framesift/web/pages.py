"""The page's routes: four HTML documents and their files.

The documents hold no data of the user's: what they show, they ask the REST API for. So they and ``/static`` need no
token, and a reader without one gets a page that can ask for it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

__all__ = ["CONTENT_SECURITY_POLICY", "PAGES", "Files", "page_routes"]

HERE = Path(__file__).parent

# Everything comes from the server itself; blob: is for the preview of a picture that the user chose.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' blob:; media-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

PAGES = {"search": "/", "video": "/video/{video_id}", "library": "/library", "benchmark": "/benchmark"}


class Files(StaticFiles):
    """Files of the page. Browsers ask each time whether they changed: an upgrade must not mix old and new modules."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        """The file, or 304 where the browser's copy is the same."""
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "no-cache"
        return response


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _document(page: str) -> str:
    """The HTML of a page; the same for everybody, so it is rendered once."""
    return _templates().get_template(f"{page}.html.j2").render(page=page, version=version("framesift"))


def page_routes() -> APIRouter:
    """A router with the pages of :data:`PAGES`; mount :class:`Files` at ``/static`` beside it."""
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
    for page, path in PAGES.items():
        router.add_api_route(path, _shower(page), methods=["GET", "HEAD"], name=page)
    return router


def _shower(page: str) -> Callable[[], HTMLResponse]:
    def show() -> HTMLResponse:
        """One page; which video or query it is of, its script reads from the address."""
        return HTMLResponse(
            _document(page),
            headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY, "Cache-Control": "no-cache"},
        )

    return show
