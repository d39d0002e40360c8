"""The index: LanceDB tables of features, built resumably, searched exactly.

The names are imported when they are asked for: the decoding processes import a part of this package that must
not bring LanceDB and torch with it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .build import BuildConfig, BuildReport, Progress
    from .gallery import LanceGallery
    from .index import Index, IndexInfo
    from .schema import IndexMeta, VideoRecord

__all__ = [
    "BuildConfig",
    "BuildReport",
    "Index",
    "IndexInfo",
    "IndexMeta",
    "LanceGallery",
    "Progress",
    "VideoRecord",
]

_HOMES = {
    "BuildConfig": "build",
    "BuildReport": "build",
    "Index": "index",
    "IndexInfo": "index",
    "IndexMeta": "schema",
    "LanceGallery": "gallery",
    "Progress": "build",
    "VideoRecord": "schema",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
