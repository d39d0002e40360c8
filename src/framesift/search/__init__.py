"""Search as people ask: rich queries over an index, and answers that say why and how sure.

:class:`.Index` finds moments for one sentence with the one pipeline of :mod:`framesift.ranking`; this package composes
such rankings: terms with weights, "A then B", images and clips, filters, feedback, subtitles.

::

    searcher = Searcher(index)
    for result in searcher.search("a dog jumps then a cat -night folder:holiday").results:
        print(result.hit, result.relevance)

The names are imported when they are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import exports_of

if TYPE_CHECKING:
    from .answer import Answer, Part, Reason, Result, Source, Timeline
    from .captions import RankedCaption, describe, read_captions
    from .query import ClipTerm, Filters, ImageTerm, MomentRef, MomentTerm, Query, Step, TextTerm
    from .searcher import Searcher
    from .syntax import format_query, parse_query

__all__ = [
    "Answer",
    "ClipTerm",
    "Filters",
    "ImageTerm",
    "MomentRef",
    "MomentTerm",
    "Part",
    "Query",
    "RankedCaption",
    "Reason",
    "Result",
    "Searcher",
    "Source",
    "Step",
    "TextTerm",
    "Timeline",
    "describe",
    "format_query",
    "parse_query",
    "read_captions",
]

_HOMES = {
    "answer": ("Answer", "Part", "Reason", "Result", "Source", "Timeline"),
    "captions": ("RankedCaption", "describe", "read_captions"),
    "query": ("ClipTerm", "Filters", "ImageTerm", "MomentRef", "MomentTerm", "Query", "Step", "TextTerm"),
    "searcher": ("Searcher",),
    "syntax": ("format_query", "parse_query"),
}
__getattr__ = exports_of(__name__, {name: module for module, names in _HOMES.items() for name in names})
