"""Rerankers: how similar is this text to this video?"""

from __future__ import annotations

from .base import Reranker
from .cross_transformer import CrossTransformer, CrossTransformerConfig

__all__ = ["RERANKERS", "CrossTransformer", "CrossTransformerConfig", "Reranker"]

RERANKERS: dict[str, type[Reranker]] = {"cross_transformer": CrossTransformer}
"""The rerankers of this package, by name."""
