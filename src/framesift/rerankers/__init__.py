"""Rerankers: how similar is this text to this video?"""

from __future__ import annotations

from .base import Fusion, Reranker
from .cross_transformer import CrossTransformer, CrossTransformerConfig
from .cross_tvr import CrossTVR, CrossTVRConfig

__all__ = [
    "RERANKERS",
    "CrossTVR",
    "CrossTVRConfig",
    "CrossTransformer",
    "CrossTransformerConfig",
    "Fusion",
    "Reranker",
]

RERANKERS: dict[str, type[Reranker]] = {"cross_transformer": CrossTransformer, "cross_tvr": CrossTVR}
"""The rerankers of this package, by name."""
