"""X-Pool's scores without its pooled vectors: exact, for inference.

Notation, for one head: frames after LN1 ``l_f``; keys and values ``k_f``, ``v_f``; attention weights ``a_f``; LN2
and LN3 with gains ``g2, g3`` and biases ``b2, b3``; linear layer ``W, b``; unit text ``u``; width D; ``C(.)`` subtracts
the mean over D. The weights sum to one, so what attention returns is a weighted sum of ``y_f = Wo v_f + bo``. With

    Y_f = C(y_f)     P_f = C((W + I)(g2 Y_f))     c = C((W + I) b2 + b)     Q_f = g3 P_f     q0 = g3 c

and the Gram matrices ``G = Y Y'/D``, ``H = P P'/D``, ``R = Q Q'`` of each video, a pair has

    1/s^2 = a'G a + eps                                variance that LN2 divides by
    1/z^2 = s^2 a'H a + 2 s a.(P c)/D + c.c/D + eps    variance that LN3 divides by
    u . pooled = z (s a.(Q u) + u.q0) + u.b3
    |pooled|^2 = z^2 (s^2 a'R a + 2 s a.(Q q0) + q0.q0) + 2 z (s a.(Q b3) + q0.b3) + b3.b3

With N heads there is one ``y`` a head and frame (``Wo`` split by the head's columns), ``a`` has N F entries and the
Gram matrices are N F x N F.

Projections move from the frames to the texts, of which there are fewer: ``Q_f . u`` is ``v_f`` times a folded text,
and with one head ``k_f`` and ``v_f`` themselves are ``l_f`` times folded texts. A key's bias adds the same to the
logit of every frame, which the softmax ignores.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import linear

from ..features import TextFeatures, VideoFeatures, unit
from .base import masked_softmax, real_frames
from .xpool import XPool

__all__ = ["FoldedGallery", "FoldedQueries"]

TEXT_BLOCK = 512
BLOCK_ELEMENTS = 1 << 20
"""Elements of the largest temporary of a block of pairs: 4 MiB in float32, so that a block stays in cache."""
FOLD_BLOCK = 64
"""Videos whose keys, values and Gram matrices are made at once."""
CANDIDATE_BLOCK = 256
"""Videos that a folded query scores at once."""


class _Texts(NamedTuple):
    """Texts folded for a gallery; the last three are the terms of a pair that do not depend on the video."""

    query: Float[Tensor, "head width text"]
    target: Float[Tensor, "head width text"]
    y0: Float[Tensor, " text"]
    q0: Float[Tensor, " text"]
    b3: Float[Tensor, " text"]


class FoldedGallery:
    """Videos folded for many texts: keys, values and Gram matrices.

    A pair costs ``2 F D + 3 (N F)^2`` multiply-adds. Beside its frames (with several heads: its keys and values) a
    video takes ``3 N F (N F + 1)`` numbers.

    Args:
        head: its weights are taken as they are now.
        video: features of the gallery, at least one video with at least one frame, real or not.
    """

    @torch.no_grad()
    def __init__(self, head: XPool, video: VideoFeatures) -> None:
        self._head = head = _precise(head)
        attn, out = head.cross_attn, head.cross_attn.out_proj
        twice = head.linear_proj.weight + torch.eye(head.config.dim).to(out.weight)  # W + I
        self._out = _centred(out.weight)
        self._refine = _centred(twice * head.layer_norm2.weight)  # P = refine @ Y
        self._y0 = self._out @ attn.v_proj.bias + _centred(out.bias)
        self._c = _centred(twice @ head.layer_norm2.bias + head.linear_proj.bias)
        self._q0 = head.layer_norm3.weight * self._c
        # what is kept as a frame's value -> Y, P
        self._to_y = self._out @ attn.v_proj.weight if attn.num_heads == 1 else self._out
        self._to_p = self._refine @ self._to_y
        parts = [self._fold(video[rows]) for rows in _slices(len(video), FOLD_BLOCK)]
        self._keys = torch.cat([keys for keys, _, _ in parts], dim=1)
        self._values = self._keys if attn.num_heads == 1 else torch.cat([values for _, values, _ in parts], 1)
        self._forms = torch.cat([forms for _, _, forms in parts])
        self._mask = video.frame_mask
        self._all_real = bool(video.frame_mask.all())

    def _fold(self, video: VideoFeatures) -> tuple[Tensor, Tensor, Tensor]:
        """Keys and values ``[head, video, frame, width]``; forms ``[video, row, head * frame]``.

        The rows of the forms are G, H, R and the three vectors that a pair's weights are multiplied with.
        """
        attn, norm3, dim = self._head.cross_attn, self._head.layer_norm3, self._head.config.dim
        frame = self._head.layer_norm1(real_frames(video, self._out.dtype))
        if attn.num_heads == 1:
            keys = values = frame[None]
        else:
            keys = _split(linear(frame, attn.k_proj.weight), attn.num_heads).movedim(2, 0)
            values = _split(linear(frame, attn.v_proj.weight), attn.num_heads).movedim(2, 0)
        y = self._project(values, self._to_y) + self._y0 / attn.num_heads
        p = self._project(values, self._to_p) + self._refine @ self._y0 / attn.num_heads
        q = p * norm3.weight
        vectors = torch.stack([p @ (self._c / dim), q @ self._q0, q @ norm3.bias], dim=1)
        return keys, values, torch.cat([y @ y.mT / dim, p @ p.mT / dim, q @ q.mT, vectors], dim=1)

    def _project(
        self, values: Float[Tensor, "head video frame width"], weight: Float[Tensor, "dim dim"]
    ) -> Float[Tensor, "video head_frame dim"]:
        """Each head's values by its own columns of ``weight``."""
        per_head = _split(weight, len(values)).permute(1, 2, 0)  # [head, width, dim]
        return (values.flatten(1, 2) @ per_head).unflatten(1, values.shape[1:3]).movedim(0, 1).flatten(1, 2)

    @torch.no_grad()
    def score(self, text: TextFeatures) -> Float[Tensor, "text video"]:
        """Similarity of texts with the folded videos."""
        similarity = self._out.new_empty(len(text), len(self._mask))
        elements = min(len(text), TEXT_BLOCK) * self._forms.shape[1]
        for rows in _slices(len(text), TEXT_BLOCK):
            texts = self._fold_texts(text.sentence[rows])
            for columns in _slices(len(self._mask), max(1, BLOCK_ELEMENTS // elements)):
                similarity[rows, columns] = self._pairs(texts, columns).T
        return similarity

    def _fold_texts(self, sentence: Float[Tensor, "text dim"]) -> _Texts:
        """What keys are multiplied with (queries), and what values are (targets)."""
        head, attn = self._head, self._head.cross_attn
        sentence = sentence.to(self._out.dtype)
        u = unit(sentence)
        query = attn.q_proj(head.layer_norm1(sentence)) / math.sqrt(head.config.dim // attn.num_heads)
        lifted = (u * head.layer_norm3.weight) @ self._refine
        target = lifted @ self._out
        if attn.num_heads == 1:
            query, target = query @ attn.k_proj.weight, target @ attn.v_proj.weight
        return _Texts(
            query=_split(query, attn.num_heads).permute(1, 2, 0),
            target=_split(target, attn.num_heads).permute(1, 2, 0),
            y0=lifted @ self._y0,
            q0=u @ self._q0,
            b3=u @ head.layer_norm3.bias,
        )

    def _pairs(self, texts: _Texts, videos: slice) -> Float[Tensor, "video text"]:
        """The formulas of the module's docstring for a block of videos; texts are innermost in memory."""
        norm2, norm3, c, q0 = self._head.layer_norm2, self._head.layer_norm3, self._c, self._q0
        mask, forms = self._mask[videos], self._forms[videos]
        shape = mask.shape
        logits = (self._keys[:, videos].flatten(1, 2) @ texts.query).unflatten(1, shape)
        if not self._all_real:
            logits.masked_fill_(~mask[..., None], torch.finfo(logits.dtype).min)
        a = logits.softmax(dim=2)
        dots = (self._values[:, videos].flatten(1, 2) @ texts.target).unflatten(1, shape)
        weighted_dots = dots.mul_(a).sum(dim=(0, 2))
        a = a.movedim(0, 1).flatten(1, 2)  # [video, head * frame, text]
        rows = forms @ a
        squares = rows[:, :-3].unflatten(1, (3, -1)).mul_(a[:, None]).sum(dim=2)
        (g, h, r), (ac, aq, ab) = squares.unbind(1), rows[:, -3:].unbind(1)

        # rounding may leave a variance a little below zero
        s = (g.clamp_(min=0) + norm2.eps).rsqrt_()
        z = ((s * h + 2 * ac) * s + c.square().mean()).clamp_(min=0).add_(norm3.eps).rsqrt_()
        product = z * (s * (weighted_dots + texts.y0) + texts.q0) + texts.b3
        b3 = norm3.bias
        square = z * (z * (s * (s * r + 2 * aq) + q0 @ q0) + 2 * (s * ab + q0 @ b3)) + b3 @ b3
        # a square of 0 (a pooled vector of zeros) comes with a product of 0
        similarity = product * square.clamp_(min=torch.finfo(square.dtype).tiny).rsqrt_()
        similarity = similarity.clamp_(-1.0, 1.0)
        return similarity if self._all_real else similarity.masked_fill_(~mask.any(dim=1, keepdim=True), 0.0)


class FoldedQueries:
    """Texts folded for a few hundred videos, straight from their stored frames.

    The key projection moves into the texts, and frames are pooled before their values are projected. A pair costs
    ``2 N F D`` multiply-adds for the frames and ``3 D^2`` for the pooled vector (``2 D^2`` with one head, whose two
    projections of the values are one, multiplied once for all queries), and nothing is kept of a video.

    Args:
        head: its weights are taken as they are now.
        text: the queries.
    """

    @torch.no_grad()
    def __init__(self, head: XPool, text: TextFeatures) -> None:
        self._head = head = _precise(head)
        attn = head.cross_attn
        sentence = text.sentence.to(attn.k_proj.weight.dtype)
        query = _split(attn.q_proj(head.layer_norm1(sentence)), attn.num_heads)
        keys = attn.k_proj.weight.unflatten(0, (attn.num_heads, -1))
        self._query = torch.einsum("tne,ned->tnd", query, keys) / math.sqrt(query.shape[-1])
        self._unit = unit(sentence)

    @torch.no_grad()
    def score(self, video: VideoFeatures) -> Float[Tensor, "text video"]:
        """Similarity of the folded texts with videos."""
        similarity = self._unit.new_empty(len(self._unit), len(video))
        for columns in _slices(len(video), CANDIDATE_BLOCK):
            block = video[columns]
            frame = self._frames(block)
            for row, (query, target) in enumerate(zip(self._query, self._unit, strict=True)):
                similarity[row, columns] = unit(self._pool(query, frame, block.frame_mask)) @ target
        return similarity

    @torch.no_grad()
    def attention(self, video: VideoFeatures) -> Float[Tensor, "text video frame"]:
        """The attention weights of the folded texts, averaged over heads."""
        frame = self._frames(video)
        attention = frame.new_empty(len(self._query), *video.frame_mask.shape)
        for row, query in zip(attention, self._query, strict=True):
            row[:] = self._weights(query, frame, video.frame_mask).mean(dim=1)
        return attention

    def _frames(self, video: VideoFeatures) -> Float[Tensor, "video frame dim"]:
        """LN1 of the frames, zero at masked ones, whatever was there: once they are normed rather than before, since
        that takes no copy of them."""
        frame = self._head.layer_norm1(video.frame.to(self._unit.dtype))
        if not video.frame_mask.all():
            frame[~video.frame_mask] = 0.0
        return frame

    def _weights(
        self,
        query: Float[Tensor, "head dim"],
        frame: Float[Tensor, "video frame dim"],
        mask: Bool[Tensor, "video frame"],
    ) -> Float[Tensor, "video head frame"]:
        return masked_softmax((frame @ query.T).mT, mask[:, None])

    def _pool(
        self,
        query: Float[Tensor, "head dim"],
        frame: Float[Tensor, "video frame dim"],
        mask: Bool[Tensor, "video frame"],
    ) -> Float[Tensor, "video dim"]:
        """The videos pooled for one query: X-Pool's definition with the projections moved."""
        head, attn = self._head, self._head.cross_attn
        weights = self._weights(query, frame, mask)
        if attn.num_heads == 1:
            projected = linear((weights @ frame)[:, 0], *attn.value_map())
        else:
            values = attn.v_proj.weight.unflatten(0, (attn.num_heads, -1))
            value = torch.einsum("vnd,ned->vne", weights @ frame, values).flatten(1) + attn.v_proj.bias
            projected = attn.out_proj(value)
        attended = head.layer_norm2(projected)
        pooled = head.layer_norm3(attended + head.linear_proj(attended))
        return pooled.masked_fill(~mask.any(dim=1, keepdim=True), 0.0)


def _precise(head: XPool) -> XPool:
    """The head in at least float32: half-precision Gram matrices would lose what cancels."""
    return head if head.linear_proj.weight.dtype.itemsize >= 4 else copy.deepcopy(head).float()


def _centred(x: Tensor) -> Tensor:
    """Subtract the mean over the first dimension, which is a linear map's output."""
    return x - x.mean(dim=0)


def _split(x: Tensor, num_heads: int) -> Tensor:
    """``[..., head * width]`` -> ``[..., head, width]``."""
    return x.unflatten(-1, (num_heads, -1))


def _slices(length: int, size: int) -> Iterator[slice]:
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))
