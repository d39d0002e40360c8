"""What a temporal module is: it lets the frames of a video inform one another, before the query is known."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar, final

from jaxtyping import Float
from torch import Tensor, nn

from ..errors import ShapeError
from ..explanation import Explained, Explanation
from ..features import VideoFeatures, masked_mean

__all__ = ["Identity", "IdentityConfig", "Temporal", "real_frames", "with_encoded"]

T = TypeVar("T", bound="Temporal")


class Temporal(nn.Module, ABC):
    """Video features -> video features. Each video by itself: the others in the batch change nothing.

    Args:
        config: an instance of ``Config``.
    """

    name: ClassVar[str]
    """Key in the registry."""

    Config: ClassVar[type[Any]]
    """Frozen dataclass that configures it."""

    config: Any
    """The ``Config`` that it was made from."""

    reads_patches: ClassVar[bool] = False
    """Whether it reads ``patch`` of the features, in the joint space (:meth:`.RetrievalModel.inform`)."""

    explains: ClassVar[frozenset[Explained]] = frozenset()
    """Fields that :meth:`explain` fills."""

    tokens_per_frame: int = 1
    """Frames that it gives in place of each frame; a frame's weight is the sum of theirs. More than one have no patch
    tokens."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    @classmethod
    def from_config(cls: type[T], config: Any) -> T:
        """The module that ``config``, a ``Config``, describes."""
        return cls(config)

    def explain(self, video: VideoFeatures) -> Explanation:
        """What it did with one video, given what :meth:`forward` is given; default: nothing to tell."""
        return Explanation()

    @abstractmethod
    def forward(self, video: VideoFeatures) -> VideoFeatures:
        """Features of the same videos and frames (or ``tokens_per_frame`` for each), masked where those are."""


@dataclass(frozen=True, kw_only=True)
class IdentityConfig:
    """Nothing to configure."""


@final
class Identity(Temporal):
    """Frames stay as the encoder made them (CLIP4Clip meanP, X-Pool)."""

    name = "identity"
    Config = IdentityConfig

    def __init__(self, config: IdentityConfig | None = None) -> None:
        super().__init__(config or IdentityConfig())

    def forward(self, video: VideoFeatures) -> VideoFeatures:
        """The same object."""
        return video


def real_frames(module: Temporal, video: VideoFeatures, *, dim: int) -> Float[Tensor, "video frame dim"]:
    """Frames in the type of the module's weights, with zeros at masked ones, whatever was there.

    Raises:
        ShapeError: they do not have ``dim`` dimensions.
    """
    if video.frame.shape[2] != dim:
        raise ShapeError(
            f"{module.name}: VideoFeatures.frame", expected=f"{dim} dimensions", got=list(video.frame.shape)
        )
    dtype = next(module.parameters()).dtype
    return video.frame.to(dtype).masked_fill(~video.frame_mask[..., None], 0.0)


def with_encoded(
    video: VideoFeatures, encoded: Float[Tensor, "video frame dim"], *, keep_frames: bool
) -> VideoFeatures:
    """The features with encoded frames; or, with ``keep_frames``, their mean as ``video`` beside the old frames."""
    if keep_frames:
        return replace(video, video=masked_mean(encoded, video.frame_mask))
    return replace(video, frame=encoded)
