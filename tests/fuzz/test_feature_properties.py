"""Unit vectors and means of frames against numpy in double precision."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from framesift.features import masked_mean, unit

SETTINGS = settings(deadline=None, max_examples=60, derandomize=True)
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}

dtypes = st.sampled_from([torch.float32, torch.float64])
scales = st.sampled_from([0.0, 1e-6, 1.0, 1e6])


def naive_unit(x: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(x)
    return x / norm if norm > 0 else x


@SETTINGS
@given(st.integers(0, 2**32 - 1), st.lists(scales, min_size=1, max_size=8), st.integers(1, 6), dtypes)
def test_unit_vectors(seed: int, lengths: list[float], dim: int, dtype: torch.dtype) -> None:
    rng = np.random.default_rng(seed)
    x = torch.tensor(rng.standard_normal((len(lengths), dim)) * np.array(lengths)[:, None], dtype=dtype)
    found = unit(x)
    assert found.dtype == dtype
    expected = np.stack([naive_unit(row) for row in x.double().numpy()])
    np.testing.assert_allclose(found.numpy(), expected, atol=TOLERANCE[dtype])


@SETTINGS
@given(
    st.integers(0, 2**32 - 1),
    st.lists(scales, min_size=1, max_size=6),
    st.integers(1, 5),
    st.integers(1, 4),
    dtypes,
)
def test_masked_means(seed: int, lengths: list[float], videos: int, dim: int, dtype: torch.dtype) -> None:
    rng = np.random.default_rng(seed)
    drawn = np.abs(rng.standard_normal((videos, len(lengths), dim))) + 0.1  # no mean near zero
    frame = torch.tensor(drawn * np.array(lengths)[:, None], dtype=dtype)
    mask = torch.tensor(rng.random((videos, len(lengths))) < 0.6)
    found = masked_mean(frame, mask).numpy()
    for video in range(videos):
        real = frame[video][mask[video]].double().numpy()
        mean = np.mean([naive_unit(row) for row in real], axis=0) if len(real) else np.zeros(dim)
        np.testing.assert_allclose(found[video], naive_unit(mean), atol=TOLERANCE[dtype])
