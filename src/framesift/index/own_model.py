"""The model of an index: loaded when it is first needed, and refused if its features are others than those stored."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import FingerprintError, IndexStateError, UnknownModelError
from .location import Location
from .schema import IndexMeta

if TYPE_CHECKING:
    from ..model import RetrievalModel
    from ..rerankers import Reranker
    from ..reranking import RerankEncoder

__all__ = ["OwnModel", "loaded", "reference_of"]


class OwnModel:
    """What encodes the queries and videos of the index at ``path``. Threads may share it.

    Args:
        path: directory or URI of the index, for messages.
        meta: whose fingerprint a model must have.
        model: one that is known to have it; without it, the one that ``meta`` names is loaded when it is needed.
    """

    def __init__(self, path: Location, meta: IndexMeta, model: RetrievalModel | None = None) -> None:
        self._path, self._meta, self._model = path, meta, model
        self._loading = threading.Lock()  # a model is dear: threads that need it wait for the first
        self._reranks: RerankEncoder | None = None

    def use(self, model: RetrievalModel | str | Path) -> None:
        """Take another model than the one that the index was built with.

        Raises:
            FingerprintError: it computes other features than those stored.
            ModelError: it cannot be had.
        """
        self._model = self._checked(loaded(model))

    def get(self) -> RetrievalModel:
        """The model.

        Raises:
            ModelError: it cannot be had.
            FingerprintError: what is found under its name now computes other features.
            IndexStateError: it has no name to be found by.
        """
        with self._loading:
            if self._model is None:
                self._model = self._named()
            return self._model

    def rerank_encoder(self, reranker: Reranker) -> RerankEncoder:
        """What gives a reranker over the model its features; kept for the next time.

        Raises:
            ModelError: an encoder of its own cannot be had.
        """
        model = self.get()
        with self._loading:
            if self._reranks is None or self._reranks.reranker is not reranker:
                # imports transformers, which other searches do not need
                from ..reranking import RerankEncoder

                self._reranks = RerankEncoder(model, reranker)
            return self._reranks

    def let_go(self) -> None:
        """Forget a reranker's own encoder; the model stays usable by others."""
        self._reranks = None

    def _named(self) -> RetrievalModel:
        if self._meta.model is None:
            raise IndexStateError(
                f"the index {str(self._path)!r} was built with a model that has no name; "
                "give it: Index.open(path, model=...)"
            )
        try:
            return self._checked(loaded(self._meta.model))
        except UnknownModelError as error:
            raise UnknownModelError(
                f"the model of the index {str(self._path)!r} is not to be had: {error}. If it is "
                "elsewhere now, say where: Index.open(path, model=...), or --model on the command line"
            ) from error

    def _checked(self, model: RetrievalModel) -> RetrievalModel:
        given = model.fingerprint()
        if given != self._meta.fingerprint:
            built = f" by {self._meta.model!r}" if self._meta.model else ""
            raise FingerprintError(
                f"the index {str(self._path)!r} holds features{built} with fingerprint "
                f"{self._meta.fingerprint[:12]}, but {model.name or 'the given model'!r} has {given[:12]}: "
                "their encoders or decoder settings differ. Open it without another model, or index the "
                "videos again into another directory"
            )
        return model


def loaded(model: RetrievalModel | str | Path) -> RetrievalModel:
    """A model as it is, or what :func:`framesift.load` makes of a name, directory or hub id."""
    if not isinstance(model, str | Path):
        return model
    from ..hub import load  # imports transformers, which a model at hand does not need

    return load(model)


def reference_of(model: RetrievalModel | str | Path) -> str | None:
    """What to give :func:`framesift.load` later, wherever it is called from then; None for a model without a name."""
    name = str(model) if isinstance(model, str | Path) else model.name
    if not os.path.isdir(name):
        return name or None
    from ..hub import MODELS

    return name if name in MODELS else os.path.abspath(name)  # bundled ones come first in load, too
