"""What the bundled heads are trained on: videos of Storyboard with their captions, and pairs that are confused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..errors import InputError, suggest
from ..storyboard import PAIR_KINDS, Caption, captions, standard, storyboards, training_pairs
from .storyboard_frames import STILL_PAIRS
from .storyboard_videos import NUM_FRAMES, frame_times_s

__all__ = ["ClipBatch", "StoryboardClips", "ValidationGalleries"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipBatch:
    """Rows of videos and of members of pairs, and what is said of them.

    Attributes:
        rows: of :attr:`StoryboardClips.videos`.
        texts: a caption of each row, and then another one of each, as many times as captions were asked for.
        frames: for every text the number of a frame that it is about.
        members: rows of :attr:`StoryboardClips.members`; 2i and 2i + 1 are a pair.
        still: places in ``members`` of those that any frame tells from the other member.
        member_frames: the number of a frame of every member.
    """

    rows: list[int]
    texts: list[str]
    frames: Int64[Tensor, " text"]
    members: list[int]
    still: list[int]
    member_frames: Int64[Tensor, " member"]


class StoryboardClips:
    """Videos of the training split, and pairs of every kind.

    Args:
        videos, pairs: how many; of pairs, of each kind.

    Attributes:
        videos: with ``captions``, a list for each.
        members: of the pairs, kind after kind, with ``member_texts``, one for each.
    """

    def __init__(self, *, videos: int, pairs: int) -> None:
        self.videos = storyboards("train", videos)
        self.captions = [captions(video) for video in self.videos]
        drawn = [pair for kind in PAIR_KINDS for pair in training_pairs(kind, pairs)]
        self.members = [video for pair in drawn for video in pair.videos]
        self.member_texts = [caption.text for pair in drawn for caption in pair.captions]
        self._first = {kind: 2 * number * pairs for number, kind in enumerate(PAIR_KINDS)}
        self._num_pairs = pairs
        self._times_s = [frame_times_s(video) for video in self.videos]

    def draw(
        self, steps: range, *, videos: int, pairs: Mapping[str, int], captions: int = 1, seed: int = 0
    ) -> Iterator[ClipBatch]:
        """One batch a step; each is a function of ``seed`` and its step.

        Args:
            videos: how many, each with ``captions`` captions.
            pairs: how many of each kind.

        Raises:
            InputError: there is no such kind.
        """
        for kind in pairs:
            if kind not in PAIR_KINDS:
                known = ", ".join(PAIR_KINDS)
                raise InputError(f"unknown kind of pair {kind!r}{suggest(kind, PAIR_KINDS)} (known: {known})")
        for step in steps:
            generator = torch.Generator().manual_seed(seed + step)

            def below(bound: int, generator: torch.Generator = generator) -> int:
                return int(torch.randint(bound, (), generator=generator))

            rows = torch.randperm(len(self.videos), generator=generator)[:videos].tolist()
            texts: list[str] = []
            frames: list[int] = []
            for row in rows * captions:
                caption = self.captions[row][below(len(self.captions[row]))]
                shown = _frames_of(caption, self._times_s[row])
                frames.append(shown[below(len(shown))])
                texts.append(caption.text)
            members: list[int] = []
            still: list[int] = []
            for kind, count in pairs.items():
                for pair in torch.randperm(self._num_pairs, generator=generator)[:count].tolist():
                    for member in (0, 1):
                        if kind in STILL_PAIRS:
                            still.append(len(members))
                        members.append(self._first[kind] + 2 * pair + member)
            yield ClipBatch(
                rows=rows,
                texts=texts,
                frames=torch.tensor(frames),
                members=members,
                still=still,
                member_frames=torch.randint(NUM_FRAMES, (len(members),), generator=generator),
            )


class ValidationGalleries:
    """The ``standard`` gallery of the validation split, and of every kind the pairs that follow those of training.

    Args:
        videos: of the gallery.
        pairs: of each kind, from number ``first_pair`` on.

    Attributes:
        texts, videos: by gallery, ``standard`` or a kind of pair.
        relevance: of ``standard``, bool ``[text, video]``.
    """

    def __init__(self, *, videos: int, pairs: int, first_pair: int) -> None:
        gallery = standard(videos, split="val")
        self.relevance = torch.from_numpy(gallery.relevance)
        self.texts, self.videos = {"standard": gallery.texts}, {"standard": gallery.videos}
        for kind in PAIR_KINDS:
            own = training_pairs(kind, pairs, start=first_pair)
            self.texts[kind] = [caption.text for pair in own for caption in pair.captions]
            self.videos[kind] = tuple(video for pair in own for video in pair.videos)


def _frames_of(caption: Caption, times_s: Float[np.ndarray, " frame"]) -> list[int]:
    """Numbers of the frames that lie in the caption's moment, or of the one nearest to its middle."""
    inside = np.flatnonzero((times_s >= caption.start_s) & (times_s < caption.end_s)).tolist()
    return inside or [int(np.abs(times_s - (caption.start_s + caption.end_s) / 2).argmin())]
