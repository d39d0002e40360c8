"""``framesift describe``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import InputError
from .output import DEFAULT_INDEX, JSON_OPTION, attention_bar, emit_json, format_time, one_line, say
from .taking import parse_time

if TYPE_CHECKING:
    from ..index import Index
    from ..model import RetrievalModel

__all__ = ["EXAMPLES", "describe"]

EXAMPLES = """Examples: `framesift describe trip.mp4 --captions captions.txt` ranks the lines of a file for a video.
`framesift describe trip.mp4 --captions tags.csv --template "a video of {}" --start 1:02 --end 1:10` does so with tags
for a stretch of it. Videos of framesift.index are not decoded again; without an index name a model with --model."""


def describe(
    video: Path = typer.Argument(..., help="A video file, indexed or not.", metavar="VIDEO"),
    captions: Path = typer.Option(
        ...,
        "--captions",
        "-c",
        help="Captions or tags to choose from: a text file with one a line, or .csv, .tsv or .jsonl with a column "
        "text, caption, tag or label.",
        metavar="FILE",
    ),
    start: str | None = typer.Option(None, help="Where to begin: seconds, m:ss or h:mm:ss.", metavar="TIME"),
    end: str | None = typer.Option(None, help="Where to end.", metavar="TIME"),
    template: str = typer.Option(
        "{}", help="What is compared, with the caption in place of {}; for tags: 'a video of {}'."
    ),
    k: int = typer.Option(10, "-k", min=1, help="Captions at most."),
    index: Path | None = typer.Option(
        None,
        "--index",
        "-i",
        envvar="FRAMESIFT_INDEX",
        help=f"Directory of the index. Default: {DEFAULT_INDEX}, if it is there.",
    ),
    model: str | None = typer.Option(
        None,
        "--model",
        "-m",
        help="A bundled model, a model directory or a Hugging Face id. Default: the index's.",
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Rank captions or tags for a video, or a stretch of it.

    Each line shows the score, a bar with the attention over the frames, and the caption.
    """
    begin_s = None if start is None else parse_time(start)
    end_s = None if end is None else parse_time(end)
    from ..index import Index
    from ..index.schema import IndexMeta
    from ..search.captions import describe as rank_captions
    from ..search.captions import read_captions

    texts = read_captions(captions)
    place = index or DEFAULT_INDEX
    opened: Index | None = None
    if index is not None or IndexMeta.exists(place):
        opened = Index.open(place, model=model)
        loaded: RetrievalModel = opened.model
    elif model is not None:
        from ..hub import load

        loaded = load(model)
    else:
        raise InputError(
            f"there is no index {str(place)!r} here, whose model could be used; name a model with --model, or an index "
            "with --index"
        )
    try:
        ranked = rank_captions(
            loaded, opened, video, texts, start_s=begin_s, end_s=end_s, template=template, k=k
        )
    finally:
        if opened is not None:
            opened.close()
    if as_json:
        emit_json({"video": os.path.abspath(video), "captions": [caption.to_dict() for caption in ranked]})
        return
    for caption in ranked:
        span = f"{format_time(caption.start_s)}-{format_time(caption.end_s)}"
        bar = attention_bar(caption.attention)
        say(f"{caption.rank:3d}  {caption.score:6.3f}  {span:>17}  {bar}  {one_line(caption.text)}")
