"""From directories to tools: at once what can be told at once, the rest while the server is answering already.

Clients give a server some seconds to shake hands, and some give up then; PyTorch and a model need longer where the disk
is cold. So only the paths are looked at before, and the first call waits for the rest.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import FramesiftError
from ..index.location import Location, located
from ..index.place import place_of
from ..index.published import PUBLISHED_NAME, Published
from ..index.schema import IndexMeta
from .answers import readable

if TYPE_CHECKING:
    from ..candidates import CandidateConfig
    from .tools import Tools

__all__ = ["Opening", "named"]


def named(paths: Iterable[str | Path], *, tag: str | None = None) -> dict[str, Location]:
    """Absolute directories and URIs of indexes by name: the directory's without its suffix, made unique by a number.

    One that is given twice is there once.

    Raises:
        IndexNotFoundError, IndexStateError: there is no index in one of them, or it cannot be read or has no
            such ``tag``.
    """
    places: dict[str, Location] = {}
    for place in dict.fromkeys(located(path) for path in paths):
        IndexMeta.read(place)
        if tag is not None:
            Published.parse(place_of(place).read(PUBLISHED_NAME), place).state(place, tag)
        stem = readable(place.stem) or "index"
        name, number = stem, 2
        while name in places:
            name, number = f"{stem}-{number}", number + 1
        places[name] = place
    return places


class Opening:
    """Tools over some indexes, which another thread loads while the server runs.

    Args:
        places: directories or URIs of the indexes by name.
        model: as for :meth:`.Library.open`.
        failed: called with the error where they cannot be had; every call gets it, too.
        tag, candidates: as for :meth:`.Library.open`.
    """

    def __init__(
        self,
        places: Mapping[str, Location],
        *,
        model: str | None,
        failed: Callable[[BaseException], None],
        tag: str | None = None,
        candidates: CandidateConfig | None = None,
    ) -> None:
        self.names = tuple(places)
        self._places, self._model, self._failed = places, model, failed
        self._tag, self._candidates = tag, candidates
        self._tools: Future[Tools] = Future()

    @asynccontextmanager
    async def running(self, _: object = None) -> AsyncGenerator[None]:
        """The lifespan of a server: loads at its start, closes at its end.

        What anything prints meanwhile goes to stderr, as stdout may carry the protocol.
        """
        with redirect_stdout(sys.stderr), ThreadPoolExecutor(1, thread_name_prefix="opening") as thread:
            thread.submit(self._load)
            yield
        if self._tools.exception() is None:
            self._tools.result().close()

    def tools(self) -> Tools:
        """The tools, waited for.

        Raises:
            FramesiftError: as for :meth:`.Library.open`.
        """
        return self._tools.result()

    def _load(self) -> None:
        try:
            from .library import Library
            from .tools import Tools

            library = Library.open(
                self._places, model=self._model, tag=self._tag, candidates=self._candidates
            )
            self._tools.set_result(Tools(library))
        except BaseException as error:
            self._failed(error)
            self._tools.set_exception(error)
            return
        with suppress(FramesiftError):  # the call that needs it gets the error
            library.prepare()
