"""Galleries that several models have seen: frames are rendered once, and encoded once for all that share an encoder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...features import TextFeatures, VideoFeatures
from ...model import RetrievalModel
from ...similarity import similarity_matrix
from ...storyboard import Storyboard
from ...video import Frames
from ..experiments.bench import encode_for_all
from ..storyboard import frames_of

__all__ = ["Models", "Seen", "article", "seen", "shown_things"]

Models = Mapping[str, RetrievalModel]


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """A gallery as one model sees it."""

    model: RetrievalModel
    video: VideoFeatures

    def similarity(self, texts: Iterable[str] | TextFeatures) -> Float[Tensor, "text video"]:
        """Of sentences with all videos, by the matcher."""
        text = texts if isinstance(texts, TextFeatures) else self.model.encode_text(list(texts))
        return similarity_matrix(self.model.matcher, text, self.video).float().cpu()


def seen(models: Models, videos: Iterable[Storyboard] | Iterable[Frames]) -> dict[str, Seen]:
    """Videos, uniformly sampled without files, or frames that were decoded, as every model sees them; by its name."""
    clips = (frames_of(one) if isinstance(one, Storyboard) else one for one in videos)
    with torch.inference_mode():
        found = encode_for_all(models, clips)
    return {name: Seen(model=models[name], video=video) for name, video in found.items()}


def shown_things(video: Storyboard) -> set[str]:
    """Colour and shape of everything in a video, such as ``red circle``."""
    return {f"{thing.color} {thing.shape}" for scene in video.scenes for thing in scene.objects}


def article(thing: str) -> str:
    """A thing as a query."""
    return f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}"
