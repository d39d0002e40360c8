"""Contrastive batches that are larger than the memory (Gao et al., RepL4NLP 2021, "Scaling Deep Contrastive Learning
Batch Size under Memory Limited Peak Activation Memory Usage").

The batch is encoded in chunks without a graph; the loss over all of it gives the gradient of every feature; then each
chunk is encoded once more, with the same noise, and the gradients of its features go through it. The result is the
gradient of the whole batch, at the price of a second encoding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import TypeVar

import torch
from torch import Tensor

from ..features import TextFeatures, VideoFeatures

__all__ = ["backward_in_chunks"]

B = TypeVar("B")
F = TypeVar("F", TextFeatures, VideoFeatures)
Pair = tuple[TextFeatures, VideoFeatures]


def backward_in_chunks(
    chunks: Sequence[B], encode: Callable[[B], Pair], loss: Callable[[TextFeatures, VideoFeatures], Tensor]
) -> Tensor:
    """Add the gradient of ``loss`` over all chunks to the parameters; returns the loss.

    Args:
        chunks: parts of a batch; with only one there is one encoding, with its graph.
        encode: differentiable; it may draw noise.
        loss: of the features of the whole batch, in the order of the chunks.
    """
    if len(chunks) == 1:
        value = loss(*encode(chunks[0]))
        value.backward()
        return value.detach()
    states: list[list[Tensor]] = []
    texts: list[TextFeatures] = []
    videos: list[VideoFeatures] = []
    with torch.no_grad():
        for chunk in chunks:
            states.append(_noise())
            text, video = encode(chunk)
            texts.append(text)
            videos.append(video)
    whole = _leaf(TextFeatures.cat(texts)), _leaf(VideoFeatures.cat(videos))
    value = loss(*whole)
    value.backward()
    after, start = _noise(), 0
    for chunk, state in zip(chunks, states, strict=True):
        _set_noise(state)
        encoded = encode(chunk)
        rows = slice(start, start + len(encoded[0]))
        start = rows.stop
        outputs: list[Tensor] = []
        gradients: list[Tensor] = []
        for part, features in zip(encoded, whole, strict=True):
            for field in fields(part):
                x, leaf = getattr(part, field.name), getattr(features, field.name)
                if x is not None and x.requires_grad and leaf.grad is not None:
                    outputs.append(x)
                    gradients.append(_cut(leaf.grad[rows], x))
        if outputs:
            torch.autograd.backward(outputs, gradients)
    _set_noise(after)
    return value.detach()


def _leaf(features: F) -> F:
    """The same features as leaves of a new graph."""
    given = {field.name: getattr(features, field.name) for field in fields(features)}
    tensors = {
        name: x.detach().requires_grad_()
        for name, x in given.items()
        if x is not None and x.is_floating_point()
    }
    return replace(features, **tensors)


def _cut(gradient: Tensor, x: Tensor) -> Tensor:
    """Without the rows that padded a chunk's words or frames to the longest of the batch."""
    return gradient if x.ndim < 3 else gradient[:, : x.shape[1]]


def _noise() -> list[Tensor]:
    """The states of all generators that draw noise."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return [torch.get_rng_state(), *cuda]


def _set_noise(states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if len(states) > 1:
        torch.cuda.set_rng_state_all(states[1:])
