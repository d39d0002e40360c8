"""What is asked: terms with weights, steps that follow one another in time, filters, and examples to be like or unlike.

:func:`.syntax.parse` makes one from a line of text; the command line, the REST API and the web page all do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TypeAlias

from ..errors import InputError

__all__ = [
    "ClipTerm",
    "Filters",
    "ImageTerm",
    "MomentRef",
    "MomentTerm",
    "Query",
    "Step",
    "Term",
    "TextTerm",
]


@dataclass(frozen=True, kw_only=True)
class MomentRef:
    """A stretch of an indexed video.

    Attributes:
        video: absolute path of the file.
        start_s, end_s: in seconds, the end exclusive.
    """

    video: str
    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        if not 0 <= self.start_s < self.end_s:
            raise InputError(f"a moment from {self.start_s:g} s to {self.end_s:g} s has no length")


@dataclass(frozen=True, kw_only=True)
class TextTerm:
    """Words. ``weight`` is what they count beside the other terms; negative: what shall not be there."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ImageTerm:
    """A picture file of the user's."""

    path: Path
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ClipTerm:
    """A video file of the user's, which need not be indexed; or a stretch of it, in seconds."""

    path: Path
    start_s: float = 0.0
    end_s: float | None = None
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class MomentTerm:
    """A moment that is indexed already ("more like this"): its stored features are the query."""

    moment: MomentRef
    weight: float = 1.0


Term: TypeAlias = TextTerm | ImageTerm | ClipTerm | MomentTerm


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one moment shall show: all ``terms`` at once.

    Attributes:
        terms: at least one with a positive weight.
        within_s: how long after the end of the step before this one may begin, in seconds; None: any time later in
            the same video. Of no meaning in the first step.
    """

    terms: tuple[Term, ...]
    within_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which videos are searched at all; an empty field allows all.

    Attributes:
        folders: the file lies in one of these folders or below it.
        names: glob patterns, one of which the file's name matches, without regard to case.
        tags: all of these are among the video's tags, without regard to case.
        after, before: the file was last changed on this day or later; on an earlier day than this.
        longer_s, shorter_s: length of the whole video: at least; at most.
    """

    folders: tuple[Path, ...] = ()
    names: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    after: date | None = None
    before: date | None = None
    longer_s: float | None = None
    shorter_s: float | None = None

    def __bool__(self) -> bool:
        """Whether anything is filtered."""
        return self != Filters()


@dataclass(frozen=True, kw_only=True)
class Query:
    """A whole question.

    Attributes:
        steps: one, or several that follow one another in a video ("A then B").
        filters: which videos are searched.
        liked, disliked: results of before, to come nearer to or to get away from.
    """

    steps: tuple[Step, ...]
    filters: Filters = field(default_factory=Filters)
    liked: tuple[MomentRef, ...] = ()
    disliked: tuple[MomentRef, ...] = ()
