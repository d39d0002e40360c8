"""``framesift tag``."""

from __future__ import annotations

from pathlib import Path

import typer

from .output import INDEX_OPTION, JSON_OPTION, emit_json, one_line, say, talk

__all__ = ["EXAMPLES", "tag"]

EXAMPLES = """Examples: `framesift tag trip.mp4 --add beach --add "two words"` gives a video two tags.
`framesift tag holiday/ --add holiday --remove todo` changes those of all indexed videos in a folder.
`framesift tag trip.mp4` shows them. `framesift search "a dog tag:beach"` searches only videos that have one."""


def tag(
    paths: list[Path] = typer.Argument(..., help="Indexed videos, and folders of them.", metavar="PATH..."),
    add: list[str] | None = typer.Option(None, "--add", "-a", help="A tag to give. May be repeated."),
    remove: list[str] | None = typer.Option(
        None, "--remove", "-r", help="A tag to take away. May be repeated."
    ),
    index: Path = INDEX_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Give indexed videos tags to search by, or show them.

    The files are not touched: tags are kept in the index, and survive indexing again and moves of the files.
    """
    from ..index import Index

    with Index.open(index) as opened:
        if add or remove:
            records = opened.tag(paths, add=add or (), remove=remove or ())
        else:
            records = opened.records_of(paths)
    if as_json:
        emit_json({"files": [{"uri": record.uri, "tags": list(record.tags)} for record in records]})
        return
    for record in records:
        say(f"{one_line(record.uri)}  {', '.join(record.tags) or '-'}")
    if add or remove:
        talk(f"{len(records)} video{'s' if len(records) != 1 else ''}")
