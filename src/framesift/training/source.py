"""Where features come from in training: an encoder that learns, run on clips as they are decoded, or tables of features
that a frozen encoder made once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from ..encoders import Encoder, TokenShiftClipEncoder
from ..errors import DatasetError, DecodeError
from ..features import TextFeatures, VideoFeatures
from ..model import RetrievalModel
from ..video import Frames
from .gather import World

__all__ = ["Batch", "FrozenSource", "LiveSource", "PairOrder", "Source"]

DRAWS = 1_000_003  # clip n of step s of a run is drawn from (seed, s, n)


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Some (text, video) pairs.

    Attributes:
        captions: rows of the captions, ``[row]``.
        clips: pixels of their videos, where those are encoded now.
    """

    captions: Int64[Tensor, " row"]
    clips: tuple[np.ndarray, ...] = ()

    def split(self, size: int) -> list[Batch]:
        """In parts of at most ``size`` pairs; 0: as it is."""
        if not size or size >= len(self.captions):
            return [self]
        return [
            Batch(captions=self.captions[start : start + size], clips=self.clips[start : start + size])
            for start in range(0, len(self.captions), size)
        ]


class PairOrder:
    """Which pairs are in which step: a new permutation every epoch, the last incomplete batch left out.

    Args:
        owner: row of the video of every caption.
        by_video: an epoch has every video once, with one of its captions; else every caption once.
        batch_size: pairs a step; at most as many as an epoch has.
    """

    def __init__(self, owner: Int64[Tensor, " text"], *, by_video: bool, batch_size: int, seed: int) -> None:
        self.owner, self._by_video, self._seed = owner, by_video, seed
        counts = owner.bincount()
        self._captions = owner.argsort(stable=True).split(counts.tolist())
        self.num_samples = int((counts > 0).sum()) if by_video else len(owner)
        self.batch_size = min(batch_size, self.num_samples)
        self._known: tuple[int, Tensor] | None = None

    @property
    def num_captions(self) -> int:
        """Captions in all."""
        return len(self.owner)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of an epoch."""
        return self.num_samples // self.batch_size

    def rows(self, step: int) -> Int64[Tensor, " row"]:
        """Rows of the captions of a step, counted from 0."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._known is None or self._known[0] != epoch:
            self._known = (epoch, self._epoch(epoch))
        return self._known[1][place * self.batch_size : (place + 1) * self.batch_size]

    def _epoch(self, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(self._seed * DRAWS + epoch)
        if not self._by_video:
            return torch.randperm(len(self.owner), generator=generator)
        own = [rows for rows in self._captions if len(rows)]
        drawn = torch.stack([rows[torch.randint(len(rows), (), generator=generator)] for rows in own])
        return drawn[torch.randperm(len(drawn), generator=generator)]


class Source(ABC):
    """Batches of a run, and their features."""

    @abstractmethod
    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """This process's share of the steps ``first`` to ``last``, counted from 0."""

    @abstractmethod
    def encode(self, batch: Batch) -> tuple[TextFeatures, VideoFeatures]:
        """The features of a batch, aligned, on the model's device; videos padded to the most frames. Differentiable."""


class FrozenSource(Source):
    """Features of a frozen encoder, computed once; only the temporal module runs.

    Args:
        text: rows of captions -> their features.
        video: rows of videos -> what the encoder gives of them, before the temporal module.
    """

    def __init__(
        self,
        model: RetrievalModel,
        order: PairOrder,
        *,
        text: Callable[[Tensor], TextFeatures],
        video: Callable[[Tensor], VideoFeatures],
        world: World,
    ) -> None:
        self._model, self._order, self._world = model, order, world
        self._text, self._video = text, video

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        for step in range(first, last):
            rows = self._order.rows(step)
            yield Batch(captions=rows[self._world.share(len(rows))])

    def encode(self, batch: Batch) -> tuple[TextFeatures, VideoFeatures]:
        device = self._model.device
        text = self._text(batch.captions).to(device)
        video = self._model.inform(self._video(self._order.owner[batch.captions]).to(device))
        return text, replace(video, patch=None)


class LiveSource(Source):
    """Clips that are decoded ahead in other processes, and an encoder that learns.

    Args:
        texts: of the captions.
        clips: (row of video, draw) pairs -> their frames, resized, in that order; what cannot be read is an error.
        num_words: texts are cut to so many tokens; 0: to the context.
        num_frames: videos are padded to so many frames.
    """

    def __init__(
        self,
        model: RetrievalModel,
        order: PairOrder,
        *,
        texts: Sequence[str],
        clips: Callable[[Iterator[tuple[int, int]]], Iterator[Frames | DecodeError]],
        num_words: int,
        num_frames: int,
        seed: int,
        world: World,
    ) -> None:
        self._model, self._order, self._world = model, order, world
        self._texts, self._clips, self._num_words, self._num_frames = texts, clips, num_words, num_frames
        self._seed = seed

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        frames = self._clips(chain.from_iterable(self._wanted(step) for step in range(first, last)))
        try:
            for step in range(first, last):
                rows = self._order.rows(step)
                own = rows[self._world.share(len(rows))]
                yield Batch(captions=own, clips=tuple(_pixels(next(frames)) for _ in range(len(own))))
        finally:
            close = getattr(frames, "close", None)
            if close is not None:
                close()  # ends the decoding processes

    def _wanted(self, step: int) -> Iterator[tuple[int, int]]:
        rows = self._order.rows(step)
        places = range(len(rows))[self._world.share(len(rows))]
        for place in places:
            seed = np.random.SeedSequence([self._seed, step, place]).generate_state(1)[0]
            yield int(self._order.owner[rows[place]]), int(seed)

    def encode(self, batch: Batch) -> tuple[TextFeatures, VideoFeatures]:
        model, device = self._model, self._model.device
        words = model.matcher.num_words
        ids, mask = model.encoder.tokenize(
            [self._texts[int(row)] for row in batch.captions],
            context=words or self._num_words or None,
            length=words,
        )
        ids, mask = ids.to(device), mask.to(device)
        if words is None:
            text = TextFeatures(sentence=model.encoder.forward_text(ids, mask))
        else:
            sentence, word = model.encoder.forward_words(ids, mask)
            text = TextFeatures(sentence=sentence, word=word, word_mask=mask)
        video = _encode_clips(
            model.encoder, batch.clips, self._num_frames, patches=model.temporal.reads_patches
        )
        return text, replace(model.inform(video), patch=None)


def _encode_clips(
    encoder: Encoder, clips: Sequence[np.ndarray], num_frames: int, *, patches: bool
) -> VideoFeatures:
    """Features of clips ``[frame, height, width, 3]``, padded to ``num_frames``. Differentiable."""
    pixels = torch.cat([encoder.preprocess(clip) for clip in clips]).to(encoder.device, non_blocking=True)
    lengths = [len(clip) for clip in clips]
    patch: Tensor | None = None
    if isinstance(encoder, TokenShiftClipEncoder):
        frame, patch = encoder.forward_patches(pixels, lengths=lengths)
    elif patches:
        frame, patch = encoder.forward_patches(pixels)
    else:
        frame = encoder.forward_pixels(pixels)
    count = torch.tensor(lengths, device=encoder.device)
    mask = torch.arange(num_frames, device=encoder.device) < count[:, None]
    padded = None if patch is None or not patches else _pad(patch, lengths, num_frames)
    return VideoFeatures(frame=_pad(frame, lengths, num_frames), frame_mask=mask, patch=padded)


def _pad(rows: Tensor, lengths: Sequence[int], length: int) -> Tensor:
    """Consecutive rows as one block a video, zeros after them."""
    parts = [
        torch.cat([part, part.new_zeros(length - len(part), *part.shape[1:])]) if len(part) < length else part
        for part in rows.split(list(lengths))
    ]
    return torch.stack(parts)


def _pixels(clip: Frames | DecodeError) -> np.ndarray:
    if isinstance(clip, DecodeError):
        raise DatasetError(
            f"{clip}; it could be read when training began. Once it can be again, the same command goes on from there"
        )
    return clip.pixels
