"""Normalizations of a finished similarity matrix: dual softmax, inverted softmax, QB-Norm.

They score a pair with the help of other queries, which a search does not have; report them beside the plain
numbers, never instead. Dual and inverted softmax use the test queries themselves; QB-Norm uses a bank of other
queries (of the training set, in an honest run).

Scores of a normalized matrix can only be compared within a row (t2v) or a column (v2t).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import InputError, ShapeError

__all__ = [
    "Column",
    "Normalized",
    "OtherDirection",
    "dual_softmax",
    "dual_softmax_column",
    "inverted_softmax",
    "inverted_softmax_column",
    "log_sum_exp",
    "qb_norm",
    "qb_norm_column",
]

OtherDirection: TypeAlias = Literal["transpose", "own-axis"]
"""What v2t uses: the matrix normalized for t2v (TS2-Net's code), or one normalized along its own axis."""

ROW_BLOCK = 256  # rows of the matrix whose exponentials exist at once


@dataclass(frozen=True, kw_only=True, eq=False)
class Normalized:
    """A similarity matrix for each direction, both ``[text, video]``."""

    t2v: Float[Tensor, "text video"]
    v2t: Float[Tensor, "text video"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Column:
    """A normalization to be reported in a column of its own, beside the plain numbers and never instead.

    Attributes:
        label: what the column is called; it holds the normalization and its parameters.
        source: where the other queries come from that help to score a pair.
        normalize: similarity ``[text, video]`` -> what is ranked in each direction.
    """

    label: str
    source: str
    normalize: Callable[[Tensor], Normalized]


TEST_QUERIES = "the test queries themselves (transductive)"


def dual_softmax_column(*, temperature: float, v2t: OtherDirection = "own-axis") -> Column:
    """:func:`dual_softmax` as a column."""
    return Column(
        label=f"dual softmax, temperature {temperature:g}, v2t {v2t}",
        source=TEST_QUERIES,
        normalize=partial(dual_softmax, temperature=temperature, v2t=v2t),
    )


def inverted_softmax_column(*, temperature: float, v2t: OtherDirection = "own-axis") -> Column:
    """:func:`inverted_softmax` as a column."""
    return Column(
        label=f"inverted softmax, temperature {temperature:g}, v2t {v2t}",
        source=TEST_QUERIES,
        normalize=partial(inverted_softmax, temperature=temperature, v2t=v2t),
    )


def qb_norm_column(
    bank: Float[Tensor, "query video"],
    *,
    source: str,
    beta: float,
    k: int = 1,
    v2t_bank: Float[Tensor, "query text"] | None = None,
) -> Column:
    """:func:`qb_norm` as a column.

    Args:
        bank: similarity of the bank's texts with the test videos.
        source: where the bank comes from, such as ``"captions of the training split, 9,000 of them"``; reported.
        v2t_bank: similarity of a bank of videos with the test texts; without it v2t stays as it is.

    Raises:
        InputError: ``source`` is empty.
    """
    if not source.strip():
        raise InputError("say where the query bank comes from: its source is part of the result")

    def normalize(similarity: Tensor) -> Normalized:
        other = similarity if v2t_bank is None else qb_norm(similarity.T, v2t_bank, beta=beta, k=k).T
        return Normalized(t2v=qb_norm(similarity, bank, beta=beta, k=k), v2t=other)

    directions = "" if v2t_bank is not None else ", t2v only"
    return Column(
        label=f"QB-Norm, beta {beta:g}, k {k}, bank of {len(bank):,}{directions}",
        source=source,
        normalize=normalize,
    )


def dual_softmax(
    similarity: Float[Tensor, "text video"], *, temperature: float, v2t: OtherDirection = "own-axis"
) -> Normalized:
    """``S * softmax(temperature * S)``, over the texts of each video (CAMoE, Cheng et al. 2021).

    Args:
        similarity: unscaled, or scaled by exp(logit_scale): only its product with ``temperature`` matters for ranks.
        temperature: multiplies (as in the published code, 1 for scaled similarities; then about 100 for unscaled).
        v2t: ``own-axis`` takes the softmax over the videos of each text instead.
    """
    return _both(similarity, temperature=temperature, v2t=v2t, dual=True)


def inverted_softmax(
    similarity: Float[Tensor, "text video"], *, temperature: float, v2t: OtherDirection = "own-axis"
) -> Normalized:
    """``softmax(temperature * S)``, over the texts of each video (Smith et al. 2017).

    Args: as for :func:`dual_softmax`.
    """
    return _both(similarity, temperature=temperature, v2t=v2t, dual=False)


def qb_norm(
    similarity: Float[Tensor, "text video"],
    bank: Float[Tensor, "query video"],
    *,
    beta: float,
    k: int = 1,
) -> Float[Tensor, "text video"]:
    """Querybank normalization with the dynamic inverted softmax (Bogolin et al. 2022, section 3).

    A text whose best video is among the ``k`` best of some query of the bank has its row replaced by
    ``exp(beta s(t, v)) / sum over b of exp(beta s(b, v))``; the other rows stay. For v2t, give transposes.

    Args:
        similarity: of the test texts.
        bank: of the bank's queries with the same videos.
        beta: multiplies similarities (20 in the paper, for unscaled ones).
        k: how many videos of a query are activated.

    Raises:
        ShapeError: the bank is empty, or of another gallery.
        InputError: ``k`` is not between 1 and the number of videos.
    """
    videos = similarity.shape[1]
    if bank.shape[1] != videos or not len(bank):
        raise ShapeError("qb_norm: bank", expected=f"[at least 1, {videos}]", got=list(bank.shape))
    if not 1 <= k <= videos:
        raise InputError(f"k={k}: expected between 1 and the {videos} videos")
    active = torch.zeros(videos, dtype=torch.bool, device=similarity.device)
    active[bank.topk(k, dim=1).indices.flatten()] = True
    rows = active[similarity.argmax(dim=1)]
    result = similarity.to(torch.promote_types(similarity.dtype, torch.float32), copy=True)
    result[rows] = result[rows].mul_(beta).sub_(log_sum_exp(bank, scale=beta)).exp_()
    return result


def log_sum_exp(x: Float[Tensor, "row column"], *, scale: float) -> Float[Tensor, " column"]:
    """``log sum over rows of exp(scale * x)`` of every column, in one pass over blocks of rows."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    total = x.new_full((x.shape[1],), -torch.inf, dtype=dtype)
    for block in x.split(ROW_BLOCK):
        total = torch.logaddexp(total, block.to(dtype).mul(scale).logsumexp(dim=0))
    return total


def _both(similarity: Tensor, *, temperature: float, v2t: str, dual: bool) -> Normalized:
    if v2t not in ("transpose", "own-axis"):
        raise InputError(f"v2t={v2t!r}: expected 'transpose' or 'own-axis'")
    over_texts = _softmax(similarity, temperature=temperature, dual=dual)
    if v2t == "transpose":
        return Normalized(t2v=over_texts, v2t=over_texts)
    over_videos = _softmax(similarity.T, temperature=temperature, dual=dual).T
    return Normalized(t2v=over_texts, v2t=over_videos)


def _softmax(x: Tensor, *, temperature: float, dual: bool) -> Tensor:
    """Softmax over rows, times the matrix itself if ``dual``; beside the result only a block of rows exists."""
    total = log_sum_exp(x, scale=temperature)
    result = torch.empty(x.shape, dtype=total.dtype, device=x.device)
    for source, target in zip(x.split(ROW_BLOCK), result.split(ROW_BLOCK), strict=True):
        torch.mul(source.to(target.dtype), temperature, out=target).sub_(total).exp_()
        if dual:
            target.mul_(source)
    return result
