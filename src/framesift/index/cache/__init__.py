"""The hot path of an index: what answers queries, in files that are mapped, built from the tables.

Everything in it can be built again, and deleting it is safe at any time. ``docs/hot-path.md`` tells what lies where.
"""

from .folder import CacheFolder, CacheSettings
from .keeping import CacheInfo, cache_info, keep_cache, refresh_cache
from .refresh import CACHED_FROM, CacheReport, refresh
from .segment import Segment

__all__ = [
    "CACHED_FROM",
    "CacheFolder",
    "CacheInfo",
    "CacheReport",
    "CacheSettings",
    "Segment",
    "cache_info",
    "keep_cache",
    "refresh",
    "refresh_cache",
]
