"""The indexes that a server offers, by name; and the only way from a name to a video file.

Whoever talks to the server names videos. A name is looked up among the records of an index and never opened as a
path, so that no file can be read that nobody indexed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DecodeError, InputError, suggest
from ..index import Index, IndexMeta, VideoRecord
from ..index.location import Location
from ..search.searcher import Searcher
from .answers import readable

if TYPE_CHECKING:
    from ..candidates import CandidateConfig
    from ..model import RetrievalModel

__all__ = ["Library", "Shelf"]

MOST_COMPARED = 2000  # names, for the one that was meant: 50 ms


class Shelf:
    """One index of a library and the name that it goes by."""

    def __init__(self, name: str, index: Index) -> None:
        self.name, self.index = name, index
        self.searcher = Searcher(index)
        self._known: tuple[object, list[VideoRecord], dict[str, VideoRecord]] | None = None

    def records(self) -> list[VideoRecord]:
        """All files that the index knows, sorted by path; read again only where it has changed."""
        return self._current()[0]

    def record(self, video: str) -> VideoRecord:
        """What the index knows of a video.

        Args:
            video: its path exactly as the index has it (or as :func:`.readable` shows it), or its ``video_id``.

        Raises:
            InputError: the index holds no such video, or could not read it.
        """
        records, by_name = self._current()
        found = by_name.get(video)
        if found is None:
            some = records if len(records) <= MOST_COMPARED else []
            close = suggest(video, [readable(record.uri) for record in some])
            raise InputError(
                f"the index {self.name!r} holds no video {video!r}; give the path or the video_id "
                f"that search or list_videos returned{close}"
            )
        if found.status != "ok":
            raise InputError(f"{readable(found.uri)!r} could not be read when it was indexed: {found.error}")
        return found

    def file(self, record: VideoRecord) -> Path:
        """The file of a video, which still is the one that was indexed.

        Raises:
            DecodeError: it is gone, or has changed.
        """
        try:
            facts = os.stat(record.uri)
        except OSError as error:
            raise DecodeError(readable(record.uri), error.strerror or str(error)) from error
        if (facts.st_size, facts.st_mtime_ns) != (record.size_bytes, record.mtime_ns):
            raise DecodeError(
                readable(record.uri),
                "it has changed since it was indexed; index it again with: framesift index",
            )
        return Path(record.uri)

    def _current(self) -> tuple[list[VideoRecord], dict[str, VideoRecord]]:
        version = (
            self.index.version
        )  # before the records: newer ones under an older version are read once more
        known = self._known
        if known is None or known[0] != version:
            records = self.index.videos()
            by_name = {readable(record.uri): record for record in records}
            by_name |= {record.video_id: record for record in records}
            by_name |= {record.uri: record for record in records}
            self._known = known = (version, records, by_name)
        return known[1:]


class Library:
    """Several indexes, the first of which is meant where none is named."""

    def __init__(self, shelves: Sequence[Shelf]) -> None:
        if not shelves:
            raise InputError("a library needs at least one index")
        self.shelves = tuple(shelves)

    @classmethod
    def open(
        cls,
        places: Mapping[str, Location],
        *,
        model: str | None = None,
        tag: str | None = None,
        candidates: CandidateConfig | None = None,
    ) -> Library:
        """Open indexes with their models; indexes of the same model share it.

        Args:
            places: their directories or URIs by name.
            model: another model for all of them, whose features must be theirs.
            tag: open what is published under this name, as :meth:`.Index.open` does.
            candidates: which engine proposes what is compared frame by frame, as :meth:`.Index.open` takes it.

        Raises:
            IndexNotFoundError, IndexStateError, FingerprintError, ModelError: as for :meth:`.Index.open`.
        """
        models: dict[str | None, RetrievalModel] = {}
        with ExitStack() as opened:  # closes those before the one that fails
            shelves: list[Shelf] = []
            for name, place in places.items():
                reference = model if model is not None else IndexMeta.read(place).model
                index = opened.enter_context(
                    Index.open(place, model=models.get(reference, model), tag=tag, candidates=candidates)
                )
                models[reference] = index.model
                shelves.append(Shelf(name, index))
            opened.pop_all()
        return cls(shelves)

    def prepare(self) -> None:
        """Bring into memory what the first searches would. Raises FramesiftError."""
        for shelf in self.shelves:
            shelf.searcher.prepare()

    def close(self) -> None:
        """Close all indexes."""
        for shelf in self.shelves:
            shelf.index.close()

    def shelf(self, name: str | None) -> Shelf:
        """The index of that name; the first without a name.

        Raises:
            InputError: there is none.
        """
        if name is None:
            return self.shelves[0]
        names = [shelf.name for shelf in self.shelves]
        if name not in names:
            raise InputError(
                f"there is no index {name!r}; expected one of {', '.join(names)}{suggest(name, names)}"
            )
        return self.shelves[names.index(name)]
