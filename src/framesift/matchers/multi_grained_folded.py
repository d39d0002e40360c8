"""X-CLIP's scores of all pairs without the tensor ``[text, word, video, frame]``: exact, for inference.

Attention over scores ``x`` with weights ``p = softmax(x / temperature)`` and a learned matrix ``M`` is
``p' M x = sum_i p_i (M x)_i``, so ``M`` acts on scores before any weight is known. Pairs go in blocks that stay in
cache: one product of all parts (frames, words) gives a block's grid of scores, one exponential of the grid serves both
of its softmaxes, over words and over frames, and the weights are never divided by their sum, only the results.

The two sides are alike. The one that is folded is multiplied with the matrices between the sides once, and keeps
``2 (parts + 1)`` vectors a row; blocks take many of its rows and a few of the other's, which lie innermost in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ..features import TextFeatures, VideoFeatures
from .multi_grained import AOSM_TEMPERATURE, Grains, MultiGrained

__all__ = ["Folded"]

BLOCK_ELEMENTS = 1 << 18
"""Scores in a block's grid: 1 MiB in float32, which stays in cache."""
OTHER_ROWS = 32
"""Rows of the other side in a block: two or more vector registers, and enough columns for matrix products."""
LEAST_SUM = 1e-30
"""A softmax whose exponentials, taken from a maximum of the whole grid, sum to less has lost digits to underflow."""


class _Matrices(NamedTuple):
    """A side's matrices for its scores with the other's whole, and for the two steps of part-part scores."""

    whole: Float[Tensor, "part part"]
    first: Float[Tensor, "part part"]
    second: Float[Tensor, "part part"]


class Folded:
    """Texts or videos folded for the other side.

    Args:
        own: the side that is folded.
        own_matrices, other_matrices: of the two sides.
        between_wholes, between_parts: from the folded side to the other.
    """

    def __init__(
        self,
        own: Grains,
        own_matrices: _Matrices,
        other_matrices: _Matrices,
        *,
        between_wholes: Float[Tensor, "dim dim"],
        between_parts: Float[Tensor, "dim dim"],
    ) -> None:
        self._own, self._other = own_matrices, other_matrices
        # [part + 1, row, dim]: what the other side's parts, and its whole, are multiplied with; our whole is last.
        # Scores are divided by the temperature from here on.
        parts, whole = own.part.transpose(0, 1), own.whole[None]
        self._for_parts = torch.cat([parts @ between_parts, whole]) / AOSM_TEMPERATURE
        self._for_whole = torch.cat([parts, whole @ between_wholes]) / AOSM_TEMPERATURE
        self._mask = _or_none(own.mask.T)

    @classmethod
    @torch.no_grad()
    def videos(cls, head: MultiGrained, video: VideoFeatures) -> Folded:
        """Videos for many texts; the head's weights are taken as they are now."""
        words, frames = _matrices(head)
        return cls(
            head.video_grains(video),
            frames,
            words,
            between_wholes=head.global_mat_weight.T,
            between_parts=head.local_mat_weight.T,
        )

    @classmethod
    @torch.no_grad()
    def texts(cls, head: MultiGrained, text: TextFeatures) -> Folded:
        """Texts for a few hundred videos."""
        words, frames = _matrices(head)
        return cls(
            head.text_grains(text),
            words,
            frames,
            between_wholes=head.global_mat_weight,
            between_parts=head.local_mat_weight,
        )

    def score(self, other: Grains) -> Float[Tensor, "own other"]:
        """Similarity of the folded side with the other."""
        parts, rows = self._for_parts.shape[0] - 1, self._for_parts.shape[1]
        similarity = self._for_parts.new_empty(rows, len(other.whole))
        columns = max(OTHER_ROWS, BLOCK_ELEMENTS // max(1, parts * other.part.shape[1] * rows))
        for chosen, length in _by_length(other.mask, columns):
            whole = other.whole[chosen].T
            part = other.part[chosen, :length].transpose(0, 1).flatten(0, 1).T  # [dim, part * row]
            mask = _or_none(other.mask[chosen, :length].T)
            for block in _slices(rows, max(1, BLOCK_ELEMENTS // (parts * length * len(chosen)))):
                similarity[block, chosen] = self._block(block, whole, part, mask)
        return similarity

    def _block(
        self,
        rows: slice,
        whole: Float[Tensor, "dim other"],
        part: Float[Tensor, "dim other_parts"],
        mask: Bool[Tensor, "part other"] | None,
    ) -> Float[Tensor, "own other"]:
        """Our ``rows`` with rows of the other side; a grid is ``[our part, our row, their part, their row]``."""
        own, others = rows.stop - rows.start, whole.shape[1]
        length = part.shape[1] // others
        own_mask = None if self._mask is None else self._mask[:, rows, None]
        mask = None if mask is None else mask[:, None]
        theirs = _Matrices(*(matrix[:length, :length] for matrix in self._other))
        with_parts = (self._for_parts[:, rows].flatten(0, 1) @ part).view(-1, own, length, others)
        with_whole = (self._for_whole[:, rows].flatten(0, 1) @ whole).view(-1, own, others)
        grid, whole_part = with_parts[:-1], with_parts[-1].movedim(1, 0)
        part_whole, whole_whole = with_whole[:-1], with_whole[-1]
        by_part, by_their_part = _first_step(grid, self._own.first, theirs.first, own_mask, mask)
        part_part = _attend(by_part, self._own.second, own_mask)
        part_part += _attend(by_their_part, theirs.second, mask)
        total = whole_whole + part_part / 2
        total += _attend(part_whole, self._own.whole, own_mask) + _attend(whole_part, theirs.whole, mask)
        return total * (AOSM_TEMPERATURE / 4)


def _first_step(
    grid: Float[Tensor, "part own their_part other"],
    own_matrix: Float[Tensor, "part part"],
    their_matrix: Float[Tensor, "their_part their_part"],
    own_mask: Bool[Tensor, "part own 1"] | None,
    mask: Bool[Tensor, "their_part 1 other"] | None,
) -> tuple[Float[Tensor, "part own other"], Float[Tensor, "their_part own other"]]:
    """Attention over the grid's scores: over their parts for each of ours, and over ours for each of theirs."""
    top = grid.amax(dim=0).amax(dim=1)[None, :, None]  # one step would take forty times as long
    weight = (grid - top).exp_()
    over_own = weight if own_mask is None else weight * own_mask[..., None]
    over_theirs = weight if mask is None else weight * mask.movedim(0, 1)
    own_sum, their_sum = over_own.sum(dim=0), over_theirs.sum(dim=2)
    if bool(torch.minimum(own_sum.amin(), their_sum.amin()) < LEAST_SUM):
        by_part = _attend(grid.movedim(2, 0), their_matrix, None if mask is None else mask[:, None])
        by_their_part = _attend(grid, own_matrix, None if own_mask is None else own_mask[..., None])
        return by_part, by_their_part.movedim(1, 0)
    pages = grid.flatten(0, 1)
    projected = torch.bmm(their_matrix.expand(len(pages), -1, -1), pages).view_as(grid)
    by_part = projected.mul_(over_theirs).sum(dim=2).div_(their_sum)
    projected = (own_matrix @ grid.flatten(1)).view_as(grid)
    by_their_part = projected.mul_(over_own).sum(dim=0).div_(own_sum)
    return by_part, by_their_part.movedim(1, 0)


def _attend(
    scores: Float[Tensor, "part ..."],
    matrix: Float[Tensor, "part part"],
    mask: Bool[Tensor, "part ..."] | None,
) -> Float[Tensor, " ..."]:
    """Attention over scores along the first dimension, which are divided by the temperature already."""
    logits = scores if mask is None else scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = logits.softmax(dim=0)
    if mask is not None:
        weights = weights.masked_fill_(~mask, 0.0)  # also where everything is masked
    return (matrix @ scores.flatten(1)).view_as(weights).mul_(weights).sum(dim=0)


def _matrices(head: MultiGrained) -> tuple[_Matrices, _Matrices]:
    """Copies of those over words, and of those over frames."""
    words = (head.word_logit_weight, head.word_mat_weight, head.word_mat_weight2)
    frames = (head.frame_logit_weight, head.frame_mat_weight, head.frame_mat_weight2)
    return _Matrices(*(x.detach().clone() for x in words)), _Matrices(*(x.detach().clone() for x in frames))


def _or_none(mask: Bool[Tensor, "part row"]) -> Bool[Tensor, "part row"] | None:
    return None if bool(mask.all()) else mask


def _by_length(mask: Bool[Tensor, "row part"], size: int) -> Iterator[tuple[Int64[Tensor, " row"], int]]:
    """Rows of nearly the same length together, ``size`` at a time, and what they need of the parts (at least 1)."""
    position = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    lengths, order = (mask * position).amax(dim=1).clamp_(min=1).sort(stable=True)
    for rows in _slices(len(order), size):
        yield order[rows], int(lengths[rows.stop - 1])


def _slices(length: int, size: int) -> Iterator[slice]:
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))
