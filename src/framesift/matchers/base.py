"""What a matcher is: the similarity of every text with every video, from their features alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..errors import ShapeError
from ..explanation import Explained, Explanation
from ..features import Similarity, TextFeatures, VideoFeatures
from ..similarity import QueryScorer, Scorer, similarity_matrix

__all__ = ["Matcher", "masked_softmax", "real_frames", "working_dtype"]

M = TypeVar("M", bound="Matcher")  # not typing.Self, which the run-time check of the tests cannot follow


class Matcher(nn.Module, ABC):
    """(texts, videos) -> similarity ``[text, video]``, unscaled, higher is better.

    The law: a score depends on its own text and its own video only. Then scoring a few candidates gives those
    columns of the full matrix, and what was evaluated is what is searched.

    ``forward`` is the definition, and differentiable. ``scorer`` and ``query_scorer`` give the same numbers for
    inference, having done once what does not depend on the other side; a matcher overrides them when it has
    something better than ``forward``. The contract suite holds the three together for every registered
    matcher.

    Args:
        config: an instance of ``Config``.
    """

    name: ClassVar[str]
    """Key in the registry."""

    Config: ClassVar[type[Any]]
    """Frozen dataclass that configures it."""

    config: Any
    """The ``Config`` that it was made from."""

    found_by: ClassVar[Literal["mean", "scene"]] = "scene"
    """What a large gallery proposes candidates by: the best of a video's scenes and pairs of scenes, since what attends
    to some frames scores high by these; or the mean of its frames, where the score is that mean's cosine."""

    explains: ClassVar[frozenset[Explained]] = frozenset({"frame_weight"})
    """Fields that :meth:`explain` fills, besides the scores."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    @classmethod
    def from_config(cls: type[M], config: Any) -> M:
        """The matcher that ``config``, a ``Config``, describes."""
        return cls(config)

    @property
    def num_words(self) -> int | None:
        """Words to which texts are cut and padded when they are encoded for it; None where it compares sentences."""
        return None

    @abstractmethod
    def forward(self, text: TextFeatures, video: VideoFeatures) -> Similarity:
        """Similarity of every text with every video; a video without a real frame has similarity 0.

        Raises:
            ShapeError: the dimensions do not fit.
            MissingFeatureError: the matcher needs a feature that was not computed.
        """

    @abstractmethod
    def attention(self, text: TextFeatures, video: VideoFeatures) -> Float[Tensor, "text video frame"]:
        """What each frame contributes to a pair: at least 0, sums to 1, and 0 at masked frames."""

    def explain(self, text: TextFeatures, video: VideoFeatures) -> Explanation:
        """What made the similarity of one text and one video."""
        return Explanation(
            scores={"similarity": self(text, video).item()}, frame_weight=self.attention(text, video)[0, 0]
        )

    def scorer(self, video: VideoFeatures) -> Scorer:
        """Fold the videos once, then score any texts against them; for inference.

        For many texts: evaluation, galleries in memory.
        """
        return lambda text: similarity_matrix(self, text, video, fast=False)

    def query_scorer(self, text: TextFeatures) -> QueryScorer:
        """Fold the texts once, then score any videos against them; for inference.

        For few texts and a few hundred candidates, straight from stored frames.
        """
        return lambda video: similarity_matrix(self, text, video, fast=False)

    def _check(self, text: TextFeatures | None, video: VideoFeatures | None, *, dim: int) -> None:
        """Raise ShapeError unless the features given have ``dim`` dimensions."""
        found = {
            "TextFeatures.sentence": None if text is None else text.sentence.shape,
            "VideoFeatures.frame": None if video is None else video.frame.shape,
        }
        for what, shape in found.items():
            if shape is not None and shape[-1] != dim:
                raise ShapeError(f"{self.name}: {what}", expected=f"{dim} dimensions", got=list(shape))


def real_frames(video: VideoFeatures, dtype: torch.dtype) -> Float[Tensor, "video frame dim"]:
    """Raw frame embeddings with zeros at masked frames, whatever was there (a NaN would survive a weight of 0)."""
    return video.frame.to(dtype).masked_fill(~video.frame_mask[..., None], 0.0)


def working_dtype(x: Tensor) -> torch.dtype:
    """Arithmetic of matchers without weights: that of the features, but at least float32."""
    return torch.promote_types(x.dtype, torch.float32)


def masked_softmax(
    logits: Float[Tensor, "*batch frame"], mask: Bool[Tensor, "*#batch frame"]
) -> Float[Tensor, "*batch frame"]:
    """Softmax over the real frames; exactly 0 at masked ones, and all zeros where every frame is masked.

    The fill is finite because a row of -inf would be NaN, in the gradient too.
    """
    weights = logits.masked_fill(~mask, torch.finfo(logits.dtype).min).softmax(dim=-1)
    return weights.masked_fill(~mask, 0.0)
