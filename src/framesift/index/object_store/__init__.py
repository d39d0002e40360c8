"""Indexes in S3-compatible object stores (and, by the same code but not tried yet, in those of Google and Azure).

A put is durable once it is acknowledged and never seen in part, so that nothing has to be synced or set aside there.
What remains is to keep a second writer out, which a lease does (lease.py), and to keep local what is not read as an
object: the subtitles' database (subtitles.py) and the caches of the hot path.
"""

from __future__ import annotations
