"""CLIP4Clip's sequential transformer, "seqTransf" (Luo et al. 2021, "CLIP4Clip: An Empirical Study of CLIP for End
to End Video Clip Retrieval", section 3.3).

Learned positions are added to the frames, residual attention blocks let the frames inform one another, and the
original frames (without positions) are added to the result. With mean pooling behind it this is CLIP4Clip's
seqTransf; X-CLIP keeps the original frames beside the video that comes of it.

Deviation from the published code: a frame's position counts the real frames before it, so that padding in front
changes nothing either; with padding at the end, which is all that the published code knows, the two agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..clip_blocks import AttentionBlock, check_heads, frame_ranks, normal_embedding, start_from_text
from ..features import VideoFeatures
from .base import Temporal, real_frames, with_encoded

__all__ = ["TemporalTransformer", "TemporalTransformerConfig"]


@dataclass(frozen=True, kw_only=True)
class TemporalTransformerConfig:
    """Configuration of :class:`TemporalTransformer`.

    Attributes:
        dim: dimensions of the frames.
        num_layers: blocks.
        num_heads: attention heads; divides ``dim``.
        max_frames: learned positions, and so the most real frames of a video.
        keep_frames: leave ``frame`` as it is and put the mean of the encoded frames into ``video`` (X-CLIP).
    """

    dim: int = 512  # CLIP ViT-B/32
    num_layers: int = 4  # CLIP4Clip, released configuration
    num_heads: int = 8  # CLIP4Clip: text width // 64
    max_frames: int = 77  # CLIP's text positions, from which CLIP4Clip starts
    keep_frames: bool = False

    def __post_init__(self) -> None:
        check_heads(self.dim, self.num_heads, num_layers=self.num_layers, max_frames=self.max_frames)


@final
class TemporalTransformer(Temporal):
    """Frames that have seen the other frames of their video and their own place among them.

    Parameters have the names of the published checkpoints, where ``position_embedding`` is
    ``frame_position_embeddings`` and ``blocks`` is ``transformerClip.resblocks``.
    """

    name = "transformer"
    Config = TemporalTransformerConfig
    config: TemporalTransformerConfig

    def __init__(self, config: TemporalTransformerConfig | None = None) -> None:
        config = config or TemporalTransformerConfig()
        super().__init__(config)
        self.position_embedding = normal_embedding(config.max_frames, config.dim)
        self.blocks = nn.ModuleList(
            AttentionBlock(config.dim, config.num_heads) for _ in range(config.num_layers)
        )

    def start_from(self, text: Mapping[str, Tensor]) -> None:
        """Copy CLIP's text tower (:func:`.encoders.openai.text_blocks`), as CLIP4Clip does before training.

        Raises:
            ShapeError: the tower has fewer blocks or positions, or another width.
        """
        start_from_text(self.position_embedding, self.blocks, text)

    def forward(self, video: VideoFeatures) -> VideoFeatures:
        """Encoded frames; padded ones hold finite numbers that mean nothing.

        Raises:
            ShapeError: the frames are of another width, or a video has more than ``max_frames`` of them.
        """
        frame = real_frames(self, video, dim=self.config.dim)
        return with_encoded(video, self.encode(frame, video.frame_mask), keep_frames=self.config.keep_frames)

    def encode(
        self, frame: Float[Tensor, "video frame dim"], frame_mask: Bool[Tensor, "video frame"]
    ) -> Float[Tensor, "video frame dim"]:
        """The same of bare tensors; masked frames must be finite."""
        ranks = frame_ranks(self.name, frame_mask, max_frames=self.config.max_frames)
        if not frame.numel():
            return frame
        x = frame + self.position_embedding(ranks)
        for block in self.blocks:
            x = block(x, frame_mask)
        return frame + x
