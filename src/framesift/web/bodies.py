"""What successful answers hold, for the OpenAPI document.

The routes write plain values with orjson, and none of this checks them: a page of results would take longer to validate
than to compute. A test holds what is sent to what is said here, which is why nothing beyond it may be sent
(``extra="forbid"``) and nothing may be missing (no defaults).
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from .job_store import Kind, State
from .schemas import ErrorBody

__all__ = [
    "ERRORS",
    "Caption",
    "CaptionResult",
    "Captions",
    "Cue",
    "Duplicate",
    "Failure",
    "Folder",
    "Folders",
    "Health",
    "IndexFacts",
    "Indexes",
    "JobFacts",
    "JobList",
    "Moment",
    "Part",
    "Place",
    "Playable",
    "RankedCaption",
    "RankedCaptions",
    "Result",
    "Results",
    "Sent",
    "Source",
    "Timeline",
    "TimelineFrame",
    "TimelineMoment",
    "Top",
    "Truth",
    "Video",
    "Videos",
    "WholeVideo",
    "Why",
    "answers",
]

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": what, "model": ErrorBody}
    for status, what in {
        400: "The request asks for what makes no sense.",
        401: "The token is missing or wrong.",
        403: "Not allowed: another site, a folder that is not allowed, a server that is read-only.",
        404: "Not known.",
        408: "The body came too slowly.",
        409: "Not possible as things are: the file has changed, the model cannot be had, the job is over.",
        410: "The file is gone.",
        413: "Too large.",
        415: "Not a form.",
        422: "Not valid, or a file that cannot be decoded.",
        423: "Another process is writing to the index.",
        501: "An optional package is not installed.",
        503: "Too much to do; the header Retry-After says when to try again.",
        507: "The server's disk is full.",
    }.items()
}
"""What any route may answer instead of what it says."""


def answers(body: type[BaseModel], status: int = 200, what: str = "As described.") -> dict[int | str, Any]:
    """The ``responses`` of a route that answers with JSON."""
    return {status: {"model": body, "description": what}}


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Health(_Said):
    """The server's; ``ready``: whether first searches need not wait; ``token``: whether it wants one."""

    status: Literal["ok"]
    ready: bool
    version: str
    token: bool


class Source(_Said):
    """A list that a result was found in; the text and times are of a subtitle."""

    name: Literal["frames", "subtitles"]
    rank: int
    score: float
    text: str | None
    start_s: float | None
    end_s: float | None


class Part(_Said):
    """What one step of "A then B" found."""

    start_s: float
    end_s: float
    score: float
    frame_times_s: list[float]
    attention: list[float]


class Duplicate(_Said):
    """A moment that looks the same; ``video_id`` is null where it was forgotten meanwhile."""

    video_id: str | None
    video: str
    start_s: float
    end_s: float


class Result(_Said):
    """A moment, and why it was found (docs/api.md)."""

    rank: int
    video_id: str
    video: str
    folder: str
    start_s: float
    end_s: float
    focus_s: tuple[float, float]
    score: float
    relevance: float | None
    frame_times_s: list[float]
    attention: list[float]
    sources: list[Source]
    parts: list[Part]
    duplicates: list[Duplicate]


class Results(_Said):
    """A page of results; ``query`` is the query as it was understood."""

    results: list[Result]
    nothing_fits: bool
    moments: int
    searched: int
    reranked: bool
    notes: list[str]
    took_s: float
    next_offset: int | None
    query: str
    index: str
    can_rerank: bool


class IndexFacts(_Said):
    """An index, and what it holds."""

    name: str
    path: str
    videos: int
    failed: int
    moments: int
    duration_s: float
    subtitles: int
    model: str | None
    cutting: str
    folders: list[str]
    tags: list[str]


class Indexes(_Said):
    """All that are served; the first is the default."""

    indexes: list[IndexFacts]


class Video(_Said):
    """A file of an index; what decoding tells is null where that failed."""

    video_id: str
    index: str
    name: str
    folder: str
    path: str
    duration_s: float | None
    width: int | None
    height: int | None
    codec: str | None
    fps: float | None
    size_bytes: int
    added_at: str
    modified_at: str
    status: Literal["ok", "failed"]
    error: str | None
    tags: list[str]


class Videos(_Said):
    """A page of files, and how many there are."""

    videos: list[Video]
    total: int


class Moment(_Said):
    """A stretch that the index holds, and the times of its frames."""

    start_s: float
    end_s: float
    frame_times_s: list[float]


class Cue(_Said):
    """A subtitle."""

    start_s: float
    end_s: float
    text: str


class WholeVideo(Video):
    """A file with its moments and subtitles."""

    moments: list[Moment]
    subtitles: list[Cue]


class Playable(_Said):
    """How a browser can show a video, why, and in which browsers it cannot all the same."""

    how: Literal["direct", "remux", "transcode", "frames", "none"]
    reason: str | None
    unless: str | None


class TimelineMoment(_Said):
    """A moment's fit to the step of the query that it fits best."""

    start_s: float
    end_s: float
    score: float
    relevance: float | None
    step: int


class TimelineFrame(_Said):
    """A frame's score by itself, and its share in its moment's."""

    time_s: float
    score: float
    attention: float
    step: int


class Timeline(_Said):
    """A video's fit to a query over its time."""

    video_id: str
    moments: list[TimelineMoment]
    frames: list[TimelineFrame]


class Why(_Said):
    """What made a score; null for what the model cannot tell."""

    video_id: str
    start_s: float
    end_s: float
    text: str
    scores: dict[str, float]
    frame_times_s: list[float]
    frame_weight: list[float] | None
    words: list[str] | None
    word_frame: list[list[float]] | None
    contrasts: dict[str, float] | None


class RankedCaption(_Said):
    """A caption's fit, and the moment that it fits best."""

    rank: int
    text: str
    score: float
    start_s: float
    end_s: float
    frame_times_s: list[float]
    attention: list[float]


class RankedCaptions(_Said):
    """Captions, best first."""

    video_id: str
    captions: list[RankedCaption]


class Sent(_Said):
    """An upload, until ``expires_at`` (Unix time in seconds)."""

    id: str
    kind: Literal["image", "clip"]
    name: str
    duration_s: float | None
    expires_at: float


class Failure(_Said):
    """A file that could not be read."""

    path: str
    name: str
    reason: str


class JobFacts(_Said):
    """A job; times are Unix time in seconds, ``eta_s`` is null where it is not known."""

    id: str
    index: str
    kind: Kind
    paths: list[str]
    include: list[str]
    exclude: list[str]
    retry_failed: bool
    state: State
    done: int
    total: int
    added: int
    replaced: int
    skipped: int
    pruned: int
    failed: list[Failure]
    num_failed: int
    eta_s: float | None
    message: str
    created_at: float
    updated_at: float


class JobList(_Said):
    """All jobs, the newest first."""

    jobs: list[JobFacts]


class Folder(_Said):
    """A folder, and how many videos lie in it, where they can be counted."""

    name: str
    path: str
    videos: int | None


class Folders(_Said):
    """A folder's folders; without a path, those that are allowed."""

    path: str | None
    parent: str | None
    folders: list[Folder]


class Caption(_Said):
    """A sentence, and the stretch that it was written for."""

    n: int
    text: str
    video_id: str
    name: str
    start_s: float | None
    end_s: float | None


class Captions(_Said):
    """A page of captions, and how many there are."""

    available: bool
    index: str
    captions: list[Caption]
    total: int


class Place(_Said):
    """What was found; all is null for a video that was not among those that are ranked."""

    rank: int | None
    score: float | None
    found_start_s: float | None
    found_end_s: float | None
    frame_times_s: list[float] | None
    attention: list[float] | None


class Truth(Place):
    """A caption's own video; ``behind``: the last place that was looked at, where it was not found before that."""

    text: str
    video_id: str
    name: str
    start_s: float | None
    end_s: float | None
    behind: int | None


class Top(Place):
    """A video that was found; ``truth``: it is the caption's own."""

    video_id: str | None
    name: str
    truth: bool


class CaptionResult(Caption):
    """A caption, and what the model finds for it."""

    can_rerank: bool
    truth: Truth
    top: list[Top]
    ranked: int
