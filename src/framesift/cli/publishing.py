"""``framesift publish``."""

from __future__ import annotations

from pathlib import Path

import typer

from ..errors import InputError
from .output import INDEX_OPTION, JSON_OPTION, as_given, emit_json, say, talk

__all__ = ["EXAMPLES", "publish"]

EXAMPLES = """Examples: `framesift publish` lets the tag "live" name the present state of framesift.index.
`framesift serve --tag live` serves that state, whatever is indexed meanwhile, until the next framesift publish.
`framesift publish --tag 2026-11 -i films.index` keeps a state under another name; it takes room until it is withdrawn
with `framesift publish --tag 2026-11 -i films.index --withdraw`. `framesift index PATH --publish live` does both."""


def publish(
    index: Path = INDEX_OPTION,
    tag: str | None = typer.Option(None, metavar="TAG", help="The name. Default: live."),
    withdraw: bool = typer.Option(False, "--withdraw", help="Delete the tag; needs --tag."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Give the present state of an index a name by which it can be served and searched while indexing goes on.

    The change is one step for everyone who reads by the name: searches see all of the state before, or all of this one.
    """
    from ..index import Index
    from ..index.published import DEFAULT_TAG

    if withdraw and tag is None:
        raise InputError("say which tag to delete: framesift publish --withdraw --tag TAG")
    name = tag or DEFAULT_TAG
    with Index.open(index) as opened:
        if withdraw:
            opened.withdraw(name)
        else:
            opened.publish(name)
        summary = opened.info()
    if as_json:
        emit_json({"published": [one.to_dict() for one in summary.published]})
    elif withdraw:
        say(f"{name} is withdrawn")
    else:
        say(f"{name} is {summary.videos} videos in {summary.moments} moments")
        talk(f"serve it with: framesift serve --index {as_given(index)} --tag {name}")
