"""``/api/health``, ``/metrics``, and the session that a browser gets for the token."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter, Request
from starlette.responses import Response

from ..answers import Json
from ..bodies import Health, answers
from ..errors import ApiError
from ..guard import COOKIE, cookie_value, same_token
from ..schemas import SessionBody
from ..services import ServicesOf

__all__ = ["router"]

router = APIRouter(tags=["server"])

SESSION_S = 30 * 24 * 3600


@router.get("/api/health", responses=answers(Health))
async def health(services: ServicesOf) -> Json:
    """Whether the server is there, whether it has brought into memory what first searches would otherwise wait for, and
    whether it wants a token; open to everybody."""
    return Json(
        {
            "status": "ok",
            "ready": services.ready.is_set(),
            "version": version("framesift"),
            "token": services.settings.token is not None,
        }
    )


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(services: ServicesOf) -> Response:
    """Counters and gauges for Prometheus."""
    text = await services.reading.run(services.measures.text)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


@router.post("/api/session", status_code=204, response_class=Response)
async def begin(services: ServicesOf, request: Request, body: SessionBody) -> Response:
    """Exchange the token for a cookie, which scripts cannot read and other sites do not send.

    Behind an HTTPS proxy on this machine that says so (``X-Forwarded-Proto``) it is for HTTPS only.
    """
    token = services.settings.token
    if token is None:
        return Response(status_code=204)
    if not same_token(body.token.strip(), token):
        raise ApiError(401, "wrong_token", "this is not the server's token")
    response = Response(status_code=204)
    response.set_cookie(
        COOKIE,
        cookie_value(token),
        max_age=SESSION_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
        path="/",
    )
    return response


@router.delete("/api/session", status_code=204, response_class=Response)
async def end() -> Response:
    """Forget the cookie."""
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict", path="/")
    return response
