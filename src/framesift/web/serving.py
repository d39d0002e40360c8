"""uvicorn as this server needs it: it bounds connections, and lets go of open streams of events when it ends."""

from __future__ import annotations

import time
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from .settings import Settings

__all__ = ["Server", "configured"]

LOOK_EVERY_TICKS = 10  # of uvicorn's, ten of which are a second


def configured(app: FastAPI, **options: Any) -> uvicorn.Config:
    """uvicorn's configuration for an application of :func:`.create_app`; ``options`` are uvicorn's."""
    settings: Settings = app.state.services.settings
    given: dict[str, Any] = {
        "log_level": "warning",
        "access_log": False,  # it would hold what people search for
        "server_header": False,
        "http": "h11",  # bounds the head of a request; httptools, which uvicorn prefers where it is, does not
        "h11_max_incomplete_event_size": 32 * 1024,
        "ws": "none",
        "limit_concurrency": settings.connections,
        "timeout_keep_alive": 30,
        "timeout_graceful_shutdown": 5,
    }
    return uvicorn.Config(app, **(given | options))


class Server(uvicorn.Server):
    """A server whose application has :class:`.Services`."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._idle: dict[Any, tuple[object, float]] = {}

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Tell the application, then end as uvicorn does: requests that run are answered first."""
        self.config.app.state.services.stopping.set()  # type: ignore[union-attr]
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """What uvicorn does ten times a second; besides, idle connections are closed once a second."""
        if counter % LOOK_EVERY_TICKS == 0:
            self._close_idle(self.config.app.state.services.settings.head_s)  # type: ignore[union-attr]
        return await super().on_tick(counter)

    def _close_idle(self, after_s: float) -> None:
        """Close connections on which no request has begun for a while.

        uvicorn's own limit of idle time ends with the first byte of a head: a client that never sends the last one
        would keep its connection for ever.
        """
        now, idle = time.monotonic(), dict[Any, tuple[object, float]]()
        for connection in list(self.server_state.connections):
            request: Any = getattr(
                connection, "cycle", None
            )  # the last one that was read to the end of its head
            if request is not None and not request.response_complete:
                continue
            known = self._idle.get(connection)
            since = known[1] if known is not None and known[0] is request else now
            idle[connection] = (request, since)
            if now - since > after_s:
                connection.transport.close()  # type: ignore[union-attr]
        self._idle = idle
