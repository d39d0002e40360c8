"""A searcher for one sentence, until the engine of rich queries is there."""

from __future__ import annotations

import time
from typing import Any

from ..index import Index
from ..search.answer import Answer, Part, Result, Source
from ..search.query import Query, TextTerm

__all__ = ["Searcher"]


class Searcher:
    """Answers from :meth:`.Index.search`."""

    def __init__(self, index: Index) -> None:
        self.index = index

    def search(
        self, query: Query, *, k: int, rerank_depth: int, unit: Any, offset: int = 0, **_: Any
    ) -> Answer:
        """One sentence."""
        began = time.monotonic()
        terms = [term for step in query.steps for term in step.terms if isinstance(term, TextTerm)]
        text = " ".join(term.text for term in terms if term.weight > 0) or "a"
        hits = self.index.search(text, k=offset + k, rerank_depth=rerank_depth, unit=unit)[offset:]
        ids = {record.uri: record.video_id for record in self.index.videos()}
        results = tuple(
            Result(
                hit=hit,
                video_id=ids[hit.video],
                relevance=None,
                sources=(Source(name="frames", rank=hit.rank, score=hit.score),),
                parts=(
                    Part(
                        start_s=hit.start_s,
                        end_s=hit.end_s,
                        score=hit.score,
                        frame_times_s=hit.frame_times_s,
                        attention=hit.attention,
                    ),
                ),
            )
            for hit in hits
        )
        total = len(self.index)
        return Answer(
            query=query,
            results=results,
            nothing_fits=False,
            moments=total,
            searched=total,
            reranked=bool(rerank_depth and self.index.model.reranker),
            took_s=time.monotonic() - began,
        )
