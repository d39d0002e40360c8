"""All slices of the test split by name."""

from __future__ import annotations

from collections.abc import Callable

from .moments import moments
from .pairs import binding_pairs, count_pairs, direction_pairs, order_pairs, small_object_pairs
from .slices import Slice, multi_caption, paragraphs, standard

__all__ = ["SLICES"]

SLICES: dict[str, Callable[..., Slice]] = {
    "standard": standard,  # 1,000 videos
    "direction": direction_pairs,  # 250 pairs each
    "order": order_pairs,
    "binding": binding_pairs,
    "small-object": small_object_pairs,
    "count": count_pairs,
    "multi-caption": multi_caption,  # 300 videos, five captions each
    "paragraph": paragraphs,  # 500 videos
    "moments": moments,  # 20 long videos
}
"""Name -> function of how many videos (of the paired slices: pairs); without a number, the size to report.

``diversity-n`` is made of another slice: :func:`.diversity`.
"""
