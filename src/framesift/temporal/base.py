"""What a temporal module is: it lets the frames of a video inform one another, before the query is known."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, final

from torch import nn

from ..features import VideoFeatures

__all__ = ["Identity", "IdentityConfig", "Temporal"]

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

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    @classmethod
    def from_config(cls: type[T], config: Any) -> T:
        """The module that ``config``, a ``Config``, describes."""
        return cls(config)

    @abstractmethod
    def forward(self, video: VideoFeatures) -> VideoFeatures:
        """Features of the same videos and frames; masks stay as they are."""


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
