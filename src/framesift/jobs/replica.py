"""What each replica of ``framesift serve --ray`` is: the application of ``framesift serve``, over a full copy.

It serves a tagged state of the indexes, read only, and follows the tag: a thread looks whether another state was
published and brings what is new of it into memory, so that no request waits for it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import FramesiftError
from ..web.app import create_app
from ..web.errors import refusal
from ..web.settings import Settings
from .replica_folder import ReplicaFolder

if TYPE_CHECKING:
    from ..web.services import Services

__all__ = ["Replica"]

log = logging.getLogger("framesift.jobs")

LOOK_S = 1.0
UPLOADS = "/api/uploads"


class Replica:
    """The class of the deployment; Serve makes one for each replica.

    Args:
        libraries: directories of the indexes by name, the same on all nodes.
        settings: of the server; ``tag`` is set. State and cache are the replica's own, and go with it.

    Raises:
        FramesiftError: an index or its model cannot be had on this node.
    """

    def __init__(self, libraries: Mapping[str, str], settings: Settings) -> None:
        self._folder = ReplicaFolder()
        path = self._folder.path
        own = replace(settings, read_only=True, state=path / "state", cache=path / "cache")
        app = create_app(dict(libraries), settings=own)
        self._services: Services = app.state.services
        self._app = _WithoutUploads(app)
        _bring_into_memory(self._services)
        self._following = threading.Thread(target=self._follow, name="framesift-tag", daemon=True)
        self._following.start()

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Serve asks for the application here, in the replica: it holds threads and processes, which cannot travel."""
        return self._app

    async def check_health(self) -> None:
        """Serve asks every few seconds, and replaces a replica that raises or does not answer in time."""
        if not self._following.is_alive():
            raise RuntimeError("the thread that follows the tag has ended")
        await self._services.reading.run(int)  # the threads that answer requests get on

    def _follow(self) -> None:
        while not self._services.stopping.wait(LOOK_S):
            try:
                _bring_into_memory(self._services)
            except (
                FramesiftError
            ) as error:  # the storage is away for a while, say; what is in memory is served
                log.warning("cannot look at what is published: %s", error)
        self._folder.delete()


def _bring_into_memory(services: Services) -> None:
    """What the first search of a new state would read."""
    for library in services.libraries:
        library.searcher.prepare()
        _ = library.catalogue


class _WithoutUploads:
    """Refuses uploads: the next request, which refers to one, may reach another replica."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._refused = refusal(
            501,
            "not_on_a_cluster",
            "a server on a cluster takes no uploads; to search by a picture or clip of your own, use a single server",
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = scope["type"] == "http" and scope["path"] == UPLOADS
        await (self._refused if refused else self._app)(scope, receive, send)
