"""Unit vectors that are like a model's: around a large common mean, in clusters, and in fewer directions than they
have dimensions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["clustered", "near"]

ROWS_A_CLUSTER = 30


def clustered(rows: int, dim: int, *, seed: int = 0) -> NDArray[np.float32]:
    """``[row, dim]``; neighbours in number are of different clusters."""
    rng = np.random.default_rng(seed)
    spectrum = np.linalg.qr(rng.standard_normal((dim, dim)))[0] * (1 + np.arange(dim)) ** -0.5
    centres = rng.standard_normal((max(1, rows // ROWS_A_CLUSTER), dim))
    offsets = 0.5 * rng.standard_normal((rows, dim))
    raw = (centres[rng.integers(len(centres), size=rows)] + offsets) @ spectrum.T
    raw += raw.std() * rng.standard_normal(dim)
    return (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)


def near(vectors: NDArray[np.float32], rows: list[int], *, seed: int = 1) -> NDArray[np.float32]:
    """Queries near some rows, ``[query, dim]``."""
    rng = np.random.default_rng(seed)
    chosen = vectors[rows]
    moved = chosen + chosen.std() * 0.5 * rng.standard_normal(chosen.shape)
    return (moved / np.linalg.norm(moved, axis=1, keepdims=True)).astype(np.float32)
