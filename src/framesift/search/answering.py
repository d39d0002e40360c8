"""One query over one state of an index."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import InputError
from ..explaining import explain
from ..features import VideoFeatures
from ..index import Index
from ..index.decoded import DecodedGallery
from ..ranking import Hit, rank
from .answer import Answer, Part, Reason, Result, Source, Timeline, TimelineFrame, TimelineMoment
from .calibration import FEWEST, THRESHOLD, nothing_fits, relevance
from .chains import FoundChain, chained, parts_of, relevance_of
from .feedback import move
from .filters import Rows
from .fusing import reciprocal_rank
from .proposing import StepProposer
from .query import MomentRef, Query, Term, TextTerm
from .ranked import Order, RankedRows, page
from .scoring import EncodedTerm, StepScorer
from .snapshot import Snapshot
from .spoken import Line, lines_of

if TYPE_CHECKING:
    from ..rerankers import Reranker

__all__ = ["Answering"]

ROW_BLOCK = 2048  # rows whose features are held at once


@dataclass
class _Told:
    """What is found out on the way: sentences for the user, and the rows that the matcher put first."""

    notes: list[str] = field(default_factory=list[str])
    head: list[int] = field(default_factory=list[int])


class Answering:
    """One query over one snapshot of an index; for one thread.

    Args:
        encode: terms -> what the model sees of them.
    """

    def __init__(
        self,
        index: Index,
        snapshot: Snapshot,
        query: Query,
        encode: Callable[[Sequence[Term]], list[EncodedTerm]],
    ) -> None:
        self._index, self._snapshot, self._query, self._encode = index, snapshot, query, encode
        self._model = index.model

    def answer(
        self,
        *,
        k: int,
        depth: int,
        rerank_depth: int,
        unit: Literal["moment", "video"],
        sources: Sequence[Literal["frames", "subtitles"]],
        group_duplicates: bool,
        offset: int,
    ) -> Answer:
        """See :meth:`.Searcher.search`."""
        rows = np.flatnonzero(self._searched())
        step, *others = self._query.steps
        if others:
            return self._then(rows, k=k, depth=depth, offset=offset, rerank=rerank_depth > 0, sources=sources)
        told = _Told()
        terms = self._encode(step.terms)
        sentence = len(terms) == 1 and terms[0].kind == "text"
        if self._query.liked or self._query.disliked:
            terms, sentence = self._moved(terms), False
        scorer = StepScorer(self._model, self._snapshot, terms)
        reranker = self._model.reranker if rerank_depth else None
        if reranker is not None and not sentence:
            told.notes.append(
                "the model's reranker reads single sentences: this query keeps the matcher's order"
            )
            reranker = None
        order = (
            self._by_sentence(scorer, reranker, rerank_depth, told)
            if sentence
            else self._by_terms(scorer, told)
        )
        ranked = RankedRows(self._proposer(scorer, rows).propose, order, total=len(rows), depth=depth)
        lines = self._lines(rows, depth) if "subtitles" in sources else []
        places: dict[int, int] = {}
        if "frames" not in sources:
            ranked = RankedRows(lambda _: rows[0:0], order, total=len(lines), depth=depth)
            self._fuse(ranked, [], lines, scorer)
        elif lines:
            ranked.grow()
            places = {row: place for place, row in enumerate(ranked.rows, start=1)}
            self._fuse(ranked, ranked.rows, lines, scorer)
        groups, folded, more = page(
            ranked, self._snapshot, unit=unit, k=k, offset=offset, group_duplicates=group_duplicates
        )
        if "frames" in sources:
            places = {row: place for place, row in enumerate(ranked.rows, start=1)} | places
        results = self._results(
            groups,
            ranked,
            scorer,
            places,
            {line.row: line for line in lines},
            folded.copies,
            offset,
            len(rows),
        )
        return Answer(
            query=self._query,
            results=tuple(results),
            nothing_fits=not lines and self._nothing_fits(told.head, scorer, len(rows)),
            moments=len(self._snapshot),
            searched=len(rows),
            reranked=reranker is not None and len(rows) > 0 and "frames" in sources,
            notes=tuple(dict.fromkeys(told.notes)),
            next_offset=offset + len(results) if more and results else None,
        )

    # ---- which rows

    def _searched(self) -> NDArray[np.bool_]:
        """Rows that the filters let through, without those that were disliked."""
        mask = self._snapshot.allowed(self._query.filters)
        if self._query.disliked:
            mask = mask.copy()
            for moment in self._query.disliked:
                mask[self._rows_of(moment)] = False
        return mask

    def _rows_of(self, moment: MomentRef) -> NDArray[np.int64]:
        """Raises InputError if the index does not hold the moment."""
        video_id = self._snapshot.video_id(os.path.abspath(moment.video))
        rows = (
            np.zeros(0, np.int64)
            if video_id is None
            else self._snapshot.overlapping(video_id, moment.start_s, moment.end_s)
        )
        if not len(rows):
            raise InputError(
                f"the index holds nothing of {moment.video!r} from {moment.start_s:g} s to {moment.end_s:g} s; give a "
                "moment of a result"
            )
        return rows

    def _moved(self, terms: list[EncodedTerm]) -> list[EncodedTerm]:
        """The terms, of which the one that counts most moves with the feedback."""
        leading = max(range(len(terms)), key=lambda place: terms[place].weight)
        liked, disliked = (
            self._features(np.concatenate([self._rows_of(moment) for moment in moments])) if moments else None
            for moments in (self._query.liked, self._query.disliked)
        )
        features = move(terms[leading].features, liked, disliked)
        return [replace(t, features=features) if i == leading else t for i, t in enumerate(terms)]

    def _features(self, rows: NDArray[np.int64]) -> VideoFeatures:
        return self._snapshot.stored.features(torch.from_numpy(rows))

    # ---- in which order

    def _proposer(self, scorer: StepScorer, rows: NDArray[np.int64]) -> StepProposer:
        return StepProposer(scorer, self._snapshot, rows, by_mean=self._model.matcher.found_by == "mean")

    def _by_sentence(
        self, scorer: StepScorer, reranker: Reranker | None, rerank_depth: int, told: _Told
    ) -> Order:
        """The one pipeline of the field, :func:`.ranking.rank`."""
        term = scorer.terms[0]
        gallery, stored = self._snapshot.gallery, self._snapshot.stored
        encoder = None if reranker is None else self._index.rerank_encoder(reranker)
        words = None if encoder is None else encoder.encode_text([(term.text or "").strip()], term.features)

        def order(rows: NDArray[np.int64], first: bool) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
            chosen = torch.from_numpy(rows)
            again = None
            if encoder is not None and encoder.reranker.reads_patches:
                decoded = DecodedGallery(gallery, encoder, tell=told.notes.append)
                again = Rows(gallery, chosen, features=decoded)
            ranking = rank(
                term.features,
                Rows(gallery, chosen, features=stored),
                self._model.matcher,
                reranker=reranker if first else None,
                rerank_depth=max(rerank_depth, 1),
                rerank_text=words,
                rerank_gallery=again,
            )
            found = rows[ranking.rows[0].numpy()]
            if first:
                told.head = found[: rerank_depth if reranker else 1].tolist()
            return found, ranking.scores[0].double().numpy()

        return order

    def _by_terms(self, scorer: StepScorer, told: _Told) -> Order:
        def order(rows: NDArray[np.int64], first: bool) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
            scores = self._scores(scorer, rows)
            best = np.argsort(-scores, kind="stable")
            if first:
                told.head = rows[best[:1]].tolist()
            return rows[best], scores[best]

        return order

    def _scores(self, scorer: StepScorer, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        blocks = [rows[first : first + ROW_BLOCK] for first in range(0, len(rows), ROW_BLOCK)]
        return np.concatenate([np.zeros(0), *(scorer.moments(self._features(block)) for block in blocks)])

    def _lines(self, rows: NDArray[np.int64], depth: int) -> list[Line]:
        """What is said in those rows and has all words of the positive texts."""
        text = " ".join(
            term.text for term in self._query.steps[0].terms if isinstance(term, TextTerm) and term.weight > 0
        )
        allowed = np.zeros(len(self._snapshot), dtype=bool)
        allowed[rows] = True
        return lines_of(self._index, self._snapshot, text, allowed=allowed, limit=depth)

    def _fuse(
        self, ranked: RankedRows, frames: Sequence[int], lines: Sequence[Line], scorer: StepScorer
    ) -> None:
        """Put what was ranked by its frames and what is said into one order."""
        fused = [row for row, _ in reciprocal_rank([list(frames), [line.row for line in lines]])]
        missing = np.array([row for row in fused if row not in ranked.scores], dtype=np.int64)
        scores = ranked.scores | dict(
            zip(missing.tolist(), self._scores(scorer, missing).tolist(), strict=True)
        )
        ranked.reorder(fused, [scores[row] for row in fused])

    # ---- results

    def _results(
        self,
        groups: Sequence[Sequence[int]],
        ranked: RankedRows,
        scorer: StepScorer,
        places: dict[int, int],
        lines: dict[int, Line],
        copies: dict[int, list[int]],
        offset: int,
        searched: int,
    ) -> list[Result]:
        used = np.array([row for group in groups for row in group], dtype=np.int64)
        if not len(used):
            return []
        features, times = self._snapshot.stored.features_and_times(torch.from_numpy(used))
        weights = dict(zip(used.tolist(), scorer.attention(features), strict=True))
        times_of = dict(zip(used.tolist(), times, strict=True))
        n = self._n(searched)
        sure = relevance(scorer.moments(features), scorer.background, n, scorer.luck(n))
        sure_of = {} if sure is None else dict(zip(used.tolist(), sure.tolist(), strict=True))
        order = {row: place for place, row in enumerate(ranked.rows)}
        results: list[Result] = []
        for number, group in enumerate(groups, start=offset + 1):
            best = min(group, key=order.__getitem__)
            first, last = (self._snapshot.gallery.moment(group[end]) for end in (0, -1))
            hit = Hit(
                rank=number,
                video=first.uri,
                start_s=first.start_s,
                end_s=last.end_s,
                score=ranked.scores[best],  # scores before and behind the reranker's depth do not compare
                frame_times_s=tuple(time for row in group for time in times_of[row]),
                # every moment's weights sum to one; so do the result's
                attention=tuple(weight / len(group) for row in group for weight in weights[row]),
            )
            found = [
                Source(name="frames", rank=places[row], score=ranked.scores[row])
                for row in [min(group, key=lambda row: places.get(row, len(order)))]
                if row in places
            ]
            said = [lines[row].source() for row in group if row in lines]
            found += sorted(said, key=lambda source: source.rank)[:1]
            results.append(
                Result(
                    hit=hit,
                    video_id=first.video_id,
                    relevance=max((sure_of[row] for row in group), default=None) if sure_of else None,
                    sources=tuple(sorted(found, key=lambda source: source.rank)),
                    parts=(_part(hit),),
                    duplicates=tuple(self._ref(copy) for row in group for copy in copies.get(row, ())),
                )
            )
        return results

    def _ref(self, row: int) -> MomentRef:
        place = self._snapshot.gallery.moment(row)
        return MomentRef(video=place.uri, start_s=place.start_s, end_s=place.end_s)

    def _n(self, searched: int) -> int:
        """How many moments the best had to beat; a filter that leaves few does not make the gallery a small one."""
        return max(searched, min(FEWEST, len(self._snapshot)))

    def _nothing_fits(self, head: Sequence[int], scorer: StepScorer, searched: int) -> bool:
        if not head:
            return False
        scores = self._scores(scorer, np.array(head, dtype=np.int64))
        n = self._n(searched)
        return nothing_fits(scores, scorer.background, n, scorer.luck(n))

    # ---- steps that follow one another

    def _steps(self) -> list[StepScorer]:
        several = len(self._query.steps) > 1
        return [
            StepScorer(self._model, self._snapshot, self._encode(step.terms), standardise=several)
            for step in self._query.steps
        ]

    def _then(
        self,
        rows: NDArray[np.int64],
        *,
        k: int,
        depth: int,
        offset: int,
        rerank: bool,
        sources: Sequence[str],
    ) -> Answer:
        if "frames" not in sources:
            raise InputError("what follows one another is looked for in frames; add 'frames' to the sources")
        notes: list[str] = []
        if rerank and self._model.reranker is not None:
            notes.append("the model's reranker reads single sentences: this query keeps the matcher's order")
        if "subtitles" in sources and self._index.subtitles.counts().cues:
            notes.append("subtitles are not searched for what follows one another")
        if self._query.liked or self._query.disliked:
            notes.append("feedback does not move a query of several steps; what was disliked is left out")
        scorers = self._steps()
        within = [step.within_s for step in self._query.steps]
        found: list[FoundChain] = []
        proposers = [self._proposer(scorer, rows) for scorer in scorers]
        while len(rows):
            candidates = np.unique(np.concatenate([proposer.propose(depth) for proposer in proposers]))
            found = chained(scorers, within, self._snapshot, rows=rows, candidates=candidates)
            if len(found) > offset + k or depth >= len(rows):
                break
            depth *= 4
        n = self._n(len(rows))
        results = [
            self._chain_result(chain, scorers, number, n)
            for number, chain in enumerate(found[offset : offset + k], start=offset + 1)
        ]
        best = relevance_of(found[0], scorers, n=n) if found else None
        return Answer(
            query=self._query,
            results=tuple(results),
            nothing_fits=best is not None and best < THRESHOLD,
            moments=len(self._snapshot),
            searched=len(rows),
            reranked=False,
            notes=tuple(notes),
            next_offset=offset + k if len(found) > offset + k else None,
        )

    def _chain_result(self, chain: FoundChain, scorers: Sequence[StepScorer], number: int, n: int) -> Result:
        parts = parts_of(chain, scorers, self._snapshot)
        place = self._snapshot.gallery.moment(chain.rows[0])
        hit = Hit(
            rank=number,
            video=place.uri,
            start_s=parts[0].start_s,
            end_s=parts[-1].end_s,
            score=chain.score,
            frame_times_s=tuple(time for part in parts for time in part.frame_times_s),
            attention=tuple(weight / len(parts) for part in parts for weight in part.attention),
        )
        return Result(
            hit=hit,
            video_id=place.video_id,
            relevance=relevance_of(chain, scorers, n=n),
            sources=(Source(name="frames", rank=number, score=chain.score),),
            parts=parts,
        )

    # ---- one video

    def timeline(self, video: str) -> Timeline:
        """See :meth:`.Searcher.timeline`."""
        video_id = self._snapshot.video_id(os.path.abspath(video))
        if video_id is None:
            raise InputError(
                f"the index holds no moments of {video!r}; index it first: framesift index {video}"
            )
        rows = self._snapshot.rows_of(video_id)
        features, times = self._snapshot.stored.features_and_times(torch.from_numpy(rows))
        scorers = self._steps()
        gallery = self._snapshot.gallery
        scores = np.stack([scorer.moments(features) for scorer in scorers])
        n = self._n(len(self._snapshot))
        sure = [relevance(own, s.background, n, s.luck(n)) for own, s in zip(scores, scorers, strict=True)]
        frames = [scorer.frames(features) for scorer in scorers]
        weights = [scorer.attention(features) for scorer in scorers]
        moments: list[TimelineMoment] = []
        shown: list[TimelineFrame] = []
        for i, row in enumerate(rows.tolist()):
            step = int(scores[:, i].argmax())
            told = sure[step]
            moments.append(
                TimelineMoment(
                    start_s=float(gallery.start_s[row]),
                    end_s=float(gallery.end_s[row]),
                    score=float(scores[step, i]),
                    relevance=None if told is None else float(told[i]),
                    step=step,
                )
            )
            for j, time_s in enumerate(times[i]):
                best = max(range(len(scorers)), key=lambda s: frames[s][i][j])
                shown.append(
                    TimelineFrame(
                        time_s=time_s,
                        score=float(frames[best][i][j]),
                        attention=weights[best][i][j],
                        step=best,
                    )
                )
        return Timeline(
            video=os.path.abspath(video), video_id=video_id, moments=tuple(moments), frames=tuple(shown)
        )

    def explain(self, moment: MomentRef) -> Reason:
        """See :meth:`.Searcher.explain`."""
        texts = [
            term for term in self._query.steps[0].terms if isinstance(term, TextTerm) and term.weight > 0
        ]
        if not texts:
            raise InputError("only words can be explained: the query's first step has none to look for")
        leading = max(texts, key=lambda term: term.weight)
        scorer = StepScorer(self._model, self._snapshot, self._encode([leading]))
        rows = self._rows_of(moment)
        row = int(rows[self._scores(scorer, rows).argmax()])
        features, times = self._snapshot.stored.features_and_times(torch.tensor([row]))
        return Reason(
            moment=self._ref(row),
            text=leading.text,
            frame_times_s=tuple(times[0]),
            explanation=explain(self._model, leading.text, features),
        )


def _part(hit: Hit) -> Part:
    return Part(
        start_s=hit.start_s,
        end_s=hit.end_s,
        score=hit.score,
        frame_times_s=hit.frame_times_s,
        attention=hit.attention,
    )
