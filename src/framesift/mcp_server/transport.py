"""How a server is reached: over the standard streams of a process, or over HTTP on this machine.

Over HTTP it listens on 127.0.0.1 and nowhere else. A page in the user's browser could still try to talk to it: the SDK
refuses requests whose ``Host`` or ``Origin`` is not local (DNS rebinding), and a token keeps out other local users.
"""

from __future__ import annotations

import hmac
import socket
from collections.abc import Callable

import anyio
import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import InputError

__all__ = ["PATH", "serve_http", "serve_stdio"]

HOST = "127.0.0.1"
PATH = "/mcp"
SHUTDOWN_S = 3  # for calls that are being answered when the server ends


def serve_stdio(server: MCPServer) -> None:
    """Answer on stdin and stdout until stdin ends. Whatever else is written to stdout meanwhile goes to stderr."""
    server.run("stdio")


def serve_http(server: MCPServer, *, port: int, token: str | None, ready: Callable[[str], None]) -> None:
    """Answer HTTP requests (the protocol's streamable HTTP) until interrupted.

    Args:
        server: what answers.
        port: of 127.0.0.1; 0: any that is free.
        token: what clients must send as ``Authorization: Bearer TOKEN``; None: no token is asked for.
        ready: called with the URL once the port is open.

    Raises:
        InputError: the port is taken, or may not be used.
    """
    bound = _bound(port)
    port = bound.getsockname()[1]
    local = [f"{HOST}:{port}", f"localhost:{port}"]
    app: ASGIApp = server.streamable_http_app(
        streamable_http_path=PATH,
        transport_security=TransportSecuritySettings(
            allowed_hosts=local, allowed_origins=[f"http://{host}" for host in local]
        ),
    )
    if token is not None:
        app = BearerToken(app, token)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, timeout_graceful_shutdown=SHUTDOWN_S, lifespan="on"
    )
    ready(f"http://{HOST}:{port}{PATH}")
    with bound:
        anyio.run(lambda: uvicorn.Server(config).serve(sockets=[bound]))


class BearerToken:
    """Lets only requests with the right bearer token (RFC 6750) through."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with 401."""
        if scope["type"] == "http":
            scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._token):
                refusal = PlainTextResponse(
                    "a bearer token is needed", status_code=401, headers={"WWW-Authenticate": "Bearer"}
                )
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _bound(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
        bound.listen()  # now, not when the server has started: a client may connect as soon as it is told the URL
    except OSError as error:
        bound.close()
        raise InputError(
            f"cannot listen on {HOST}:{port}: {error.strerror}; choose another port, or 0 for any that is free"
        ) from error
    return bound
