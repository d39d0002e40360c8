"""What comes back: results with their reasons, and how sure the answer is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..explanation import Explanation
from ..ranking import Hit
from .query import MomentRef, Query

__all__ = ["Answer", "Part", "Reason", "Result", "Source", "Timeline", "TimelineFrame", "TimelineMoment"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """One of the lists that a result was found in, before they were fused.

    Attributes:
        name: ``frames`` or ``subtitles``.
        rank: 1-based place in that list.
        score: similarity of the matcher (or fused score of the reranker); BM25 score, higher is better.
        text: the subtitle line that matched; None for frames.
        start_s, end_s: when that line is shown, in seconds; None for frames.
    """

    name: Literal["frames", "subtitles"]
    rank: int
    score: float
    text: str | None = None
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one step of an "A then B" query found; fields as of :class:`.Hit`."""

    start_s: float
    end_s: float
    score: float
    frame_times_s: tuple[float, ...]
    attention: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Result:
    """One result.

    Attributes:
        hit: rank, video, stretch, score and attention.
        video_id: the index's own name of the video.
        relevance: 0 to 1, calibrated for this query against this gallery (:mod:`.calibration`); None where it cannot be
            told, as for a gallery of a few moments.
        sources: where it was found, best first.
        parts: one for each step of the query, in the order of time; a single one without "then".
        duplicates: moments that look the same and were folded into this result.
    """

    hit: Hit
    video_id: str
    relevance: float | None
    sources: tuple[Source, ...]
    parts: tuple[Part, ...] = ()
    duplicates: tuple[MomentRef, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: those of the hit, and what else is known."""
        return {
            **self.hit.to_dict(),
            "video_id": self.video_id,
            "relevance": self.relevance,
            "sources": [asdict(source) for source in self.sources],
            "parts": [asdict(part) for part in self.parts],
            "duplicates": [asdict(duplicate) for duplicate in self.duplicates],
        }


@dataclass(frozen=True, kw_only=True)
class Answer:
    """All that is said to a query.

    Attributes:
        query: what was asked.
        results: best first.
        nothing_fits: no result stands out from what this gallery answers to anything; they are shown all the same.
        moments: in the index.
        searched: of them, after the filters.
        reranked: whether the model's reranker ordered the first results.
        notes: sentences for the user, such as that files were gone and could not be reranked.
        took_s: wall-clock seconds.
        next_offset: ``offset`` of the page that follows; None where this is the last one.
    """

    query: Query
    results: tuple[Result, ...]
    nothing_fits: bool
    moments: int
    searched: int
    reranked: bool
    notes: tuple[str, ...] = ()
    took_s: float = 0.0
    next_offset: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the query."""
        return {
            "results": [result.to_dict() for result in self.results],
            "nothing_fits": self.nothing_fits,
            "moments": self.moments,
            "searched": self.searched,
            "reranked": self.reranked,
            "notes": list(self.notes),
            "took_s": self.took_s,
            "next_offset": self.next_offset,
        }


@dataclass(frozen=True, kw_only=True)
class TimelineMoment:
    """A moment of a video and how well it fits; ``step``: the step of the query that it fits best, from 0."""

    start_s: float
    end_s: float
    score: float
    relevance: float | None
    step: int = 0


@dataclass(frozen=True, kw_only=True)
class TimelineFrame:
    """A frame of a video: its score as if it were a video by itself, and what it contributes to that of its moment."""

    time_s: float
    score: float
    attention: float
    step: int = 0


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """How well every part of one video fits a query, in the order of time; scores as those of a search."""

    video: str
    video_id: str
    moments: tuple[TimelineMoment, ...]
    frames: tuple[TimelineFrame, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, eq=False)
class Reason:
    """Why a moment has its score.

    Attributes:
        moment: what was explained.
        text: the words that were compared with it.
        frame_times_s: times of the frames that the explanation is about.
        explanation: of their stored features.
    """

    moment: MomentRef
    text: str
    frame_times_s: tuple[float, ...]
    explanation: Explanation
