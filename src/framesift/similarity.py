"""The similarity of every text with every video, block by block, so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, TypeAlias, runtime_checkable

import torch

from .errors import InputError
from .features import Similarity, TextFeatures, VideoFeatures

__all__ = ["QueryScorer", "Scorer", "Scores", "similarity_matrix"]

Scorer: TypeAlias = Callable[[TextFeatures], Similarity]
"""Texts -> their similarity to the videos that were folded in."""

QueryScorer: TypeAlias = Callable[[VideoFeatures], Similarity]
"""Videos -> their similarity to the texts that were folded in."""

TEXT_BLOCK = 256
VIDEO_BLOCK = 1024
"""Videos that are folded at once by the fast form: 24 MiB of features at 12 frames x 512."""

PLAIN_VIDEO_BLOCK = 32
"""Videos at once in ``forward``, which may hold a vector a pair: 16 MiB at 512 dimensions and ``TEXT_BLOCK``."""


@runtime_checkable
class Scores(Protocol):
    """What :func:`similarity_matrix` needs of a matcher."""

    def __call__(self, text: TextFeatures, video: VideoFeatures) -> Similarity:
        """The definition."""
        ...

    def scorer(self, video: VideoFeatures) -> Scorer:
        """The same for many texts."""
        ...


@torch.no_grad()
def similarity_matrix(
    matcher: Scores,
    text: TextFeatures,
    video: VideoFeatures,
    *,
    text_block: int = TEXT_BLOCK,
    video_block: int | None = None,
    fast: bool = True,
) -> Similarity:
    """Score every text against every video, without gradients.

    Scores do not depend on the blocks: they are a memory knob.

    Args:
        matcher: anything with ``matcher(text, video)`` and ``matcher.scorer(video)``, in evaluation mode.
        text_block: texts scored at once.
        video_block: videos scored at once; default 1,024 with the fast form and 32 without.
        fast: use ``matcher.scorer``; otherwise ``matcher(text, video)``, the definition.

    Returns:
        Unscaled similarity, ``[text, video]``, on the device of the features.

    Raises:
        InputError: a block is smaller than 1.
        ShapeError: the features do not fit the matcher.
    """
    if video_block is None:
        video_block = VIDEO_BLOCK if fast else PLAIN_VIDEO_BLOCK
    for name, block in (("text_block", text_block), ("video_block", video_block)):
        if block < 1:
            raise InputError(f"{name} is {block}; it must be at least 1")
    result: Similarity | None = None
    for columns in _slices(len(video), video_block):
        videos = video[columns]
        score = matcher.scorer(videos) if fast else None
        for rows in _slices(len(text), text_block):
            texts = text[rows]
            block = matcher(texts, videos) if score is None else score(texts)
            if result is None:
                result = block.new_empty(len(text), len(video))
            result[rows, columns] = block
    return text.sentence.new_zeros(len(text), len(video)) if result is None else result


def _slices(length: int, size: int) -> Iterator[slice]:
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))
