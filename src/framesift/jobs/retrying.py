"""A request whose replica dies under it is given to another one.

Ray Serve itself tries again only what a replica had not begun; for the rest its proxy sends no answer at all, which
becomes status 500. Replicas change nothing, so that every request can be asked twice. This is a layer of Serve's
proxy, which finds it by the name in ``RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH``; an answer that has begun to reach
the client cannot be taken back.
"""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..web.guard import HEADERS
from ..web.settings import Settings

__all__ = ["LAYERS", "Retrying", "layers"]

LAYERS = "framesift.jobs.retrying.layers"
"""Import path of :func:`layers`."""

TRIES = 5
PAUSE_S = 0.1  # doubled each time: 1.5 s in all, in which Serve notices that a replica is gone
SERVES_OWN = frozenset({500, 503})  # no answer came, or no replica is there
OURS = "x-frame-options"  # the guard before every route sends it with all answers, errors included


def layers() -> list[Middleware]:
    """What the proxy puts around itself."""
    return [Middleware(Retrying)]


class Retrying:
    """An ASGI layer that asks again where Serve, and not the application, says that something went wrong."""

    def __init__(self, app: ASGIApp) -> None:
        assert OURS in HEADERS
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _is_small(scope):
            await self._app(scope, receive, send)
            return
        body: list[Message] = []
        for left in reversed(range(TRIES)):
            attempt = _Attempt(body, receive, send, last=not left)
            try:
                await self._app({**scope, "headers": list(scope["headers"])}, attempt.receive, attempt.send)
            except Exception:
                if attempt.started or not left:
                    raise
            else:
                if attempt.started or attempt.client_gone:
                    return
            if left:
                await asyncio.sleep(PAUSE_S * 2 ** (TRIES - 1 - left))


def _is_small(scope: Scope) -> bool:
    """Whether the body can be kept for another try."""
    headers = Headers(scope=scope)
    length = headers.get("content-length", "0")
    return "transfer-encoding" not in headers and length.isdigit() and int(length[:20]) <= Settings.body_bytes


class _Attempt:
    """One try: reads the body anew, and holds back an answer that is Serve's own failure.

    Attributes:
        started: an answer has gone out to the client.
        client_gone: nobody waits for one.
    """

    def __init__(self, body: list[Message], receive: Receive, send: Send, *, last: bool) -> None:
        self.started = self.client_gone = self._held = False
        self._body, self._receive, self._send, self._last = body, receive, send, last
        self._given = 0

    async def receive(self) -> Message:
        if self._given < len(self._body):
            self._given += 1
            return self._body[self._given - 1]
        message = await self._receive()
        if message["type"] == "http.request":
            self._body.append(message)
            self._given += 1
        self.client_gone = message["type"] == "http.disconnect"
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            names = {bytes(name).lower() for name, _ in message.get("headers", ())}
            self._held = message["status"] in SERVES_OWN and OURS.encode() not in names and not self._last
        if not self._held:
            self.started = True
            await self._send(message)
