"""The engine of rich search: queries of several terms, steps, filters and sources over an index.

A query of one sentence is :meth:`.Index.search`, score by score. What it has besides acts around that ranking: filters
before candidates are proposed, other terms beside the sentence's scores, "then" by dynamic programming over the moments
of each video, subtitles by reciprocal rank, near-duplicates after everything else.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, TypeVar

from ..errors import IndexStateError, InputError, suggest
from ..features import TextFeatures
from ..index import Index
from ..ranking import RERANK_DEPTH
from .answer import Answer, Reason, Timeline
from .answering import Answering
from .examples import encode_term
from .following import Following
from .query import ClipTerm, ImageTerm, MomentRef, Query, Term, TextTerm
from .scoring import EncodedTerm
from .snapshot import Snapshot
from .syntax import parse
from .terms import kind_of

__all__ = ["SOURCES", "Searcher"]

SOURCES: tuple[Literal["frames", "subtitles"], ...] = ("frames", "subtitles")
MOST_RESULTS = 10_000  # offset and k together: a person reads a hundred
ENCODED_TERMS = 256  # remembered: pages of one query, and what is typed again

WARM_UP = "a video"  # any text: what is computed for the first time takes longer

T = TypeVar("T")


class Searcher:
    """Rich search in an index; any number of threads may use it at once.

    ::

        searcher = fs.Searcher(index)
        answer = searcher.search("a dog jumps then within 10s a cat -night folder:holiday")
        for result in answer.results:
            print(result.hit, result.relevance)

    What can be kept of an index is kept until the index changes; then the next search sees the change.

    Args:
        index: what is searched.
        patience_s: seconds that a search waits for a change to be brought into memory before it is answered from the
            state before, as a server wants it; then a change is seen that much later, and a search after one's own
            :meth:`.Index.add` may miss it. Default: as long as it takes, so that every search sees what was committed
            before it.
    """

    def __init__(self, index: Index, *, patience_s: float | None = None) -> None:
        self.index = index
        self._lock = threading.Lock()
        self._following = Following(index, patience_s=patience_s)
        self._terms: OrderedDict[tuple[object, ...], TextFeatures] = OrderedDict()
        self._warm = False

    def search(
        self,
        query: str | Query,
        *,
        k: int = 10,
        depth: int | None = None,
        rerank_depth: int = RERANK_DEPTH,
        unit: Literal["moment", "video"] = "moment",
        sources: Sequence[Literal["frames", "subtitles"]] = SOURCES,
        group_duplicates: bool = True,
        offset: int = 0,
    ) -> Answer:
        """Answer a query.

        Args:
            query: in the syntax of :mod:`.syntax`, or a query that :func:`.syntax.parse` or the caller made.
            k: how many results at most.
            depth: how many candidates are compared frame by frame; pages that lie deeper take as many more each.
                Default: what suits the size of the index.
            rerank_depth: how many of the best the model's reranker sees, if it has one and the query is one sentence;
                0: none.
            unit: ``moment`` merges moments that follow one another in a video; ``video`` gives the best moment of
                each video.
            sources: ``frames``, ``subtitles`` or both, which are then fused by reciprocal rank.
            group_duplicates: fold moments that look the same as a better one of another video into its result.
            offset: how many results to pass over: a multiple of ``k`` for the pages that follow.

        Raises:
            InputError: the query cannot be read or has nothing to look for, a file of a term cannot be read, or a
                number is out of range.
            IndexStateError, ModelError: as for :meth:`.Index.search`.
        """
        began = time.perf_counter()
        asked = parse(query) if isinstance(query, str) else query
        _check_steps(asked)
        _check_numbers(k=k, depth=1 if depth is None else depth, rerank_depth=rerank_depth, offset=offset)
        _check_choices(unit, sources)

        def answer(snapshot: Snapshot) -> Answer:
            return self._answering(snapshot, asked).answer(
                k=k,
                depth=snapshot.gallery.default_depth if depth is None else depth,
                rerank_depth=rerank_depth,
                unit=unit,
                sources=tuple(sources),
                group_duplicates=group_duplicates,
                offset=offset,
            )

        return replace(self._with_snapshot(answer), took_s=time.perf_counter() - began)

    def timeline(self, video: str | os.PathLike[str], query: str | Query) -> Timeline:
        """How well every moment and every frame of one video fits a query.

        Of a query of several steps, each place has the score of the step that it fits best; filters do not count.

        Raises:
            InputError: the query cannot be read, or the index holds no moments of ``video``.
        """
        asked = parse(query) if isinstance(query, str) else query
        _check_steps(asked)
        return self._with_snapshot(
            lambda snapshot: self._answering(snapshot, asked).timeline(os.fspath(video))
        )

    def explain(self, query: str | Query, moment: MomentRef) -> Reason:
        """Why a moment has its score, from its stored features: the weights of its frames, and what else the matcher
        tells, such as X-CLIP's grid of words and frames.

        Of a query of several terms, the positive text of the first step that counts most is explained; of several
        moments that were merged into one result, the one that fits it best.

        Raises:
            InputError: the query has no words in its first step, or the index does not hold the moment.
        """
        asked = parse(query) if isinstance(query, str) else query
        _check_steps(asked)
        return self._with_snapshot(lambda snapshot: self._answering(snapshot, asked).explain(moment))

    def _encode(self, snapshot: Snapshot, terms: Sequence[Term]) -> list[EncodedTerm]:
        """Terms as the model sees them; those that were seen lately are not encoded again."""
        model = self.index.model
        encoded: list[EncodedTerm] = []
        for term in terms:
            key = _key(term)
            with self._lock:
                features = self._terms.get(key)
            if features is None:
                features = encode_term(model, snapshot.gallery, term)
                if key:
                    self._remember(key, features)
            text = term.text if isinstance(term, TextTerm) else None
            encoded.append(EncodedTerm(kind=kind_of(term), weight=term.weight, features=features, text=text))
        return encoded

    def _answering(self, snapshot: Snapshot, query: Query) -> Answering:
        return Answering(self.index, snapshot, query, lambda terms: self._encode(snapshot, terms))

    def _remember(self, key: tuple[object, ...], features: TextFeatures) -> None:
        with self._lock:
            self._terms[key] = features
            while len(self._terms) > ENCODED_TERMS:
                self._terms.popitem(last=False)

    def prepare(self) -> None:
        """Load the model and bring into memory what a first search would, so that it need not; again after a change.

        Raises:
            FramesiftError: the index or its model cannot be had.
        """
        if not self._warm:
            self.index.model.encode_text([WARM_UP])
            self._warm = True
        self._following.prepare()

    def _with_snapshot(self, do: Callable[[Snapshot], T]) -> T:
        snapshot = self._following.snapshot()
        try:
            return do(snapshot)
        except IndexStateError:
            newer = self._following.newest()
            if newer is snapshot:
                raise
            return do(newer)  # the versions that the first try read were dropped meanwhile

    def __repr__(self) -> str:
        return f"<Searcher of {self.index!r}>"


def _key(term: Term) -> tuple[object, ...]:
    """What the features of a term depend on besides the model; empty: do not remember them."""
    if isinstance(term, TextTerm):
        return ("text", term.text.strip())
    if isinstance(term, ImageTerm | ClipTerm):
        stretch = (term.start_s, term.end_s) if isinstance(term, ClipTerm) else ()
        try:
            facts = os.stat(term.path)
        except (OSError, ValueError):  # the one who reads it says what is wrong
            return ()
        return (kind_of(term), str(term.path), facts.st_mtime_ns, facts.st_size, *stretch)
    return ()


def _check_steps(query: Query) -> None:
    if not query.steps:
        raise InputError("the query is empty; it has no step")
    for step in query.steps:
        weights = [term.weight for term in step.terms]
        if not any(weight > 0 for weight in weights):
            raise InputError("a step of the query has nothing to look for: no term with a positive weight")
        if not all(math.isfinite(weight) and weight != 0 for weight in weights):
            raise InputError(f"the weights {weights} of a step: expected finite ones that are not 0")


def _check_numbers(*, k: int, depth: int, rerank_depth: int, offset: int) -> None:
    for name, value, least in (
        ("k", k, 1),
        ("depth", depth, 1),
        ("rerank_depth", rerank_depth, 0),
        ("offset", offset, 0),
    ):
        if value < least:
            raise InputError(f"{name} is {value}; it must be at least {least}")
    if offset + k > MOST_RESULTS:
        raise InputError(
            f"offset + k is {offset + k:,}; it must be at most {MOST_RESULTS:,}: filter or say it better"
        )


def _check_choices(unit: str, sources: Sequence[str]) -> None:
    if unit not in ("moment", "video"):
        raise InputError(f"unit={unit!r} is unknown; it is one of moment, video")
    if not sources:
        raise InputError(f"there is no source to search; name at least one of {', '.join(SOURCES)}")
    for source in sources:
        if source not in SOURCES:
            raise InputError(
                f"the source {source!r} is unknown; it is one of {', '.join(SOURCES)}{suggest(source, SOURCES)}"
            )
