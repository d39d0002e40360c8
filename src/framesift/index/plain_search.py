"""One sentence asked of an index: candidates, matcher, reranker, results. Richer questions: :mod:`framesift.search`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from ..errors import IndexStateError, InputError
from ..ranking import Hit, rank
from .decoded import DecodedGallery
from .gallery import LanceGallery
from .hits import hits_of
from .own_model import OwnModel

if TYPE_CHECKING:
    from ..rerankers import Fusion

__all__ = ["search"]


def search(
    query: str,
    current: Callable[[], LanceGallery],
    own_model: OwnModel,
    *,
    k: int,
    depth: int | None,
    rerank_depth: int,
    fusion: Fusion | None,
    unit: Literal["moment", "video"],
) -> list[Hit]:
    """What :meth:`.Index.search` does; ``current`` gives the gallery as committed last."""
    query = query.strip()
    if not query:
        raise InputError("the query is empty; say in words what to look for, such as 'a dog runs on grass'")
    if k < 1:
        raise InputError(f"k is {k}; it must be at least 1")
    if rerank_depth < 0:
        raise InputError(f"rerank_depth is {rerank_depth}; it must be at least 0")
    if unit not in ("moment", "video"):
        raise InputError(f"unit={unit!r} is unknown; it is one of moment, video")
    model = own_model.get()
    text = model.encode_text([query])
    reranker = model.reranker if rerank_depth else None
    encoder = None if reranker is None else own_model.rerank_encoder(reranker)
    rerank_text = None if encoder is None else encoder.encode_text([query], text)

    def answer(gallery: LanceGallery) -> list[Hit]:
        decodes = encoder is not None and encoder.reranker.reads_patches
        ranking = rank(
            text,
            gallery,
            model.matcher,
            depth=gallery.default_depth if depth is None else depth,
            reranker=reranker,
            rerank_depth=max(rerank_depth, 1),
            rerank_text=rerank_text,
            rerank_gallery=DecodedGallery(gallery, encoder) if encoder and decodes else None,
            fusion=fusion,
        )
        return hits_of(text, ranking, gallery, model, k=k, unit=unit)

    gallery = current()
    try:
        return answer(gallery)
    except IndexStateError:
        newer = current()
        if newer is gallery:
            raise
        return answer(newer)  # the versions that the first try read were dropped meanwhile
