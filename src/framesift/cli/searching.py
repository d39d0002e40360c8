"""``framesift search``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import InputError
from .arithmetic import (
    BACKEND_OPTION,
    FORCE_OPTION,
    PRECISION_OPTION,
    BackendName,
    Precision,
    for_one_query,
    set_arithmetic,
)
from .candidates import (
    CANDIDATES_BY_OPTION,
    CANDIDATES_OPTION,
    MILVUS_COLLECTION_OPTION,
    MILVUS_URI_OPTION,
    Engine,
    FoundBy,
    candidate_config,
)
from .output import (
    HIT_HEADER,
    INDEX_OPTION,
    JSON_OPTION,
    TAG_OPTION,
    as_given,
    emit_json,
    format_hit,
    format_time,
    one_line,
    say,
    talk,
)
from .taking import EXPORT_OPTION, check_export, parse_time, write_export

if TYPE_CHECKING:
    from ..search import Answer, ClipTerm, ImageTerm, MomentRef, Result

__all__ = ["EXAMPLES", "parse_moment", "search"]

EXAMPLES = """Examples: `framesift search "a dog runs on the beach"` searches framesift.index in this directory.
`framesift search "a dog jumps then within 10s a cat -night folder:holiday"` puts it more exactly (docs/queries.md).
`framesift search "at night" --like dog.jpg` looks for what is like the picture and fits the words.
`framesift search --like-moment trip.mp4@1:02-1:10` finds more like an indexed moment.
`framesift search "two people shake hands" --index talks.index -k 3 --unit video` gives the three best videos.
`framesift search "sunset" --json | jq -r ".hits[0].video"` prints the best file.
`framesift search "sunset" --export sunset.edl` writes what was found for a video editor."""


class Unit(StrEnum):
    """What a result is."""

    moment = "moment"
    video = "video"


class SourceName(StrEnum):
    """Where to look."""

    frames = "frames"
    subtitles = "subtitles"


def search(
    query: str = typer.Argument(
        "",
        help='What to look for. -night: not that; dog^2: counts twice; "in quotes": a term of its own; A then B, '
        "A then within 10s B: one after the other; folder:F name:*.mp4 tag:T after:2024-05-01 before:2025 longer:30s "
        "shorter:2m: only such videos. May be left out with --like or --like-moment.",
        metavar="[QUERY]",
    ),
    index: Path = INDEX_OPTION,
    k: int = typer.Option(10, "-k", min=1, help="Results at most."),
    offset: int = typer.Option(0, min=0, help="Pass over so many results: the pages after the first."),
    like: list[Path] | None = typer.Option(
        None,
        "--like",
        help="A picture or video file: look for what is like it, and fits the words. May be repeated.",
        metavar="FILE",
    ),
    like_moment: list[str] | None = typer.Option(
        None,
        "--like-moment",
        help="The same with a moment that is indexed, such as trip.mp4@1:02-1:10. May be repeated.",
        metavar="VIDEO@START-END",
    ),
    source: list[SourceName] | None = typer.Option(
        None,
        "--source",
        help="Search only what is seen (frames), or only what is said (subtitles). Default: both.",
    ),
    unit: Unit = typer.Option(
        Unit.moment,
        help="moment: parts of videos, adjacent ones merged. video: the best moment of each video.",
    ),
    duplicates: bool = typer.Option(
        False, "--duplicates", help="List moments that look the same as a better result, too."
    ),
    depth: int | None = typer.Option(
        None,
        min=1,
        help="Candidates that are compared frame by frame. Default: what suits the size of the index.",
    ),
    candidates: Engine = CANDIDATES_OPTION,
    candidates_by: FoundBy = CANDIDATES_BY_OPTION,
    milvus_uri: str | None = MILVUS_URI_OPTION,
    milvus_collection: str | None = MILVUS_COLLECTION_OPTION,
    model: str | None = typer.Option(
        None, "--model", "-m", help="Another model of the same encoder, e.g. with another matcher."
    ),
    no_rerank: bool = typer.Option(
        False, "--no-rerank", help="Leave the matcher's order, if the model has a reranker."
    ),
    tag: str | None = TAG_OPTION,
    backend: BackendName | None = BACKEND_OPTION,
    precision: Precision | None = PRECISION_OPTION,
    force_precision: bool = FORCE_OPTION,
    export: Path | None = EXPORT_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Find moments by what is seen and said in them.

    Each result shows how sure it is (calibrated for this query and this index), the moment, the stretch of it that the
    text attends to, and a bar with the attention over its frames.
    """
    check_export(export)
    set_arithmetic(backend, precision, force_precision)
    from ..index import Index
    from ..ranking import RERANK_DEPTH
    from ..search.query import MomentTerm
    from ..search.searcher import SOURCES, Searcher
    from ..search.syntax import parse

    terms = [
        *(_example(path) for path in like or ()),
        *(MomentTerm(moment=parse_moment(text)) for text in like_moment or ()),
    ]
    asked = parse(query, like=terms)
    config = candidate_config(candidates, candidates_by, milvus_uri, milvus_collection)
    with for_one_query(), Index.open(index, model=model, tag=tag, candidates=config) as opened:
        answer = Searcher(opened).search(
            asked,
            k=k,
            offset=offset,
            depth=depth,
            rerank_depth=0 if no_rerank else RERANK_DEPTH,
            unit=unit.value,
            sources=tuple(one.value for one in dict.fromkeys(source)) if source else SOURCES,
            group_duplicates=not duplicates,
        )
    for note in answer.notes:
        talk(f"note: {note}")
    if as_json:
        document = answer.to_dict()
        emit_json({"query": query, "hits": document.pop("results"), **document})
    else:
        _print(answer, index, offset)
    if export is not None:
        write_export(answer.results, export, query=query)


def parse_moment(text: str) -> MomentRef:
    """A moment as ``VIDEO@START-END``; the name may hold @ and - itself. Raises InputError if it is none."""
    from ..search.query import MomentRef

    video, at, stretch = text.rpartition("@")
    start, dash, end = stretch.partition("-")
    if not (video and at and dash):
        raise InputError(f"{text!r} is no moment; write VIDEO@START-END, such as trip.mp4@1:02-1:10.5")
    return MomentRef(video=os.path.abspath(video), start_s=parse_time(start), end_s=parse_time(end))


def _example(path: Path) -> ImageTerm | ClipTerm:
    from ..data import VIDEO_SUFFIXES
    from ..search.query import ClipTerm, ImageTerm

    if not path.is_file():
        raise InputError(f"there is no file {str(path)!r} for --like")
    return ClipTerm(path=path) if path.suffix.lower() in VIDEO_SUFFIXES else ImageTerm(path=path)


def _print(answer: Answer, index: Path, offset: int) -> None:
    name = as_given(index)
    if not answer.moments:
        talk(f"the index {name!r} is empty; add videos with: framesift index PATH --index {name}")
        return
    if not answer.searched:
        talk(f"the filters leave none of the {answer.moments} moments of the index {name!r}")
        return
    if not answer.results:
        talk(_nothing(answer, offset))
        return
    if answer.nothing_fits:
        talk("nothing in this index fits; the nearest are:")
    say(f"{HIT_HEADER[:3]}  {'sure':>5}{HIT_HEADER[3:]}")
    for result in answer.results:
        _print_result(result, steps=len(answer.query.steps))
    if answer.next_offset is not None:
        talk(f"more with --offset {answer.next_offset}")


def _nothing(answer: Answer, offset: int) -> str:
    if offset:
        return f"there are no results behind the first {offset}"
    if len(answer.query.steps) > 1:
        return "no video shows all steps one after the other; try a longer time limit, or none"
    return "no subtitle has all these words; without --source subtitles what is seen is searched, too"


def _print_result(result: Result, *, steps: int) -> None:
    line = format_hit(result.hit)
    sure = "" if result.relevance is None else f"{100 * result.relevance:.0f} %"
    say(f"{line[:3]}  {sure:>5}{line[3:]}")
    for text in _details(result, steps=steps):
        say(f"{'':12}{text}")


def _details(result: Result, *, steps: int) -> Sequence[str]:
    lines: list[str] = []
    if steps > 1:
        spans = (f"{format_time(part.start_s)}-{format_time(part.end_s)}" for part in result.parts)
        lines.append(f"one after the other: {', then '.join(spans)}")
    for source in result.sources:
        if source.text is not None:
            at = "" if source.start_s is None else f"{format_time(source.start_s)} "
            lines.append(f"said at {at}“{one_line(source.text)}”")
    if result.duplicates:
        lines.append(f"looks the same: {_some([one_line(copy.video) for copy in result.duplicates])}")
    return lines


def _some(names: Sequence[Any], *, most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
