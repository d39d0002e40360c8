"""CLIP4Clip's sequential LSTM, "seqLSTM" (Luo et al. 2021, section 3.3).

A one-layer LSTM reads the frames in their order; its outputs are added to them. The published code packs the
sequences; an LSTM that reads padding only after the real frames gives the same, and leaves the published
code's fillings of padded frames, which mean nothing, out of it.

Deviations from the published code: a video without a real frame is no error; padding in front or in between is
skipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..errors import ConfigError
from ..features import VideoFeatures
from .base import Temporal, real_frames, with_encoded

__all__ = ["TemporalLSTM", "TemporalLSTMConfig"]


@dataclass(frozen=True, kw_only=True)
class TemporalLSTMConfig:
    """Configuration of :class:`TemporalLSTM`.

    Attributes:
        dim: dimensions of the frames.
        keep_frames: leave ``frame`` as it is and put the mean of the encoded frames into ``video`` (X-CLIP).
    """

    dim: int = 512  # CLIP ViT-B/32
    keep_frames: bool = False

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise ConfigError(f"dim={self.dim}: expected at least 1")


@final
class TemporalLSTM(Temporal):
    """Frames that have seen the earlier frames of their video.

    Parameters have the names of the published checkpoints, where ``lstm`` is ``lstm_visual``.
    """

    name = "lstm"
    Config = TemporalLSTMConfig
    config: TemporalLSTMConfig

    def __init__(self, config: TemporalLSTMConfig | None = None) -> None:
        config = config or TemporalLSTMConfig()
        super().__init__(config)
        self.lstm = nn.LSTM(config.dim, config.dim, batch_first=True)

    def forward(self, video: VideoFeatures) -> VideoFeatures:
        """Encoded frames; padded ones hold finite numbers that mean nothing.

        Raises:
            ShapeError: the frames are of another width.
        """
        frame = real_frames(self, video, dim=self.config.dim)
        return with_encoded(video, self.encode(frame, video.frame_mask), keep_frames=self.config.keep_frames)

    def encode(
        self, frame: Float[Tensor, "video frame dim"], frame_mask: Bool[Tensor, "video frame"]
    ) -> Float[Tensor, "video frame dim"]:
        """The same of bare tensors; masked frames must be finite."""
        if not frame.numel():
            return frame
        real_first = (~frame_mask).int().argsort(dim=1, stable=True)[..., None].expand_as(frame)
        outputs, _ = self.lstm(frame.gather(1, real_first))
        return frame + torch.zeros_like(frame).scatter(1, real_first, outputs)
