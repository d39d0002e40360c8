"""What stands before every route: who may ask, from where, and how much they may send.

One ASGI layer, outermost, so that no route can be added beside it. In this order:

1. the ``Host`` header names this server: an IP address, ``localhost`` or a configured name. A page of the internet
   whose name was rebound to this address (DNS rebinding) still bears its own name, and is refused.
2. a browser says that the request comes from this server's own page (``Sec-Fetch-Site``, or else ``Origin``). Nothing
   is shared with other origins: no CORS headers, and answers bear ``Cross-Origin-Resource-Policy``.
3. the token, where one is set, for all but the page's own files, ``/api/health`` and ``/api/session``.
4. the body is counted and timed as it streams in; what ``Content-Length`` claims is believed only when it is too large
   already.

Every answer, errors included, gets the security headers.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import refusal
from .settings import Settings

__all__ = ["COOKIE", "OPEN_PATHS", "Guard", "cookie_value", "needs_token", "same_token"]

log = logging.getLogger("framesift.web")

COOKIE = "framesift_session"
OPEN_PATHS = frozenset({"/", "/library", "/benchmark", "/api/health", "/api/session"})
OPEN_PREFIXES = ("/static/", "/video/")
UPLOADS = "/api/uploads"
SAFE_METHODS = frozenset({"GET", "HEAD"})
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE"})
MULTIPART_BYTES = 2**16  # around an upload: boundaries and part headers

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; img-src 'self'; media-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
"""For all answers; a page brings a content security policy of its own, which allows its scripts."""


def needs_token(path: str) -> bool:
    """Whether a path is closed to those without the token; true for whatever is not named here."""
    return path not in OPEN_PATHS and not path.startswith(OPEN_PREFIXES)


def same_token(given: str, wanted: str) -> bool:
    """Compare in a time that does not tell how much is right."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def cookie_value(token: str) -> str:
    """What the session cookie holds: who steals it has not got the token itself."""
    return hashlib.blake2b(b"framesift session", key=token.encode()[:64], digest_size=32).hexdigest()


class Guard:
    """The layer around an application; ``observe(scope, status, seconds)`` is called after every request."""

    def __init__(
        self, app: ASGIApp, settings: Settings, observe: Callable[[Scope, int, float], None]
    ) -> None:
        self._app, self._settings, self._observe = app, settings, observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})  # there are no web sockets here
            return
        started, status = time.monotonic(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/api/"):
                    headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            refused = self._refused(scope)
            if refused is not None:
                await refused(scope, receive, answer)
            else:
                await self._app(scope, _limited(scope, receive, self._settings), answer)
        except Exception:
            if status:  # the answer is under way; all that is left is to break it off
                raise
            log.exception("%s %s failed", scope["method"], scope["path"])
            broken = refusal(500, "internal_error", "something went wrong in the server; its log says what")
            await broken(scope, receive, answer)
        finally:
            took_s = time.monotonic() - started
            self._observe(scope, status, took_s)
            # neither the query string nor the client's headers: they hold what people search for, and tokens
            log.info("%s %s %d %.0f ms", scope["method"], ascii(scope["path"]), status, 1000 * took_s)

    def _refused(self, scope: Scope) -> ASGIApp | None:
        """The answer to a request that goes no further, or None."""
        headers, path, method = Headers(scope=scope), scope["path"], scope["method"]
        if method not in METHODS:
            return refusal(405, "method_not_allowed", f"there is nothing to {method!a} here")
        host = headers.get("host", "")
        if not self._is_ours(host):
            return refusal(
                400,
                "unknown_host",
                f"this server does not answer to the name {host[:100]!a}; allow it with: --allow-host NAME",
            )
        if not _from_here(headers, host, path, method):
            return refusal(403, "cross_origin", "requests from other web sites are refused")
        if self._settings.token is not None and needs_token(path) and not self._knows_token(headers):
            return refusal(
                401,
                "token_needed",
                "this server needs its token: send the header 'Authorization: Bearer TOKEN'",
                {"www-authenticate": 'Bearer realm="framesift"'},
            )
        limit = _body_limit(path, self._settings)
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit():
            return refusal(400, "bad_request", "the Content-Length is no number")
        if int(length[:20]) > limit:
            return refusal(413, "too_large", _too_large(limit), {"connection": "close"})
        if "\0" in path:
            return refusal(400, "bad_request", "the path holds a NUL byte")
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if name == "localhost" or name in (known.lower() for known in self._settings.hosts):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _knows_token(self, headers: Headers) -> bool:
        wanted = self._settings.token or ""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return same_token(given.strip(), wanted)
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and same_token(cookie.value, cookie_value(wanted))


def _from_here(headers: Headers, host: str, path: str, method: str) -> bool:
    """Whether a browser says that this server's own page asks, or that nobody but the user does.

    A program that is no browser sends neither header; the token is what stops those.
    """
    origin = headers.get("origin")
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        return False  # among them "null", which sandboxed frames and files send
    site = headers.get("sec-fetch-site", "none")
    if site in ("same-origin", "none"):
        return True
    # A link from elsewhere may open the page, which shows nothing by itself; not in a frame, nor any file of the API.
    opens_page = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return opens_page and method in SAFE_METHODS and not needs_token(path) and not path.startswith("/api/")


def _body_limit(path: str, settings: Settings) -> int:
    return settings.upload_bytes + MULTIPART_BYTES if path == UPLOADS else settings.body_bytes


def _too_large(limit: int) -> str:
    return f"what was sent is larger than the {limit} bytes that are allowed here"


def _limited(scope: Scope, receive: Receive, settings: Settings) -> Receive:
    """``receive`` that ends the request once more than allowed has come in (413), or it comes too slowly (408)."""
    limit = _body_limit(scope["path"], settings)
    started, came, coming = time.monotonic(), 0, True

    async def counted() -> Message:
        nonlocal came, coming
        if not coming:
            return await receive()  # waits for the client to go away
        patience_s = settings.body_s + came / settings.slowest_bytes_s - (time.monotonic() - started)
        try:
            message = await asyncio.wait_for(receive(), max(0.0, patience_s))
        except TimeoutError:
            raise HTTPException(408, "the body came too slowly", {"connection": "close"}) from None
        coming = message.get("more_body", False)
        if message["type"] == "http.request":
            came += len(message.get("body", b""))
            if came > limit:
                raise HTTPException(413, _too_large(limit), {"connection": "close"})
        return message

    return counted
