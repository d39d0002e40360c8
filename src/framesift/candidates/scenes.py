"""What a moment is found by: its scenes, and pairs of them.

Text-conditioned pooling attends to one scene of a moment, or splits its attention over two that the text tells of; the
mean of all frames mixes these with what the text does not tell of, and the best frame knows but one of them. So a
moment gets a vector for every *scene*, a run of successive frames that look alike, and one for every pair of scenes.
The share of a matcher's own best ten among the first candidates by means, frames, scenes alone and scenes with pairs is
in results/bench-candidate-depth.json: with pairs, a depth of a hundred does what takes thousands by means, and the
depth hardly grows with the gallery. Moments that are cut at shots have little more than one vector each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError

__all__ = ["ALIKE", "PAIRED", "RULE_VERSION", "scenes_of", "single_scenes"]

RULE_VERSION = 1
"""Raised by whoever changes what :func:`scenes_of` gives, but for the numbers below: an index then drops the scenes
that it keeps, with their codes, and makes them anew."""

ALIKE = 0.8
"""Cosine with the mean of a scene's frames so far from which on a frame belongs to it."""

PAIRED = 6
"""Scenes of a moment up to which all pairs of them count, at most 15; of more scenes, successive ones are paired, so
that a moment never has more than twice as many vectors as frames, or 21."""


def scenes_of(
    frames: NDArray[np.floating[Any]], counts: NDArray[np.int64], *, tokens: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The unit vectors that rows are found by, and the row of each.

    A row's scenes come first, in the order of time, then its pairs. A scene's vector is the unit mean of its unit
    frames, a pair's that of its two scenes, however long each is. A frame that is zero is passed over; a row without
    any other gets one zero vector, since an engine has to know of every row. What a row gets depends on nothing but its
    own frames.

    Args:
        frames: raw, those of a row one after another, ``[frame, dim]``; float32 is worked in.
        counts: of every row, ``[row]``.
        tokens: successive vectors that belong to one frame, whose mean then counts.

    Returns:
        Vectors, ``[scene, dim]`` float32, and their rows, ``[scene]`` ascending.

    Raises:
        ShapeError: ``counts`` do not add up to the frames, or are no multiples of ``tokens``.
    """
    scenes, scene_row = single_scenes(frames, counts, tokens=tokens)
    numbers = np.bincount(scene_row, minlength=len(counts))
    one, other = _pairs(numbers)
    empty = np.flatnonzero(numbers == 0)
    nothing = np.zeros((len(empty), scenes.shape[1]), np.float32)
    vectors = np.concatenate([scenes, _unit(scenes[one] + scenes[other]), nothing])
    owner = np.concatenate([scene_row, scene_row[one], empty])
    order = np.argsort(owner, kind="stable")
    return vectors[order], owner[order]


def single_scenes(
    frames: NDArray[np.floating[Any]], counts: NDArray[np.int64], *, tokens: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The same without pairs; a row without a frame that is not zero has none."""
    if frames.ndim != 2 or counts.ndim != 1 or counts.sum() != len(frames):
        raise ShapeError("frames", expected=f"[{int(counts.sum())}, dim]", got=list(frames.shape))
    if tokens > 1 and (counts % tokens).any():
        raise ShapeError("counts", expected=f"multiples of {tokens}", got=counts.tolist()[:8])
    flat = _unit(frames.astype(np.float32))
    if tokens > 1:
        flat = _unit(flat.reshape(-1, tokens, flat.shape[1]).sum(axis=1))
        counts = counts // tokens
    real = flat.any(axis=1)
    row = np.repeat(np.arange(len(counts)), counts)[real]
    flat = flat[real]
    if not len(flat):
        return flat, row
    begins = np.flatnonzero(_begins(flat, np.bincount(row, minlength=len(counts))))
    return _unit(np.add.reduceat(flat, begins, axis=0)), row[begins]


def _begins(flat: NDArray[np.float32], counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which frames begin a scene, ``[frame]``; all rows at once, frame after frame."""
    first = np.cumsum(counts) - counts
    found = np.zeros(len(flat), np.bool_)
    rows = np.flatnonzero(counts)
    found[first[rows]] = True
    total = np.zeros((len(counts), flat.shape[1]), np.float32)
    total[rows] = flat[first[rows]]
    for place in range(1, int(counts.max(initial=0))):
        rows = np.flatnonzero(counts > place)
        here, so_far = flat[first[rows] + place], total[rows]
        new = np.einsum("rd,rd->r", so_far, here) < ALIKE * np.linalg.norm(so_far, axis=1)
        found[first[rows] + place] = new
        total[rows] = np.where(new[:, None], here, so_far + here)
    return found


def _pairs(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first and second scene of every pair, by the number of scenes of each row; pairs of a row in order."""
    first = np.cumsum(counts) - counts
    ones: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    others: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    for number in range(2, PAIRED + 1):
        rows = np.flatnonzero(counts == number)
        one, other = np.triu_indices(number, k=1)
        ones.append((first[rows][:, None] + one).ravel())
        others.append((first[rows][:, None] + other).ravel())
    many = np.repeat(counts > PAIRED, counts)
    last = np.zeros(len(many), np.bool_)
    last[(first + counts - 1)[counts > 0]] = True
    successive = np.flatnonzero(many & ~last)
    return np.concatenate([*ones, successive]), np.concatenate([*others, successive + 1])


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale vectors to length one; a zero vector stays zero."""
    norm: NDArray[np.float32] = np.linalg.norm(vectors, axis=1, keepdims=True)
    norm[norm == 0] = 1
    return vectors / norm
