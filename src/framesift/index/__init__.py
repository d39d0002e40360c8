"""The index: LanceDB tables of features, built resumably, searched exactly.

The names are imported when they are asked for: the decoding processes import a part of this package that must
not bring LanceDB and torch with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import exports_of

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


__getattr__ = exports_of(__name__, _HOMES)
