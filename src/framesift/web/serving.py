"""uvicorn, told to let go of open streams of events when it is asked to end."""

from __future__ import annotations

from types import FrameType

import uvicorn

__all__ = ["Server"]


class Server(uvicorn.Server):
    """A server whose application has :class:`.Services`."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Tell the application, then end as uvicorn does: requests that run are answered first."""
        self.config.app.state.services.stopping.set()  # type: ignore[union-attr]
        super().handle_exit(sig, frame)
