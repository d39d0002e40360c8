"""The features of a benchmark's videos: decoded clips, encoded a few at a time, with what failed told apart."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, get_args, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from ..encoders import Pictures
from ..errors import DecodeError, InputError
from ..features import TextFeatures, VideoFeatures
from ..metrics import Ties
from ..ranking import RERANK_DEPTH, rerank_similarity
from ..reranking import RerankEncoder
from ..similarity import Scores, similarity_matrix
from ..video import Frames, Sampler, Transform, decode
from .evaluate import Evaluation, Relevance, evaluate, evaluate_similarity
from .leaks import find_leaks
from .normalization import Column

__all__ = [
    "FRAME_ORDERS",
    "Encoded",
    "FrameOrder",
    "Searches",
    "decode_part",
    "encode_clips",
    "measure",
    "reorder",
]

CHUNK = 16  # videos encoded at once

FrameOrder: TypeAlias = Literal["normal", "reversed", "shuffled", "single"]
"""Which frames a model sees: all in order, backwards, in random order (CLIP4Clip's frame_order 0, 1, 2), or the middle
one in every place."""

FRAME_ORDERS: tuple[FrameOrder, ...] = get_args(FrameOrder)


@runtime_checkable
class Searches(Protocol):
    """What is used here of a :class:`.RetrievalModel`."""

    matcher: Any
    encoder: Any

    def encode_text(self, texts: Sequence[str]) -> TextFeatures:
        """Embed sentences."""
        ...

    def encode_video(self, videos: Sequence[Any]) -> VideoFeatures:
        """Embed the frames of videos, which have informed one another."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoded:
    """Videos that could be decoded, as features.

    Attributes:
        rows: their numbers among the clips.
        failed: why the others could not be read, by number.
        by_order: their features, for every order of frames that was asked for.
        rerank: what the reranker reads of them.
    """

    rows: tuple[int, ...]
    failed: dict[int, DecodeError]
    by_order: dict[FrameOrder, VideoFeatures]
    rerank: VideoFeatures | None = None

    @property
    def video(self) -> VideoFeatures:
        """The features of the frames in their own order."""
        return self.by_order["normal"]


@dataclass(frozen=True)
class _Pixels:
    pixels: np.ndarray


MOMENT = re.compile(r"(.*)#t=([0-9.]+),([0-9.]+)$", re.DOTALL)


def decode_part(path: str | Path, sampler: Sampler, *, transform: Transform | None = None) -> Frames:
    """Decode a video, or the moment of it that a media fragment names: ``talk.mp4#t=12.5,20``.

    Raises:
        DecodeError: it cannot be read.
    """
    fragment = MOMENT.match(str(path))
    if fragment is None or Path(path).exists():
        return decode(Path(path), sampler, transform=transform)
    start_s, end_s = float(fragment[2]), float(fragment[3])
    return decode(Path(fragment[1]), sampler, start_s=start_s, end_s=end_s, transform=transform)


def reorder(pixels: np.ndarray, order: FrameOrder, generator: np.random.Generator) -> np.ndarray:
    """The frames ``[frame, ...]`` in another order; never their own when shuffled, if there are two."""
    count = len(pixels)
    if order == "reversed":
        return pixels[::-1].copy()
    if order == "single" and count:
        return pixels[np.full(count, count // 2)]
    if order == "shuffled" and count > 1:
        places = generator.permutation(count)
        while np.array_equal(places, np.arange(count)):
            places = generator.permutation(count)
        return pixels[places]
    return pixels


def encode_clips(
    model: Searches,
    clips: Iterable[Frames | DecodeError],
    *,
    orders: Sequence[FrameOrder] = ("normal",),
    reranker: RerankEncoder | None = None,
    progress: Callable[[int], None] | None = None,
    seed: int = 0,
) -> Encoded:
    """Encode clips a few at a time, whatever their number.

    Args:
        clips: frames of each video, or why there are none (:func:`.load_videos`).
        orders: the orders of frames to encode them in.
        reranker: encode what it reads as well.
        progress: called with the number of clips that are done.
        seed: of the shuffled order.

    Raises:
        InputError: no clip could be read.
    """
    parts: dict[FrameOrder, list[VideoFeatures]] = {order: [] for order in orders}
    again: list[VideoFeatures] = []
    rows: list[int] = []
    failed: dict[int, DecodeError] = {}
    numbered = enumerate(clips)
    while chunk := list(islice(numbered, CHUNK)):
        good = [(row, clip) for row, clip in chunk if not isinstance(clip, DecodeError)]
        failed |= {row: clip for row, clip in chunk if isinstance(clip, DecodeError)}
        if good:
            rows += [row for row, _ in good]
            small = [(row, model.encoder.preprocessing.resize_crop(clip.pixels)) for row, clip in good]
            for order, encoded in parts.items():
                generators = [np.random.default_rng([seed, row]) for row, _ in small]
                videos = [
                    _Pixels(reorder(pixels, order, generator))
                    for (_, pixels), generator in zip(small, generators, strict=True)
                ]
                encoded.append(model.encode_video(videos))
            if reranker is not None:
                shrink = reranker.preprocessing.resize_crop
                pictures: list[Pictures] = [_Pixels(shrink(clip.pixels)) for _, clip in good]
                again.append(reranker.encode_video(pictures).to("cpu"))
        if progress is not None:
            progress(chunk[-1][0] + 1)
    if not rows:
        first = next(iter(failed.values()), None)
        raise InputError(
            f"none of {len(failed)} videos could be read" + (f"; the first: {first}" if first else "")
        )
    return Encoded(
        rows=tuple(rows),
        failed=failed,
        by_order={order: VideoFeatures.cat(encoded) for order, encoded in parts.items()},
        rerank=VideoFeatures.cat(again) if again else None,
    )


def measure(
    matcher: Scores,
    text: TextFeatures,
    video: VideoFeatures,
    *,
    relevance: Relevance | None = None,
    ties: Ties = "pessimistic",
    beside: Sequence[Column] = (),
    reranker: RerankEncoder | None = None,
    rerank_text: TextFeatures | None = None,
    rerank_video: VideoFeatures | None = None,
    rerank_depth: int = RERANK_DEPTH,
) -> tuple[Evaluation, Evaluation | None]:
    """Evaluate a model on encoded texts and videos, with the reranker's turn where it has one.

    Args:
        reranker, rerank_text, rerank_video: the reranker and what it reads, all three or none.

    Returns:
        The evaluation of the whole model; and that of its first stage, where a reranker came after it.

    Raises:
        InputError: the matcher or the reranker leaks.
    """
    if reranker is None or rerank_text is None or rerank_video is None:
        return evaluate(matcher, text, video, relevance=relevance, ties=ties, beside=beside), None
    first = evaluate(matcher, text, video, relevance=relevance, ties=ties)
    leaks = find_leaks(_all_pairs(reranker), rerank_text, rerank_video, relevance=relevance, sample=4)
    leaks.refuse()
    similarity = similarity_matrix(matcher, text, video)
    t2v, v2t = (
        rerank_similarity(
            similarity, reranker.reranker, rerank_text, rerank_video, direction=way, depth=rerank_depth
        )
        for way in ("t2v", "v2t")
    )
    whole = evaluate_similarity(t2v, v2t_similarity=v2t, relevance=relevance, ties=ties, beside=beside)
    return replace(whole, leaks=leaks), first


def _all_pairs(encoder: RerankEncoder) -> Callable[[TextFeatures, VideoFeatures], Tensor]:
    def scores(text: TextFeatures, video: VideoFeatures) -> Tensor:
        pairs = torch.cartesian_prod(torch.arange(len(text)), torch.arange(len(video)))
        device, dtype = text.sentence.device, text.sentence.dtype
        found = encoder.reranker(text, video.to(device, dtype), pairs.to(device))
        return found.reshape(len(text), len(video))

    return scores
