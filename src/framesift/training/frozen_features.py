"""What the frozen parts of a model make of videos: computed once in a run, and read from its folder from then on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from ..config import to_dict
from ..encoders import Encoder
from ..errors import DatasetError, DecodeError
from ..features import TextFeatures, VideoFeatures
from ..model import RetrievalModel
from ..reranking import RerankEncoder
from ..temporal import Identity
from ..video import Frames
from .feature_cache import cached_sentences, cached_videos
from .gather import World
from .recipe import Recipe
from .token_cache import TokenCache
from .videos import Videos

__all__ = ["FrozenFeatures", "FrozenPatches"]

GIB = 2**30
SIDE_PX = 64  # of a picture where the encoder takes any

Made = TypeVar("Made")


class FrozenPatches:
    """The image tokens of a model's frozen encoder, and its frames, which are the first of them in the joint space."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.preprocessing = encoder.preprocessing
        self.fingerprint = encoder.fingerprint

    def encode_video(self, videos: Sequence[Frames]) -> VideoFeatures:
        """Frames and tokens."""
        return self._encoder.encode_video(videos, patches=True)

    @torch.no_grad()
    def with_frames(self, video: VideoFeatures) -> VideoFeatures:
        """What a token cache gives, with the frames in the joint space; float32 on the encoder's device."""
        video = video.to(self._encoder.device, torch.float32)
        assert video.patch is not None
        return VideoFeatures(
            frame=self._encoder.project(video.patch[:, :, 0]), frame_mask=video.frame_mask, patch=video.patch
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class FrozenFeatures:
    """Features of a run's videos and captions by what does not learn.

    Attributes:
        folder: of the run.
        whole: nothing of the model's first stage learns, so that frames are those behind its temporal module.
        world: the first process fills what the others read.
        report: hears how far it is.
    """

    recipe: Recipe
    folder: Path
    model: RetrievalModel
    whole: bool
    world: World
    report: Callable[[str], None]

    def frames(self, ids: Sequence[str], videos: Videos, name: str) -> VideoFeatures:
        """What the model gives of videos; where its temporal module learns, before that.

        Raises:
            DatasetError: a video that could be read no longer can.
        """
        model = (
            self.model if self.whole else RetrievalModel(self.model.encoder, Identity(), self.model.matcher)
        )
        key = f"{model.fingerprint()} {to_dict(self.recipe.frames)}"
        folder = self.folder / "features" / name

        def compute() -> VideoFeatures:
            found, failed = cached_videos(
                folder,
                ids,
                lambda chosen: videos.encode(model, chosen),
                key=key,
                num_frames=self.recipe.frames.num_frames,
                report=self.report,
            )
            if found is None or failed:
                raise DatasetError(
                    f"{next(iter(failed))!r} could be read a while ago, and now cannot: check the disk"
                )
            return found

        return self._in_turn(compute)

    def sentences(self, texts: Sequence[str]) -> TextFeatures:
        """Sentence embeddings of the training captions."""
        path = self.folder / "features" / "captions.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        key = self.model.encoder.fingerprint()
        return self._in_turn(
            lambda: cached_sentences(path, texts, self.model.encode_text, key=key, report=self.report)
        )

    def tokens(
        self, ids: Sequence[str], videos: Videos, encoder: RerankEncoder | FrozenPatches, name: str
    ) -> TokenCache:
        """Image tokens of videos by ``encoder``, on disk.

        Raises:
            DatasetError: a video that could be read no longer can.
        """
        frames = Videos(
            sources=videos.sources,
            frames=videos.frames,
            preprocessing=encoder.preprocessing,
            workers=videos.workers,
        )

        def encode(chosen: Sequence[str]) -> VideoFeatures:
            clips: list[Frames] = []
            for video, clip in zip(chosen, frames.decode(chosen), strict=True):
                if isinstance(clip, DecodeError):
                    raise DatasetError(f"{video!r} could be read a while ago, and now cannot: {clip}")
                clips.append(clip)
            return encoder.encode_video(clips)

        size = encoder.preprocessing.crop or encoder.preprocessing.size or (SIDE_PX, SIDE_PX)
        blank = encoder.encode_video([Frames(np.zeros((1, *size, 3), np.uint8), np.zeros(1), "blank")]).patch
        assert blank is not None

        def compute() -> TokenCache:
            cache = TokenCache(
                self.folder / "tokens" / name,
                list(ids),
                encode,
                fingerprint=f"{encoder.fingerprint()} {to_dict(self.recipe.frames)}",
                shape=(self.recipe.frames.num_frames, blank.shape[2], blank.shape[3]),
                max_bytes=int(self.recipe.rerank.token_gib * GIB),
            )
            cache.fill(report=self.report)
            return cache

        return self._in_turn(compute)

    def _in_turn(self, compute: Callable[[], Made]) -> Made:
        """First the leading process, which fills a cache on disk, then the others, which read it."""
        if not self.world.leads:
            self.world.wait()
            return compute()
        found = compute()
        self.world.wait()
        return found
