"""``framesift search``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import typer

from .output import HIT_HEADER, INDEX_OPTION, JSON_OPTION, emit_json, format_hit, say, talk

__all__ = ["EXAMPLES", "search"]

EXAMPLES = """Examples: `framesift search "a dog runs on the beach"` searches framesift.index in this directory.
`framesift search "two people shake hands" --index talks.index -k 3 --unit video` gives the three best videos.
`framesift search "sunset" --json | jq -r ".hits[0].video"` prints the best file."""


class Unit(StrEnum):
    """What a result is."""

    moment = "moment"
    video = "video"


def search(
    query: str = typer.Argument(..., help="What to look for, in words.", metavar="QUERY"),
    index: Path = INDEX_OPTION,
    k: int = typer.Option(10, "-k", min=1, help="Results at most."),
    unit: Unit = typer.Option(
        Unit.moment,
        help="moment: parts of videos, adjacent ones merged. video: the best moment of each video.",
    ),
    depth: int = typer.Option(200, min=1, help="Candidates that are compared frame by frame."),
    model: str | None = typer.Option(
        None, "--model", "-m", help="Another model of the same encoder, e.g. with another matcher."
    ),
    no_rerank: bool = typer.Option(
        False, "--no-rerank", help="Leave the matcher's order, if the model has a reranker."
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Find moments by text.

    Each result shows the moment, the stretch of it that the text attends to, and a bar with the attention over its
    frames.
    """
    from ..index import Index
    from ..ranking import RERANK_DEPTH

    with Index.open(index, model=model) as opened:
        again = 0 if no_rerank else RERANK_DEPTH
        hits = opened.search(query, k=k, depth=depth, rerank_depth=again, unit=unit.value)
    if as_json:
        emit_json({"query": query, "hits": [hit.to_dict() for hit in hits]})
    elif not hits:
        talk(f"the index {str(index)!r} is empty; add videos with: framesift index PATH --index {index}")
    else:
        say(HIT_HEADER)
        for hit in hits:
            say(format_hit(hit))
