"""What encoders produce and matchers consume: features of texts and of videos, and their similarity.

Dimension names, here and everywhere: text t, video v, frame f, patch p, word w, head h, dim d, pair n.
Embeddings are raw (not normalised); masks are boolean, True = real.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .errors import MissingFeatureError, ShapeError

__all__ = ["Similarity", "TextFeatures", "VideoFeatures", "masked_mean", "unit"]

Similarity = Float[Tensor, "{len(text)} {len(video)}"]
"""Similarity matrix ``[text, video]``, unscaled, higher is better. The dimensions are expressions over the
arguments named ``text`` and ``video``, so that a transposed matrix fails the run-time check of the tests."""

Rows = slice | Tensor | Sequence[int]
F = TypeVar("F", bound="_Features")  # not typing.Self, which the run-time check of the tests cannot follow


def unit(x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
    """Scale vectors to length one along the last dimension; a zero vector stays zero."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / norm.where(norm > 0, 1.0)  # not clamped to something tiny: the gradient there would overflow


def masked_mean(
    frame: Float[Tensor, "video frame dim"], frame_mask: Bool[Tensor, "video frame"]
) -> Float[Tensor, "video dim"]:
    """Unit-normalised mean of the unit-normalised real frames (CLIP4Clip's meanP, spec: section 1).

    A video without any real frame gives the zero vector.
    """
    weight = frame_mask.to(frame.dtype)[..., None]
    total = (unit(frame) * weight).sum(dim=1)
    return unit(total / weight.sum(dim=1).clamp_min(1.0))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class _Features:
    """Tensors that share their first dimension: indexing, moving and joining act on all of them."""

    def __getitem__(self: F, rows: Rows) -> F:
        """A subset by slice, index tensor, boolean mask or list of row numbers."""
        if isinstance(rows, int):
            raise TypeError("index features with a slice or a list, so that the result keeps its dimensions")
        index = rows if isinstance(rows, slice | Tensor) else torch.as_tensor(list(rows), dtype=torch.long)
        return self._map(lambda x: x[index.to(x.device) if isinstance(index, Tensor) else index])

    def to(self: F, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> F:
        """The same features on ``device``; floating-point tensors also as ``dtype``."""
        return self._map(lambda x: x.to(device=device, dtype=dtype if x.is_floating_point() else None))

    @classmethod
    def cat(cls: type[F], parts: Sequence[F]) -> F:
        """Join along the first dimension, padding frames or words to the longest part.

        Raises:
            ShapeError: no parts were given.
            MissingFeatureError: only some parts hold an optional feature.
        """
        if not parts:
            raise ShapeError(f"{cls.__name__}.cat", expected="at least one part", got=0)
        joined: dict[str, Tensor | None] = {}
        for field in fields(cls):
            values = [getattr(part, field.name) for part in parts]
            present = [value for value in values if value is not None]
            if present and len(present) != len(values):
                raise MissingFeatureError(f"only some of the parts have {field.name!r}")
            joined[field.name] = torch.cat(_pad(present)) if present else None
        return cls(**joined)  # type: ignore[arg-type]

    def _map(self: F, function) -> F:  # type: ignore[no-untyped-def]
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: function(value) for name, value in values.items() if value is not None})


def _pad(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Zero-pad dimension 1 to the longest (False for masks)."""
    lengths = [x.shape[1] for x in tensors]
    one_vector_each = tensors[0].ndim == 2 and tensors[0].dtype != torch.bool
    if one_vector_each or len(set(lengths)) == 1:
        return list(tensors)
    longest = max(lengths)
    return [
        torch.cat([x, x.new_zeros(x.shape[0], longest - x.shape[1], *x.shape[2:])], dim=1) for x in tensors
    ]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TextFeatures(_Features):
    """Embeddings of texts.

    Attributes:
        sentence: raw text embedding, ``[text, dim]``.
        word: raw embedding of every token, ``[text, word, dim]``; only when asked for.
        word_mask: True at real tokens, ``[text, word]``; present exactly when ``word`` is.
    """

    sentence: Float[Tensor, "text dim"]
    word: Float[Tensor, "text word dim"] | None = None
    word_mask: Bool[Tensor, "text word"] | None = None

    def __post_init__(self) -> None:
        if self.sentence.ndim != 2:
            raise ShapeError("TextFeatures.sentence", expected="[text, dim]", got=list(self.sentence.shape))
        if (self.word is None) != (self.word_mask is None):
            raise ShapeError("TextFeatures", expected="word and word_mask together", got="only one of them")

    def __len__(self) -> int:
        return self.sentence.shape[0]

    def __repr__(self) -> str:
        words = "" if self.word is None else f", {self.word.shape[1]} words"
        return f"<TextFeatures {len(self)} texts x {self.sentence.shape[1]}{words}>"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class VideoFeatures(_Features):
    """Embeddings of videos (or moments).

    Attributes:
        frame: raw frame embeddings, ``[video, frame, dim]``; padded frames hold anything.
        frame_mask: True at real frames, ``[video, frame]``.
        video: raw video embedding, ``[video, dim]``; only where a temporal module makes one.
        patch: patch tokens, ``[video, frame, patch, width]``; only when asked for.
    """

    frame: Float[Tensor, "video frame dim"]
    frame_mask: Bool[Tensor, "video frame"]
    video: Float[Tensor, "video dim"] | None = None
    patch: Float[Tensor, "video frame patch width"] | None = None

    def __post_init__(self) -> None:
        if self.frame.ndim != 3:
            raise ShapeError(
                "VideoFeatures.frame", expected="[video, frame, dim]", got=list(self.frame.shape)
            )
        if self.frame_mask.shape != self.frame.shape[:2] or self.frame_mask.dtype != torch.bool:
            raise ShapeError(
                "VideoFeatures.frame_mask",
                expected=f"bool {list(self.frame.shape[:2])}",
                got=f"{self.frame_mask.dtype} {list(self.frame_mask.shape)}",
            )

    def __len__(self) -> int:
        return self.frame.shape[0]

    def __repr__(self) -> str:
        videos, frames, dim = self.frame.shape
        return f"<VideoFeatures {videos} videos x {frames} frames x {dim}>"
