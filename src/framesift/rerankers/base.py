"""What a reranker is: a score for single pairs of a text and a video, too dear for a whole gallery."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeVar

from jaxtyping import Float, Int64
from torch import Tensor, nn

from ..features import TextFeatures, VideoFeatures

__all__ = ["Reranker"]

R = TypeVar("R", bound="Reranker")


class Reranker(nn.Module, ABC):
    """Pairs of a text and a video -> a score each, higher is better; a score depends on its own pair only.

    Its scores need not be comparable with a matcher's: the ranking puts the reranked rows first.

    Args:
        config: an instance of ``Config``, where the class has one.
    """

    name: ClassVar[str]
    """Key in the registry."""

    Config: ClassVar[type[Any]]
    """Frozen dataclass that configures it."""

    config: Any
    """The ``Config`` that it was made from."""

    def __init__(self, config: Any = None) -> None:
        super().__init__()
        self.config = config

    @classmethod
    def from_config(cls: type[R], config: Any) -> R:
        """The reranker that ``config``, a ``Config``, describes."""
        return cls(config)

    @abstractmethod
    def forward(
        self, text: TextFeatures, video: VideoFeatures, pairs: Int64[Tensor, "pair 2"]
    ) -> Float[Tensor, " pair"]:
        """Score the pairs ``(row of text, row of video)``."""
