"""The index: Lance tables of features, built resumably, searched exactly.

The names are imported when they are asked for: the decoding processes import a part of this package that must
not bring Lance and torch with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import exports_of

if TYPE_CHECKING:
    from .build import BuildConfig, BuildReport, Progress
    from .gallery import LanceGallery
    from .index import Index
    from .info import IndexInfo
    from .published import Publication
    from .schema import IndexMeta, VideoRecord
    from .subtitle_refresh import SubtitleReport
    from .subtitles import SubtitleCounts, SubtitleCue, SubtitleHit, Subtitles, SubtitleTrack
    from .verify import Check, Verification
    from .watch import WatchConfig, WatchEvent

__all__ = [
    "BuildConfig",
    "BuildReport",
    "Check",
    "Index",
    "IndexInfo",
    "IndexMeta",
    "LanceGallery",
    "Progress",
    "Publication",
    "SubtitleCounts",
    "SubtitleCue",
    "SubtitleHit",
    "SubtitleReport",
    "SubtitleTrack",
    "Subtitles",
    "Verification",
    "VideoRecord",
    "WatchConfig",
    "WatchEvent",
]

_HOMES = {
    "BuildConfig": "build",
    "BuildReport": "build",
    "Check": "verify",
    "Index": "index",
    "IndexInfo": "info",
    "IndexMeta": "schema",
    "LanceGallery": "gallery",
    "Progress": "build",
    "Publication": "published",
    "SubtitleCounts": "subtitles",
    "SubtitleCue": "subtitles",
    "SubtitleHit": "subtitles",
    "SubtitleReport": "subtitle_refresh",
    "SubtitleTrack": "subtitles",
    "Subtitles": "subtitles",
    "Verification": "verify",
    "VideoRecord": "schema",
    "WatchConfig": "watch",
    "WatchEvent": "watch",
}


__getattr__ = exports_of(__name__, _HOMES)
