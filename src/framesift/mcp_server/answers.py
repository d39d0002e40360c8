"""What the tools answer: plain data whose schema a client can read, and the same as lines of text.

Models read the text, programs the data. Both are bounded: attention over every frame, for instance, stays behind,
and the time of the frame that weighs most travels.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from ..clock import format_time

if TYPE_CHECKING:  # these import torch, for which a client would have to wait
    from ..index import IndexInfo, VideoRecord
    from ..ranking import Hit as SearchHit
    from ..search.answer import Answer, Result
    from ..search.captions import RankedCaption

__all__ = [
    "Caption",
    "Captions",
    "Found",
    "Frame",
    "Hit",
    "IndexFacts",
    "Indexes",
    "Sheet",
    "Stretch",
    "Video",
    "Videos",
    "caption",
    "captions_as_text",
    "found",
    "found_as_text",
    "index_facts",
    "indexes_as_text",
    "readable",
    "video",
    "videos_as_text",
]

SUBTITLE_LENGTH = 300  # characters of a matched line that travel


class Stretch(BaseModel):
    """A part of a video."""

    start_s: float
    end_s: float


class Hit(BaseModel):
    """One search result."""

    rank: int
    video: str = Field(description="path of the file; give it to fetch_frame and describe")
    video_id: str = Field(
        description="the index's own name of the video, which may be given instead of the path"
    )
    start_s: float
    end_s: float
    focus: Stretch = Field(description="the part that the query attends to most")
    best_frame_s: float = Field(
        description="time of the frame that the query attends to most, for fetch_frame"
    )
    score: float = Field(description="similarity; compares with other scores of this answer only")
    relevance: float | None = Field(
        description="0 to 1, calibrated against this index; null where it cannot be told"
    )
    found_in: list[str] = Field(description="frames, subtitles, or both")
    subtitle: str | None = Field(description="the subtitle line that matched")
    steps: list[Stretch] = Field(description="where each step of an 'A then B' query was found")
    duplicates: int = Field(description="moments that look the same and are not listed")


class Found(BaseModel):
    """Search results."""

    index: str
    results: list[Hit]
    nothing_fits: bool = Field(description="nothing stands out: the results are merely the nearest")
    moments: int = Field(description="in the index")
    searched: int = Field(description="of them, after the filters")
    reranked: bool
    notes: list[str]


class Caption(BaseModel):
    """A caption and how well it fits."""

    rank: int
    caption: str
    score: float = Field(description="similarity; compares within this answer only")
    start_s: float = Field(description="the moment that it fits best")
    end_s: float
    best_frame_s: float = Field(description="time of the frame that it attends to most, for fetch_frame")


class Captions(BaseModel):
    """Captions ranked against a video or a part of it."""

    index: str
    video: str
    start_s: float
    end_s: float
    captions: list[Caption]


class Frame(BaseModel):
    """The frame that is attached as an image."""

    index: str
    video: str
    time_s: float
    width_px: int
    height_px: int


class Sheet(BaseModel):
    """The contact sheet that is attached as an image."""

    index: str
    video: str
    times_s: list[float] = Field(description="of its frames, in reading order")


class Video(BaseModel):
    """A video of an index."""

    video: str
    video_id: str
    duration_s: float | None
    width_px: int | None
    height_px: int | None
    status: str = Field(description="ok, or failed")
    error: str | None = Field(description="why it could not be read")


class Videos(BaseModel):
    """A page of an index's videos."""

    index: str
    total: int = Field(description="that fit what was asked for, on all pages")
    offset: int
    videos: list[Video]


class IndexFacts(BaseModel):
    """What an index holds."""

    name: str = Field(description="to be given as 'index' to the other tools")
    videos: int
    failed: int
    moments: int
    duration_s: float
    model: str | None
    reranks: bool


class Indexes(BaseModel):
    """All indexes of the server."""

    indexes: list[IndexFacts]


def readable(text: str) -> str:
    """Text as it may travel in JSON and stand in a line.

    Bytes of a file name that are not UTF-8, and control characters, are shown as escapes.
    """
    whole = text.encode("utf-8", "backslashreplace").decode()
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda found: repr(found[0])[1:-1], whole)


def found(index: str, answer: Answer) -> Found:
    """Search results as they travel."""
    return Found(
        index=index,
        results=[_hit(result) for result in answer.results],
        nothing_fits=answer.nothing_fits,
        moments=answer.moments,
        searched=answer.searched,
        reranked=answer.reranked,
        notes=[readable(note) for note in answer.notes],
    )


def _hit(result: Result) -> Hit:
    hit = result.hit
    subtitle = next((source.text for source in result.sources if source.text), None)
    start_s, end_s = hit.focus_s if hit.attention else (hit.start_s, hit.end_s)
    return Hit(
        rank=hit.rank,
        video=readable(hit.video),
        video_id=result.video_id,
        start_s=hit.start_s,
        end_s=hit.end_s,
        focus=Stretch(start_s=start_s, end_s=end_s),
        best_frame_s=_best_frame_s(hit),
        score=hit.score,
        relevance=result.relevance,
        found_in=[source.name for source in result.sources],
        subtitle=subtitle and readable(subtitle)[:SUBTITLE_LENGTH],
        steps=[Stretch(start_s=part.start_s, end_s=part.end_s) for part in result.parts],
        duplicates=len(result.duplicates),
    )


def _best_frame_s(looked: SearchHit | RankedCaption) -> float:
    """The time that the text attends to most; the middle where there are no frames, only subtitles."""
    if not looked.attention:
        return (looked.start_s + looked.end_s) / 2
    weights = looked.attention
    return looked.frame_times_s[max(range(len(weights)), key=weights.__getitem__)]


def found_as_text(answer: Found, query: str) -> str:
    """Search results, a line or two each."""
    if not answer.moments:
        return f"The index {answer.index!r} is empty."
    asked = readable(query)
    if not answer.searched:
        lines = [
            f"Nothing was searched in {answer.index!r}: none of its videos passes the filters of {asked!r}."
        ]
    elif not answer.results:
        lines = [f"No more results for {asked!r} in {answer.index!r}."]
    elif answer.nothing_fits:
        lines = [f"Nothing in {answer.index!r} fits {asked!r}; the nearest are:"]
    else:
        lines = [f"{len(answer.results)} results for {asked!r} in {answer.index!r}:"]
    for hit in answer.results:
        relevance = "" if hit.relevance is None else f", relevance {hit.relevance:.2f}"
        lines.append(
            f"{hit.rank}. {hit.video} from {format_time(hit.start_s)} to {format_time(hit.end_s)}, best frame at "
            f"{hit.best_frame_s:.2f} s, score {hit.score:.3f}{relevance}"
        )
        if hit.subtitle:
            lines.append(f"   subtitle: {hit.subtitle}")
        if len(hit.steps) > 1:
            steps = ", then ".join(
                f"{format_time(step.start_s)}-{format_time(step.end_s)}" for step in hit.steps
            )
            lines.append(f"   steps: {steps}")
        if hit.duplicates:
            lines.append(f"   and {hit.duplicates} more that look the same")
    return "\n".join([*lines, *(f"Note: {note}" for note in answer.notes)])


def caption(ranked: RankedCaption) -> Caption:
    """A caption as it travels."""
    return Caption(
        rank=ranked.rank,
        caption=readable(ranked.text),
        score=ranked.score,
        start_s=ranked.start_s,
        end_s=ranked.end_s,
        best_frame_s=_best_frame_s(ranked),
    )


def captions_as_text(answer: Captions) -> str:
    """Ranked captions, a line each."""
    lines = [f"{answer.video} from {format_time(answer.start_s)} to {format_time(answer.end_s)}:"]
    lines += [
        f"{one.rank}. {one.caption} (score {one.score:.3f}, best frame at {one.best_frame_s:.2f} s)"
        for one in answer.captions
    ]
    return "\n".join(lines)


def video(record: VideoRecord) -> Video:
    """A video as it travels."""
    return Video(
        video=readable(record.uri),
        video_id=record.video_id,
        duration_s=record.duration_s,
        width_px=record.width,
        height_px=record.height,
        status=record.status,
        error=record.error and readable(record.error),
    )


def videos_as_text(page: Videos) -> str:
    """Videos, a line each."""
    last = page.offset + len(page.videos)
    lines = [f"Videos {page.offset + 1} to {last} of {page.total} in {page.index!r}:"]
    if not page.videos:
        lines = [f"No videos here: {page.total} of {page.index!r} fit, and the page begins at {page.offset}."]
    for one in page.videos:
        length = "" if one.duration_s is None else f" ({format_time(one.duration_s)})"
        lines.append(f"{one.video}{length}" + (f": could not be read, {one.error}" if one.error else ""))
    if last < page.total and page.videos:
        lines.append(f"The next page begins at offset {last}.")
    return "\n".join(lines)


def index_facts(name: str, info: IndexInfo, *, reranks: bool) -> IndexFacts:
    """What an index holds, as it travels."""
    return IndexFacts(
        name=name,
        videos=info.videos,
        failed=info.failed,
        moments=info.moments,
        duration_s=info.duration_s,
        model=info.model and readable(info.model),
        reranks=reranks,
    )


def indexes_as_text(answer: Indexes) -> str:
    """Indexes, a line each."""
    return "\n".join(
        f"{one.name}: {one.videos} videos ({format_time(one.duration_s)}), {one.moments} moments, "
        f"{one.failed} files that could not be read; model {one.model or 'unnamed'}"
        + (", with a reranker" if one.reranks else "")
        for one in answer.indexes
    )
