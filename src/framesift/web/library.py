"""The indexes that a server serves: opened when first asked, their models shared, what they list kept in memory."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import IndexStateError, InputError
from ..index import Index
from ..index.location import located
from ..index.schema import IndexMeta, VideoRecord
from .errors import ApiError

if TYPE_CHECKING:
    from ..candidates import CandidateConfig
    from ..model import RetrievalModel
    from ..search.searcher import Searcher
    from .captions import KnownCaption

__all__ = ["Catalogue", "Libraries", "Library", "Models"]

PATIENCE_S = 0.5  # a search waits so long for a change that was just committed; most indexes need less


class Models:
    """Models by name, each loaded once, whichever index asks for it first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: dict[str, RetrievalModel] = {}

    def get(self, name: str) -> RetrievalModel:
        """The model, loaded now if it has not been.

        Raises:
            ModelError: it cannot be had.
        """
        from ..hub import load

        with self._lock:  # also while loading: a second one would take as much memory again
            if name not in self._loaded:
                self._loaded[name] = load(name)
            return self._loaded[name]


@dataclass(frozen=True, eq=False)
class Catalogue:
    """What an index lists, as it was at ``version``."""

    version: tuple[int, int, int]
    records: tuple[VideoRecord, ...]

    @cached_property
    def by_id(self) -> Mapping[str, VideoRecord]:
        """Records by ``video_id``."""
        return {record.video_id: record for record in self.records}

    @cached_property
    def ids(self) -> Mapping[str, str]:
        """``video_id`` by absolute path."""
        return {record.uri: record.video_id for record in self.records}

    @cached_property
    def folders(self) -> tuple[str, ...]:
        """The folders that hold the files, sorted."""
        return tuple(sorted({str(Path(record.uri).parent) for record in self.records}))

    @cached_property
    def tags(self) -> tuple[str, ...]:
        """All tags of all videos, sorted."""
        return tuple(sorted({tag for record in self.records for tag in record.tags}, key=str.casefold))


class Library:
    """One index under the name by which requests choose it.

    Args:
        name: in the API and on the page.
        source: directory or URI of the index, or an open one (whose model is then used as it is).
        models: where the model is taken from, if the index does not bring its own.
        tag: what is published under this name is served; an open index stays as it is.
        candidates: what proposes candidates, as :meth:`.Index.open` takes it; an open index stays as it is.
    """

    def __init__(
        self,
        name: str,
        source: str | Path | Index,
        models: Models,
        *,
        tag: str | None = None,
        candidates: CandidateConfig | None = None,
    ) -> None:
        self.name = name
        self._tag = tag
        self._candidates = candidates
        self._models = models
        self._given = source if isinstance(source, Index) else None
        self.path = source.path if isinstance(source, Index) else located(source)
        self._opening = threading.RLock()
        self._listing: Index | None = self._given
        self._searcher: Searcher | None = None
        self._catalogue: Catalogue | None = None
        self._captions: tuple[Catalogue, list[KnownCaption]] | None = None

    def __repr__(self) -> str:
        return f"<Library {self.name} at {self.path}>"

    @property
    def listing(self) -> Index:
        """The index without its model: what it holds can be seen even where the model cannot be had."""
        with self._opening:
            if self._listing is None:
                self._listing = Index.open(self.path, tag=self._tag)
            return self._listing

    @property
    def searcher(self) -> Searcher:
        """The index with its model; the first call loads it.

        Raises:
            IndexStateError: it cannot be opened, or was built with a model that has no name.
            ModelError: its model cannot be had.
        """
        from ..search.searcher import Searcher

        with self._opening:
            if self._searcher is None:
                self._searcher = Searcher(self._given or self._with_model(), patience_s=PATIENCE_S)
            return self._searcher

    def _with_model(self) -> Index:
        name = IndexMeta.read(self.path).model
        if name is None:
            raise IndexStateError(
                f"the index {self.name!r} was built with a model that has no name; it cannot be searched by a server"
            )
        return Index.open(self.path, model=self._models.get(name), tag=self._tag, candidates=self._candidates)

    @property
    def catalogue(self) -> Catalogue:
        """What the index lists now; read again only when it has changed."""
        index = self.listing
        held, version = self._catalogue, index.version
        if held is None or held.version != version:
            held = self._catalogue = Catalogue(version, tuple(index.videos()))
        return held

    @property
    def captions(self) -> list[KnownCaption]:
        """Captions of its videos that lie beside them, read again when the index has changed."""
        from .captions import captions_beside

        catalogue = self.catalogue
        if self._captions is None or self._captions[0] is not catalogue:
            self._captions = (catalogue, captions_beside(catalogue))
        return self._captions[1]

    def record(self, video_id: str) -> VideoRecord:
        """The file of an identifier.

        Raises:
            ApiError: 404, the index does not know it.
        """
        record = self.catalogue.by_id.get(video_id)
        if record is None:
            raise ApiError(404, "unknown_video", f"the index {self.name!r} holds no video of that id")
        return record

    def info(self) -> dict[str, Any]:
        """What ``/api/indexes`` tells about it."""
        catalogue = self.catalogue
        good = [record for record in catalogue.records if record.status == "ok"]
        meta = IndexMeta.read(self.path)
        return {
            "name": self.name,
            "path": str(self.path),
            "videos": len(good),
            "failed": len(catalogue.records) - len(good),
            "moments": len(self.listing),
            "duration_s": sum(record.duration_s or 0.0 for record in good),
            "subtitles": self.listing.subtitles.counts().videos,
            "model": meta.model,
            "cutting": meta.moments,
            "folders": list(catalogue.folders),
            "tags": list(catalogue.tags),
        }

    def close(self) -> None:
        """Let go of what was opened here."""
        with self._opening:
            if self._searcher is not None and self._given is None:
                self._searcher.index.close()
            if self._listing is not None and self._given is None:
                self._listing.close()
            self._searcher = self._listing = None


class Libraries:
    """All indexes of a server, by name, in the order in which they were given; ``tag`` and ``candidates`` as for
    :class:`Library`.

    Raises:
        InputError: there is none.
    """

    def __init__(
        self,
        sources: Mapping[str, str | Path | Index],
        *,
        tag: str | None = None,
        candidates: CandidateConfig | None = None,
    ) -> None:
        if not sources:
            raise InputError("there is no index to serve; give one: framesift serve --index DIR")
        models = Models()
        self._all = {
            name: Library(name, source, models, tag=tag, candidates=candidates)
            for name, source in sources.items()
        }

    def __iter__(self):
        return iter(self._all.values())

    def get(self, name: str | None) -> Library:
        """The index of a name; the first without one.

        Raises:
            ApiError: 404, there is none of that name.
        """
        if name is None:
            return next(iter(self._all.values()))
        library = self._all.get(name)
        if library is None:
            raise ApiError(
                404, "unknown_index", f"there is no index of that name; there are {', '.join(self._all)}"
            )
        return library

    def close(self) -> None:
        """Let go of all of them."""
        for library in self._all.values():
            library.close()
