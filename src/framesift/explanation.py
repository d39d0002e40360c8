"""What an explanation of a score consists of: the one type that matchers, temporal modules and rerankers fill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Literal, TypeAlias

from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["Explained", "Explanation"]

Explained: TypeAlias = Literal["frame_weight", "contrasts", "word_frame", "patch_weight", "patch_selected"]
"""A field of :class:`Explanation` that not every part of a system can fill."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Explanation:
    """What made the score of one text and one video; None where no part of the system can tell.

    Patch tokens are those of the encoder that the part reads: the class token first, then the patches row by row.

    Attributes:
        scores: ``similarity`` by the matcher, unscaled; with a reranker also its score, ``reranker``, and ``fused``.
        frame_weight: what each frame contributes to the similarity, ``[frame]``; sums to 1, 0 at masked frames.
        contrasts: X-CLIP's four scores, whose mean is the similarity: ``video_sentence``, ``video_word``,
            ``sentence_frame``, ``frame_word``.
        words: the text's tokens, special ones included.
        word_frame: similarity of every word and frame, ``[word, frame]``; 0 at masked frames (X-CLIP).
        patch_weight: how much each patch token of a frame is attended to, ``[frame, patch]``; sums to 1 in a real
            frame, 0 in masked ones (CrossTVR's queries in the light of the text).
        patch_selected: the patch tokens that are kept, ``[frame, patch]`` (TS2-Net, CrossTVR); none in masked frames.
    """

    scores: Mapping[str, float] = field(default_factory=dict)
    frame_weight: Float[Tensor, " frame"] | None = None
    contrasts: Mapping[str, float] | None = None
    words: tuple[str, ...] | None = None
    word_frame: Float[Tensor, "word frame"] | None = None
    patch_weight: Float[Tensor, "frame patch"] | None = None
    patch_selected: Bool[Tensor, "frame patch"] | None = None

    def __or__(self, other: Explanation) -> Explanation:
        """Both together; where both explain the same, the other counts."""
        given = {name: value for name in _names(other) if (value := getattr(other, name)) is not None}
        return replace(self, **{**given, "scores": {**self.scores, **other.scores}})

    def to_cpu(self) -> Explanation:
        """The same with tensors on the CPU, floating-point ones as float32."""
        tensors = {name: x for name in _names(self) if isinstance(x := getattr(self, name), Tensor)}
        return replace(
            self,
            **{name: x.cpu().float() if x.is_floating_point() else x.cpu() for name, x in tensors.items()},
        )


def _names(explanation: Explanation) -> list[str]:
    return [entry.name for entry in fields(explanation)]
