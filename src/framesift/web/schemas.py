"""What requests hold: checked before any of it reaches the library. FastAPI makes the OpenAPI document of these."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ..search.syntax import MOST_CHARACTERS

__all__ = [
    "MAX_K",
    "MAX_OFFSET",
    "DescribeBody",
    "ErrorBody",
    "ErrorFacts",
    "ExportBody",
    "JobBody",
    "LikedMoment",
    "MomentBody",
    "SearchBody",
    "Seconds",
    "SessionBody",
    "TagsBody",
    "Text",
    "UploadTerm",
    "Weight",
]

MAX_K = 200
MAX_OFFSET = 10_000
MAX_EXAMPLES = 32  # liked, disliked and like, each
MAX_CAPTIONS = 2000
MAX_EXPORTED = 10_000
MAX_STARS = 4
MAX_S = 1e7  # 116 days; a longer video is none


def _clean(text: str) -> str:
    """Refuse what no file's name and no sentence holds, and what SQLite, JSON and C libraries trip over."""
    if "\0" in text:
        raise ValueError("it holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("it holds half of a UTF-16 pair, which is no character") from None
    return text


Text = Annotated[str, AfterValidator(_clean)]


def _quick(pattern: str) -> str:
    """Refuse patterns that take minutes to find out about one name: the time is exponential in the stars."""
    if pattern.count("**") > MAX_STARS or any(part.count("*") > MAX_STARS for part in pattern.split("/")):
        raise ValueError(f"a pattern has {MAX_STARS} stars at most between slashes, and as many double ones")
    return pattern


Pattern = Annotated[Text, Field(min_length=1, max_length=1000), AfterValidator(_quick)]
Seconds = Annotated[float, Field(ge=0, le=MAX_S, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]


class ErrorFacts(BaseModel):
    """What went wrong: a word for programs, a sentence for people."""

    code: str
    message: str


class ErrorBody(BaseModel):
    """The body of every error."""

    error: ErrorFacts


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")  # a misspelt option is an error, not silence


class MomentBody(_Body):
    """A stretch of an indexed video."""

    video_id: Annotated[Text, Field(min_length=1, max_length=64)]
    start_s: Seconds
    end_s: Seconds


class LikedMoment(MomentBody):
    """A moment that the results shall look like."""

    weight: Weight = 1.0


class UploadTerm(_Body):
    """An uploaded picture or clip as a part of the query."""

    id: Annotated[Text, Field(min_length=1, max_length=64)]
    weight: Weight = 1.0
    start_s: Seconds | None = None
    end_s: Seconds | None = None


class SearchBody(_Body):
    """A whole question; the syntax of ``query`` is that of the command line (docs/queries.md)."""

    query: Annotated[Text, Field(max_length=MOST_CHARACTERS)] = ""
    index: Annotated[Text, Field(max_length=255)] | None = None
    k: Annotated[int, Field(ge=1, le=MAX_K)] = 20
    offset: Annotated[int, Field(ge=0, le=MAX_OFFSET)] = 0
    unit: Literal["moment", "video"] = "moment"
    rerank: bool = True
    sources: Annotated[list[Literal["frames", "subtitles"]], Field(min_length=1, max_length=2)] = [
        "frames",
        "subtitles",
    ]
    group_duplicates: bool = True
    upload: UploadTerm | None = None
    like: Annotated[list[LikedMoment], Field(max_length=MAX_EXAMPLES)] = []
    liked: Annotated[list[MomentBody], Field(max_length=MAX_EXAMPLES)] = []
    disliked: Annotated[list[MomentBody], Field(max_length=MAX_EXAMPLES)] = []


class DescribeBody(_Body):
    """Captions or tags to rank for a video, or for a stretch of it."""

    captions: Annotated[
        list[Annotated[Text, Field(min_length=1, max_length=1000)]],
        Field(min_length=1, max_length=MAX_CAPTIONS),
    ]
    start_s: Seconds | None = None
    end_s: Seconds | None = None


class TagsBody(_Body):
    """All tags that a video has from now on."""

    tags: Annotated[list[Annotated[Text, Field(min_length=1, max_length=100)]], Field(max_length=100)]


class JobBody(_Body):
    """What to index, and into which index."""

    index: Annotated[Text, Field(max_length=255)] | None = None
    kind: Literal["index", "prune", "watch"] = "index"
    paths: Annotated[list[Annotated[Text, Field(min_length=1, max_length=4096)]], Field(max_length=100)] = []
    include: Annotated[list[Pattern], Field(max_length=100)] = []
    exclude: Annotated[list[Pattern], Field(max_length=100)] = []
    retry_failed: bool = False


class ExportedMoment(MomentBody):
    """A result to write down."""

    score: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    text: Annotated[Text, Field(max_length=1000)] | None = None


class ExportBody(_Body):
    """Results, and the format of the file that they shall become."""

    format: Literal["csv", "json", "edl", "fcpxml", "otio"]
    index: Annotated[Text, Field(max_length=255)] | None = None
    results: Annotated[list[ExportedMoment], Field(min_length=1, max_length=MAX_EXPORTED)]
    query: Annotated[Text, Field(max_length=MOST_CHARACTERS)] = ""


class SessionBody(_Body):
    """The token, to be exchanged for a cookie."""

    token: Annotated[str, Field(max_length=1000)]
