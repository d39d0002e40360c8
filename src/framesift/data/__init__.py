"""Benchmarks as records: which videos, which captions, which answer which. No tensors, no pixels."""

from .records import PROTOCOLS, Caption, Protocol, Split

__all__ = ["PROTOCOLS", "Caption", "Protocol", "Split"]
