"""framesift: text-video retrieval that attends to the frames a text speaks of.

::

    import framesift as fs

    with fs.Index.create("my.index", model="openai/clip-vit-base-patch32") as index:
        index.add("videos/")
        for hit in index.search("a dog runs on the beach"):
            print(hit, hit.focus_s)

Names are imported when they are first used, so that ``import framesift`` is light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy import exports_of

if TYPE_CHECKING:
    from .errors import (
        DecodeError,
        FingerprintError,
        FramesiftError,
        IndexLockedError,
        IndexNotFoundError,
        IndexRecoveredWarning,
        InputError,
        UnknownModelError,
    )
    from .evaluation import Evaluation, evaluate
    from .explaining import explain
    from .explanation import Explanation
    from .features import TextFeatures, VideoFeatures
    from .hub import load, save
    from .index import Index
    from .matchers import MATCHERS, Matcher, MeanPool, SoftmaxPool, TopK, XPool, XPoolConfig
    from .metrics import Metrics, ranks, t2v, v2t
    from .model import RetrievalModel
    from .ranking import Hit, MemoryGallery, rank
    from .search import Answer, Query, Result, Searcher, describe, parse_query
    from .similarity import similarity_matrix
    from .video import Frames, Moment, Rate, Uniform, decode, probe

__all__ = [
    "MATCHERS",
    "Answer",
    "DecodeError",
    "Evaluation",
    "Explanation",
    "FingerprintError",
    "Frames",
    "FramesiftError",
    "Hit",
    "Index",
    "IndexLockedError",
    "IndexNotFoundError",
    "IndexRecoveredWarning",
    "InputError",
    "Matcher",
    "MeanPool",
    "MemoryGallery",
    "Metrics",
    "Moment",
    "Query",
    "Rate",
    "Result",
    "RetrievalModel",
    "Searcher",
    "SoftmaxPool",
    "TextFeatures",
    "TopK",
    "Uniform",
    "UnknownModelError",
    "VideoFeatures",
    "XPool",
    "XPoolConfig",
    "decode",
    "describe",
    "evaluate",
    "explain",
    "load",
    "parse_query",
    "probe",
    "rank",
    "ranks",
    "save",
    "similarity_matrix",
    "t2v",
    "v2t",
]

_HOMES = {
    "errors": (
        "DecodeError",
        "FingerprintError",
        "FramesiftError",
        "IndexLockedError",
        "IndexNotFoundError",
        "IndexRecoveredWarning",
        "InputError",
        "UnknownModelError",
    ),
    "evaluation": ("Evaluation", "evaluate"),
    "explaining": ("explain",),
    "explanation": ("Explanation",),
    "features": ("TextFeatures", "VideoFeatures"),
    "hub": ("load", "save"),
    "index": ("Index",),
    "matchers": ("MATCHERS", "Matcher", "MeanPool", "SoftmaxPool", "TopK", "XPool", "XPoolConfig"),
    "metrics": ("Metrics", "ranks", "t2v", "v2t"),
    "model": ("RetrievalModel",),
    "ranking": ("Hit", "MemoryGallery", "rank"),
    "search": ("Answer", "Query", "Result", "Searcher", "describe", "parse_query"),
    "similarity": ("similarity_matrix",),
    "video": ("Frames", "Moment", "Rate", "Uniform", "decode", "probe"),
}
__getattr__ = exports_of(__name__, {name: module for module, names in _HOMES.items() for name in names})


def __dir__() -> list[str]:
    return sorted(__all__)
