"""Rerankers: how similar is this text to this video?"""

from __future__ import annotations

from .base import Reranker

__all__ = ["RERANKERS", "Reranker"]

RERANKERS: dict[str, type[Reranker]] = {}
"""The rerankers of this package, by name."""
