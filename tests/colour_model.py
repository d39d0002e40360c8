"""A model that needs no weights: a frame is its mean colour, a text the colours that it names.

For tests of everything around a model. Its answers are predictable: "red" finds red frames. With it, a writer
of clips that show one colour after another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

from framesift.features import TextFeatures, VideoFeatures
from framesift.matchers import SoftmaxPool, SoftmaxPoolConfig
from framesift.matchers.base import Matcher
from framesift.temporal import Identity, Temporal
from framesift.video.frames import Frames

__all__ = ["COLOURS", "ColourEncoder", "ColourModel", "write_clip"]

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 200, 30),
    "blue": (30, 30, 220),
    "yellow": (220, 220, 30),
    "cyan": (30, 210, 210),
    "white": (240, 240, 240),
}


class Unchanged:
    """A preprocessing that has nothing to do."""

    def resize_crop(self, pixels: np.ndarray) -> np.ndarray:
        return pixels


class ColourEncoder:
    """What an index uses of an encoder."""

    arithmetic = "torch fp32"
    compared = None

    preprocessing = Unchanged()

    def __init__(self) -> None:
        self.encoded = 0

    def encode_video(self, videos: Sequence[Frames]) -> VideoFeatures:
        self.encoded += len(videos)
        parts = [
            VideoFeatures(
                frame=_embed(v.pixels.mean(axis=(1, 2)))[None], frame_mask=torch.ones(1, len(v)).bool()
            )
            for v in videos
        ]
        return VideoFeatures.cat(parts)


@dataclass
class ColourModel:
    """What an index uses of a :class:`framesift.RetrievalModel`."""

    identity: str = "c0" * 16
    name: str = ""
    num_frames: int = 4
    dim: int = 4
    matcher: Matcher = field(default_factory=lambda: SoftmaxPool(SoftmaxPoolConfig(temperature=0.1)))
    reranker: None = None
    encoder: ColourEncoder = field(default_factory=ColourEncoder)
    temporal: Temporal = field(default_factory=Identity)

    def fingerprint(self) -> str:
        return self.identity

    def encode_text(self, texts: Sequence[str]) -> TextFeatures:
        named = [[rgb for name, rgb in COLOURS.items() if name in text] or [(0, 0, 0)] for text in texts]
        return TextFeatures(
            sentence=torch.stack([_embed(np.array(colours, float)).mean(0) for colours in named])
        )

    def inform(self, video: VideoFeatures) -> VideoFeatures:
        return self.temporal(video)


def _embed(rgb: np.ndarray) -> torch.Tensor:
    """Mean colours ``[n, 3]`` to embeddings ``[n, 4]``; grey lies apart from black by the fourth number."""
    centred = torch.from_numpy(rgb).float() / 64 - 2
    return torch.cat([centred, torch.full((len(centred), 1), 0.25)], dim=1)


def write_clip(
    path: Path, colours: Iterable[str], *, seconds: float = 1.0, fps: int = 8, size_px: int = 32
) -> Path:
    """An H.264 file that shows each colour for so many seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "12", "preset": "ultrafast"})
        stream.width = stream.height = size_px
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, fps)
        for colour in colours:
            pixels = np.full((size_px, size_px, 3), COLOURS[colour], np.uint8)
            for _ in range(round(seconds * fps)):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path
