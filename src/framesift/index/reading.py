"""What an index holds, and what it answers: the half of :class:`.Index` that changes nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

import torch

from ..errors import IndexStateError, InputError
from ..features import VideoFeatures
from ..ranking import RERANK_DEPTH, Hit
from . import changes
from .files import listed
from .gallery import LanceGallery
from .info import IndexInfo, info_of
from .location import Location
from .own_model import OwnModel
from .plain_search import search
from .published import Publication
from .schema import IndexMeta, VideoRecord
from .store import Store
from .subtitles import Subtitles
from .verify import Verification, verify

if TYPE_CHECKING:
    from ..candidates import CandidateConfig
    from ..model import RetrievalModel
    from ..rerankers import Fusion, Reranker
    from ..reranking import RerankEncoder

__all__ = ["IndexReading"]


class IndexReading:
    """An open index: its model, its moments as committed last, and searches among them. Only :class:`.Index` is made.

    Attributes:
        path: its directory or URI.
    """

    def __init__(self, meta: IndexMeta, store: Store, model: OwnModel) -> None:
        self.path: Location = store.index
        self._meta = meta
        self._store: Store | None = store
        self._model = model
        self._gallery: LanceGallery | None = None
        self._candidates: CandidateConfig | None = None
        self._refreshing = threading.Lock()

    # ---- what it is

    def __len__(self) -> int:
        """Number of moments."""
        return self._opened().num_moments()

    def __repr__(self) -> str:
        state = "closed" if self._store is None else f"{len(self)} moments"
        return f"<Index {self.path.name} {state}, model {self._meta.model or self._meta.fingerprint[:12]}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of tables, vectors in memory and a reranker's own encoder; the model stays usable by others."""
        self._store = self._gallery = None
        self._model.let_go()

    @property
    def model(self) -> RetrievalModel:
        """The model that encodes queries and videos, loaded when it is first asked for.

        Raises:
            ModelError: it cannot be had.
            FingerprintError: what is found under its name now computes other features.
        """
        return self._model.get()

    @property
    def version(self) -> tuple[int, int, int]:
        """Another value after every change, by whatever process; cheap, for what is kept in memory of an index."""
        return self._opened().version()

    def gallery(self) -> LanceGallery:
        """The moments as committed last. Threads may share it; it stays as it is while the index changes."""
        store = self._opened()
        with self._refreshing:
            held = self._gallery
            self._gallery = (
                held.refreshed()
                if held is not None
                else LanceGallery(
                    store,
                    self._meta,
                    config=self._candidates,
                    found_by=lambda: self._model.get().matcher.found_by,
                )
            )
            return self._gallery

    def videos(self) -> list[VideoRecord]:
        """All files the index knows, failed ones included, sorted by path."""
        return self._opened().records()

    def records_of(self, paths: str | Path | Iterable[str | Path]) -> list[VideoRecord]:
        """What the index knows of files, and of all files of folders, sorted by path.

        Raises:
            InputError: it knows none of a path's files.
        """
        return changes.chosen(self._opened(), listed(paths))

    def info(self) -> IndexInfo:
        """Counts, sizes and the model; loads nothing heavy."""
        store = self._opened()
        return info_of(store, IndexMeta.read(store.place))  # builds add to the facts

    @property
    def subtitles(self) -> Subtitles:
        """What is said in the videos and when, as far as they have subtitles: searchable, and by time."""
        return Subtitles(self._opened().place.subtitles_to_read())

    def published(self) -> tuple[Publication, ...]:
        """What the tags of the index name, sorted by tag."""
        return self._opened().published().listed()

    def verify(self) -> Verification:
        """Read all of the index and check that it is whole; changes nothing.

        Checksums of the files, duplicate keys, moments without a video and the reverse, fingerprints, and that
        every vector is the mean of its frames; and what the cache holds.
        """
        return verify(self._opened().place, self._meta)

    # ---- searching it

    def search(
        self,
        query: str,
        *,
        k: int = 10,
        depth: int | None = None,
        rerank_depth: int = RERANK_DEPTH,
        fusion: Fusion | None = None,
        unit: Literal["moment", "video"] = "moment",
    ) -> list[Hit]:
        """The best moments for a query.

        A model's reranker then looks at the best of them again. One that reads patch tokens, which no index stores, has
        their frames decoded from the video files; a moment whose file is gone or has changed keeps the place that the
        matcher gave it, with a :class:`.NotRerankedWarning`.

        Args:
            query: what to look for, in words.
            k: how many results at most.
            depth: how many candidates are compared frame by frame; larger than the index means all of it. Default:
                what suits the size of the index.
            rerank_depth: how many of these the model's reranker sees, if it has one; 0: none, which leaves the
                matcher's order.
            fusion: how the scores of reranker and matcher are combined; default: the reranker's own way.
            unit: ``moment`` merges moments that follow one another in a video into one result; ``video``
                gives the best moment of each video.

        Raises:
            InputError: the query is empty, ``k`` or ``depth`` is less than 1, or ``rerank_depth`` less than 0.
            FingerprintError, ModelError: as for :attr:`model`; also, the reranker's own encoder cannot be had.
        """
        return search(
            query,
            self.gallery,
            self._model,
            k=k,
            depth=depth,
            rerank_depth=rerank_depth,
            fusion=fusion,
            unit=unit,
        )

    def rerank_encoder(self, reranker: Reranker) -> RerankEncoder:
        """What gives a reranker over the index's model its features; kept for the next time.

        Raises:
            ModelError: an encoder of its own cannot be had.
        """
        return self._model.rerank_encoder(reranker)

    def features(self, paths: Iterable[str | Path]) -> VideoFeatures:
        """The stored features of videos that are kept whole, a row for each path: what evaluation needs.

        Raises:
            InputError: a video is not in the index, failed, or is cut into several moments.
        """
        gallery = self.gallery()
        rows: list[int] = []
        for path in paths:
            found = gallery.rows_of(os.path.abspath(path))
            if len(found) != 1:
                raise InputError(
                    f"{str(path)!r} has {len(found)} moments in the index {str(self.path)!r}; expected exactly one, "
                    "as moments='whole' gives for every video that can be read"
                )
            rows += found
        return gallery.features(torch.tensor(rows, dtype=torch.long))

    # ---- inside

    def _opened(self) -> Store:
        if self._store is None:
            raise IndexStateError(f"the index {str(self.path)!r} was closed")
        return self._store
