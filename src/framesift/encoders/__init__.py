"""Encoders: texts and frames into one space. The only package that imports transformers.

Its names are imported when they are first used, so that a decode worker which only shrinks frames
(:class:`.Preprocess`) does not wait for transformers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Encoder, Pictures, resolve_device
    from .clip import ClipEncoder
    from .preprocess import RESIZERS, Preprocess
    from .registry import ENCODERS, load_encoder
    from .siglip import Siglip2Encoder, SiglipEncoder

__all__ = [
    "ENCODERS",
    "RESIZERS",
    "ClipEncoder",
    "Encoder",
    "Pictures",
    "Preprocess",
    "Siglip2Encoder",
    "SiglipEncoder",
    "load_encoder",
    "resolve_device",
]

_HOMES = {
    "ENCODERS": "registry",
    "RESIZERS": "preprocess",
    "ClipEncoder": "clip",
    "Encoder": "base",
    "Pictures": "base",
    "Preprocess": "preprocess",
    "Siglip2Encoder": "siglip",
    "SiglipEncoder": "siglip",
    "load_encoder": "registry",
    "resolve_device": "base",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
