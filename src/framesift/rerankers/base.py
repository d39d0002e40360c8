"""What a reranker is: a score for single pairs of a text and a video, too dear for a whole gallery."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ..errors import ConfigError
from ..explanation import Explained, Explanation
from ..features import TextFeatures, VideoFeatures

__all__ = ["Fusion", "Reranker"]

R = TypeVar("R", bound="Reranker")


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """How the score of a reranked pair is made: ``weight * reranker + coarse_scale * matcher``.

    Attributes:
        weight: factor of the reranker's score.
        coarse_scale: factor of the matcher's unscaled similarity: 0 for the reranker alone, 1 for the plain cosine,
            exp(logit_scale) for the logits that the matcher was trained with.
    """

    weight: float = 1.0
    coarse_scale: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"fusion.{name}={value}: expected a finite number that is not negative")

    def __call__(
        self, again: Float[Tensor, "*pairs"], coarse: Float[Tensor, "*pairs"]
    ) -> Float[Tensor, "*pairs"]:
        """The scores of both stages -> the score that orders the reranked pairs."""
        fused = self.weight * again
        return fused + self.coarse_scale * coarse if self.coarse_scale else fused


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

    explains: ClassVar[frozenset[Explained]] = frozenset()
    """Fields that :meth:`explain` fills, besides its score."""

    reads_patches: ClassVar[bool] = False
    """Whether it reads ``patch`` of the videos, which no index stores."""

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

    def explain(self, text: TextFeatures, video: VideoFeatures) -> Explanation:
        """What made the score of one text and one video."""
        pair = torch.zeros(1, 2, dtype=torch.long, device=text.sentence.device)
        return Explanation(scores={"reranker": self(text, video, pair).item()})

    @property
    def reads_words(self) -> bool:
        """Whether it reads ``word`` of the model's own text features."""
        return False

    @property
    def image_encoder(self) -> str:
        """The frozen encoder whose patch tokens it reads, for :func:`.hub.load_image_encoder`; empty: the model's own
        encoder."""
        return ""

    @property
    def fusion(self) -> Fusion:
        """How its score is combined with the matcher's, unless a ranking says otherwise; default: it counts alone."""
        return Fusion()

    def text_features(self, texts: Sequence[str], text: TextFeatures) -> TextFeatures:
        """What :meth:`forward` reads of ``texts``, given the model's own features of them; default: these."""
        return text

    def save_files(self, directory: Path) -> None:
        """Write what weights and configuration do not hold, such as a vocabulary; default: nothing."""

    def load_files(self, directory: Path) -> None:
        """Read what :meth:`save_files` wrote."""
