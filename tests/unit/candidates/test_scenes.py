"""Scenes and pairs of them, against a loop over rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from framesift.candidates import scenes_of
from framesift.candidates.scenes import ALIKE, PAIRED
from framesift.errors import ShapeError

DIM = 8


def unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    length = np.sqrt(sum(value**2 for value in vector))
    return vector / length if length else vector


def naive(frames: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """The vectors of one row."""
    runs: list[list[NDArray[np.float64]]] = []
    for frame in map(unit, frames):
        if not frame.any():
            continue
        if runs and unit(np.sum(runs[-1], axis=0)) @ frame >= ALIKE:
            runs[-1].append(frame)
        else:
            runs.append([frame])
    scenes = [unit(np.sum(run, axis=0)) for run in runs]
    pairs = [
        unit(scenes[i] + scenes[j])
        for i in range(len(scenes))
        for j in range(i + 1, len(scenes))
        if len(scenes) <= PAIRED or j == i + 1
    ]
    return scenes + pairs or [np.zeros(DIM)]


def drawn(seed: int, counts: list[int], zeros: float) -> list[NDArray[np.float64]]:
    """Rows of frames: runs of noisy copies, of any length, some of them zero."""
    chance = np.random.default_rng(seed)
    rows = []
    for count in counts:
        shown = chance.normal(size=(12, DIM))[np.sort(chance.integers(12, size=count))]
        frames = shown + chance.normal(scale=0.15, size=shown.shape)
        frames *= chance.uniform(0.1, 20, size=(count, 1)) * (chance.random((count, 1)) >= zeros)
        rows.append(frames)
    return rows


@settings(deadline=None)
@given(
    seed=st.integers(0, 10**6),
    counts=st.lists(st.integers(0, 14), min_size=1, max_size=12),
    zeros=st.sampled_from([0.0, 0.1, 1.0]),
)
def test_it_is_what_a_loop_finds(seed: int, counts: list[int], zeros: float) -> None:
    rows = drawn(seed, counts, zeros)
    vectors, owner = scenes_of(np.concatenate(rows).astype(np.float32), np.array(counts))
    expected = [naive(list(row.astype(np.float32).astype(float))) for row in rows]
    assert owner.tolist() == [number for number, own in enumerate(expected) for _ in own]
    assert vectors.dtype == np.float32
    assert vectors == pytest.approx(np.concatenate(expected), abs=1e-5)


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), counts=st.lists(st.integers(0, 14), min_size=2, max_size=9))
def test_a_row_depends_on_its_own_frames_only(seed: int, counts: list[int]) -> None:
    rows = [row.astype(np.float16) for row in drawn(seed, counts, 0.1)]
    vectors, owner = scenes_of(np.concatenate(rows), np.array(counts))
    alone = [scenes_of(row, np.array([len(row)]))[0] for row in rows]
    assert np.array_equal(vectors, np.concatenate(alone))  # to the last bit: codes are of these very vectors
    assert np.bincount(owner).tolist() == [len(one) for one in alone]


def test_one_still_picture_is_one_vector() -> None:
    frame = np.arange(1, DIM + 1, dtype=np.float32)
    vectors, owner = scenes_of(np.stack([frame, 2 * frame, 5 * frame]), np.array([3]))
    assert owner.tolist() == [0]
    assert vectors[0] == pytest.approx(unit(frame.astype(float)), abs=1e-6)


@pytest.mark.parametrize(("scenes", "vectors"), [(1, 1), (2, 3), (6, 21), (7, 13), (12, 23)])
def test_the_number_of_pairs_is_bounded(scenes: int, vectors: int) -> None:
    frames = np.eye(scenes, 12, dtype=np.float32)
    assert len(scenes_of(frames, np.array([scenes]))[0]) == vectors


def test_tokens_of_a_frame_count_as_their_mean() -> None:
    (tokens,) = drawn(1, [12], 0.0)
    plain = scenes_of(
        np.stack([sum(map(unit, four)) for four in tokens.reshape(3, 4, DIM)]).astype(np.float32),
        np.array([3]),
    )
    found = scenes_of(tokens.astype(np.float32), np.array([12]), tokens=4)
    assert found[0] == pytest.approx(plain[0], abs=1e-5)
    assert found[1].tolist() == plain[1].tolist()


def test_no_rows_at_all() -> None:
    vectors, owner = scenes_of(np.zeros((0, DIM), np.float16), np.zeros(0, np.int64))
    assert vectors.shape == (0, DIM)
    assert owner.shape == (0,)


def test_counts_have_to_fit() -> None:
    with pytest.raises(ShapeError, match="frames"):
        scenes_of(np.zeros((4, DIM), np.float32), np.array([3]))
    with pytest.raises(ShapeError, match="multiples of 4"):
        scenes_of(np.zeros((6, DIM), np.float32), np.array([6]), tokens=4)
