"""Scores of single terms, and how several of them become one.

Every term is scored by itself, the way that fits its kind, and what it gives lies on a scale of its own: one sentence
is a little like everything, another like nothing. So scores are standardised before they are added: how many standard
deviations a row stands out from what this gallery gives to this very term, as told by a fixed sample of its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..errors import InputError, MissingFeatureError, ShapeError
from ..features import TextFeatures, VideoFeatures, unit
from ..model import RetrievalModel
from ..ranking import Gallery
from .query import ClipTerm, ImageTerm, Term, TextTerm

__all__ = ["Background", "TermKind", "background", "combine", "kind_of", "score_term", "standardised"]

TermKind: TypeAlias = Literal["text", "image", "clip", "moment"]

SAMPLE = 256  # rows: the mean of a term is then known to a sixteenth of a standard deviation
STANDS_OUT = 0.5  # standard deviations; docs/search-quality.md has what others give
ROW_BLOCK = 2048  # rows scored at once: 48 MiB at 12 frames x 512 in fp32


@dataclass(frozen=True, kw_only=True, eq=False)
class Background:
    """What a gallery is like: a fixed sample of its rows.

    Attributes:
        rows: of the gallery, ascending, ``[sample]``.
        features: of those rows, on the CPU.
        total: rows of the whole gallery.
    """

    rows: Int64[Tensor, " sample"]
    features: VideoFeatures
    total: int

    def __len__(self) -> int:
        return len(self.rows)


def background(gallery: Gallery, *, size: int = SAMPLE) -> Background:
    """At most ``size`` rows of a gallery, the same ones every time; keep it as long as the gallery is the same object.

    Raises:
        InputError: ``size`` is less than 1.
    """
    if size < 1:
        raise InputError(f"the sample has {size} rows; it must have at least 1")
    total = len(gallery)
    drawn = np.random.default_rng(0).choice(total, min(size, total), replace=False)
    rows = torch.from_numpy(np.sort(drawn).astype(np.int64))
    return Background(rows=rows, features=gallery.features(rows), total=total)


def kind_of(term: Term) -> TermKind:
    """What decides how a term is scored."""
    if isinstance(term, TextTerm):
        return "text"
    if isinstance(term, ImageTerm):
        return "image"
    return "clip" if isinstance(term, ClipTerm) else "moment"


@torch.inference_mode()
def score_term(
    model: RetrievalModel, features: TextFeatures, kind: TermKind, video: VideoFeatures
) -> NDArray[np.float64]:
    """How well a term fits rows of features, ``[row]``, higher is better.

    Words are compared by the model's matcher. A picture is compared with pictures: a matcher has learned to find what a
    *text* speaks of, and one that compares words finds none here; so every frame of the term takes the row's frame that
    is most like it, and the cosines are averaged.

    Args:
        features: one term, as :func:`.examples.encode_term` gives it.
        video: rows of a gallery, as :meth:`.Gallery.features` gives them.

    Raises:
        ShapeError: there is not one term, or the dimensions do not fit.
        MissingFeatureError: the matcher needs what was not computed.
    """
    if len(features) != 1:
        raise ShapeError("features of a term", expected="one row", got=len(features))
    device, dtype = features.sentence.device, features.sentence.dtype
    parts: list[Tensor] = [torch.zeros(0)]
    score = model.matcher.query_scorer(features) if kind == "text" else None
    for start in range(0, len(video), ROW_BLOCK):
        block = video[start : start + ROW_BLOCK].to(device, dtype)
        found = _most_alike(features, block) if score is None else score(block)[0]
        parts.append(found.float().cpu())
    return torch.cat(parts).double().numpy()


def _most_alike(term: TextFeatures, video: VideoFeatures) -> Float[Tensor, " row"]:
    """Mean over the term's frames of the largest cosine with a frame of the row; 0 for a row without frames."""
    if term.word is None or term.word_mask is None:
        raise MissingFeatureError("a picture's frames are its words here: encode it with encode_term")
    own = unit(term.word[0][term.word_mask[0]])
    frame = unit(video.frame.masked_fill(~video.frame_mask[..., None], 0.0))
    if own.shape[-1] != frame.shape[-1]:
        raise ShapeError("frames of a term", expected=f"{frame.shape[-1]} dimensions", got=list(own.shape))
    cosine = torch.einsum("wd,vfd->vwf", own, frame)
    best = cosine.masked_fill(~video.frame_mask[:, None], -torch.inf).amax(dim=2).mean(dim=1)
    return best.masked_fill(~video.frame_mask.any(dim=1), 0.0)


def standardised(scores: ArrayLike, background_scores: ArrayLike) -> NDArray[np.float64]:
    """Standard deviations by which scores lie above what the background gets, in the shape of ``scores``.

    Args:
        scores: ``[..., row]``.
        background_scores: of the same terms, ``[..., sample]``. Where they do not differ, nothing stands out: zeros.
    """
    values, sample = np.asarray(scores, np.float64), np.asarray(background_scores, np.float64)
    if not sample.shape[-1]:
        return np.zeros_like(values)
    spread = sample.std(axis=-1, keepdims=True)
    apart = values - sample.mean(axis=-1, keepdims=True)
    return np.divide(apart, spread, out=np.zeros_like(apart), where=spread > 0)


def combine(weights: Sequence[float], scores: ArrayLike, background_scores: ArrayLike) -> NDArray[np.float64]:
    """One score a row for terms with weights, ``[row]``, in standard deviations of a single term.

    Positive terms: the weighted mean of their standardised scores. Negative terms exclude: a row loses their weight
    times by how much it stands out for them, beyond half a standard deviation, and nothing otherwise, so that they
    hardly reorder what they have nothing to do with.

    Args:
        weights: of the terms; negative: what shall not be there.
        scores: of :func:`score_term`, ``[term, row]``.
        background_scores: of the same terms on the background, ``[term, sample]``.

    Raises:
        InputError: no weight is positive, or one is 0 or not finite.
        ShapeError: there are not as many rows of scores as weights.
    """
    weight = np.asarray(weights, np.float64)
    if not np.isfinite(weight).all() or (weight == 0).any() or not (weight > 0).any():
        raise InputError(
            f"weights {list(weights)}: expected finite ones that are not 0, and one that is positive"
        )
    given = [np.shape(scores)[:1], np.shape(background_scores)[:1]]
    if given != [weight.shape] * 2:
        raise ShapeError("scores of terms", expected=f"{len(weight)} rows each", got=given)
    found = standardised(scores, background_scores)
    wanted = weight > 0
    total = weight[wanted] @ found[wanted] / weight[wanted].sum()
    return total + weight[~wanted] @ np.maximum(found[~wanted] - STANDS_OUT, 0.0)
