"""Encoders: texts and frames into one space. The only package that imports transformers.

Its names are imported when they are first used, so that a decode worker which only shrinks frames
(:class:`.Preprocess`) does not wait for transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import exports_of

if TYPE_CHECKING:
    from .base import Encoder, Pictures, resolve_device
    from .clip import ClipEncoder
    from .preprocess import RESIZERS, Preprocess
    from .registry import ENCODERS, load_encoder
    from .siglip import Siglip2Encoder, SiglipEncoder
    from .token_shift import TokenShiftClipEncoder

__all__ = [
    "ENCODERS",
    "RESIZERS",
    "ClipEncoder",
    "Encoder",
    "Pictures",
    "Preprocess",
    "Siglip2Encoder",
    "SiglipEncoder",
    "TokenShiftClipEncoder",
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
    "TokenShiftClipEncoder": "token_shift",
    "load_encoder": "registry",
    "resolve_device": "base",
}


__getattr__ = exports_of(__name__, _HOMES)
