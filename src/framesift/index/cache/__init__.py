"""The hot path of an index: what answers queries, in files that are mapped, built from the tables.

Everything in it can be built again, and deleting it is safe at any time. ``docs/hot-path.md`` tells what lies where.
"""

from .folder import CacheFolder, CacheSettings
from .refresh import CACHED_FROM, CacheReport, refresh
from .segment import Segment

__all__ = ["CACHED_FROM", "CacheFolder", "CacheReport", "CacheSettings", "Segment", "refresh"]
