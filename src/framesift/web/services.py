"""What the routes work with: one object for each application, made by :func:`framesift.web.app.create_app`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

from fastapi import Depends, Request

from ..errors import DecodeError, FramesiftError, InputError
from ..index import Index
from ..index.schema import VideoRecord
from .answers import shown_name
from .cache import FileCache
from .errors import ApiError
from .files import Allowed, check_indexed, open_indexed
from .jobs import Jobs
from .library import Libraries, Library
from .measuring import Measures
from .media_pool import MediaPool
from .pools import Places, Pool
from .settings import Settings
from .uploads import Uploads

__all__ = ["Services", "ServicesOf", "services_of"]

P = ParamSpec("P")
R = TypeVar("R")

MOST_STREAMS = 64  # each looks at its job four times a second


@dataclass(frozen=True, eq=False)
class Services:
    """Indexes, threads, processes and stores of one server.

    Attributes:
        searching, reading: threads for searches, and for lists and other short reading.
        pictures, clips: processes that decode and encode; clips take minutes, so they do not share.
        stopping: set when the server is asked to end, so that streams of events end, too.
        streams: places of streams of events.
        allowed: the folders that may be read.
        ready: set but for the time of :meth:`warm_up`, in which searches are answered, too, but wait.
    """

    settings: Settings
    libraries: Libraries
    searching: Pool
    reading: Pool
    pictures: MediaPool
    clips: MediaPool
    cache: FileCache
    uploads: Uploads
    jobs: Jobs
    measures: Measures
    stopping: threading.Event
    streams: Places
    allowed: Allowed
    ready: threading.Event

    @classmethod
    def start(cls, sources: Mapping[str, str | Path | Index], settings: Settings) -> Services:
        """All of them, for the indexes of ``sources``; jobs that were interrupted go on.

        Raises:
            InputError: there is no index.
            IndexStateError: the folder of jobs cannot be written to.
        """
        libraries = Libraries(sources, tag=settings.tag, candidates=settings.candidates)
        reading = Pool("lists", threads=2, waiting=settings.search_waiting)
        searching = Pool("searches", threads=settings.search_threads, waiting=settings.search_waiting)
        pictures = MediaPool(
            "pictures",
            processes=settings.picture_processes,
            waiting=settings.picture_waiting,
            timeout_s=settings.picture_s,
        )
        clips = MediaPool(
            "clips",
            processes=settings.clip_processes,
            waiting=settings.clip_waiting,
            timeout_s=settings.clip_s,
        )
        cache = FileCache(settings.cache / "media", settings.cache_bytes)
        jobs = Jobs({library.name: library.path for library in libraries}, settings.state)
        ready = threading.Event()
        ready.set()
        return cls(
            settings=settings,
            libraries=libraries,
            searching=searching,
            reading=reading,
            pictures=pictures,
            clips=clips,
            cache=cache,
            uploads=Uploads(settings, pictures, reading),
            jobs=jobs,
            measures=Measures(
                libraries, {"search": searching, "pictures": pictures, "clips": clips}, cache, jobs
            ),
            stopping=threading.Event(),
            allowed=Allowed(settings.allow_folders),
            ready=ready,
            streams=Places(MOST_STREAMS, "too many streams of events are open already"),
        )

    def warm_up(self, tell: Callable[[FramesiftError], None]) -> None:
        """Load models and bring into memory what first searches would, in a thread; :attr:`ready` is clear until then.

        Args:
            tell: called with what cannot be had; searches get the same error, and what there is else is served.
        """

        def work() -> None:
            for library in self.libraries:
                try:
                    library.searcher.prepare()
                except FramesiftError as error:
                    if not self.stopping.is_set():
                        tell(error)
            self.ready.set()

        self.ready.clear()
        threading.Thread(target=work, name="framesift-warm-up", daemon=True).start()

    def close(self) -> None:
        """End threads, processes and jobs; a job goes on when the next server starts."""
        self.stopping.set()
        self.jobs.close()
        self.searching.close()
        self.reading.close()
        self.pictures.close()
        self.clips.close()
        self.uploads.close()
        self.libraries.close()

    def check_writable(self) -> None:
        """Raise ApiError, status 403, where nothing may be changed."""
        if self.settings.read_only:
            raise ApiError(403, "read_only", "this server was started with --read-only")

    def find(self, video_id: str, index: str | None) -> tuple[Library, VideoRecord]:
        """A video by its identifier, in the index named or in any.

        Raises:
            ApiError: 404, none holds it.
        """
        if index is not None:
            library = self.libraries.get(index)
            return library, library.record(video_id)
        for library in self.libraries:
            if (record := library.catalogue.by_id.get(video_id)) is not None:
                return library, record
        raise ApiError(404, "unknown_video", "no index holds a video of that id")

    async def readable(self, video_id: str, index: str | None) -> VideoRecord:
        """A video whose file may be decoded now.

        Raises:
            ApiError: 404, it is not known; 403, 409 or 410, the file is not to be read (:mod:`.files`).
        """
        return await self.reading.run(self._readable, video_id, index)

    def _readable(self, video_id: str, index: str | None) -> VideoRecord:
        _, record = self.find(video_id, index)
        check_indexed(record, self.allowed)
        return record

    async def decoded(self, pool: MediaPool, record: VideoRecord, task: str, **arguments: Any) -> Any:
        """The value of a task of :mod:`.media_process` on a video's file.

        The process is given the file that was checked, not its name, under which another may lie by then.

        Raises:
            ApiError: as for :meth:`readable`; 503, too much is waiting already.
            FramesiftError: what the task raised, about the file's own name.
        """
        file = await self.reading.run(open_indexed, record, self.allowed)
        opened = f"/proc/{os.getpid()}/fd/{file}"
        try:
            return await pool.run(task, path=opened, **arguments)
        except DecodeError as error:
            raise DecodeError(shown_name(record.uri), error.reason) from None
        except InputError as error:
            raise InputError(str(error).replace(opened, shown_name(record.uri))) from None
        finally:
            os.close(file)

    async def search(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """What a function of the search engine returns, computed in one of its threads."""
        self.measures.queries.inc()
        return await self.searching.run(partial(function, *args, **kwargs))


def services_of(request: Request) -> Services:
    """The application's services; a dependency of every route."""
    services: Services = request.app.state.services
    return services


ServicesOf = Annotated[Services, Depends(services_of)]
