from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framesift.errors import ConfigError, InputError, ShapeError
from framesift.video import Frames, Moment, cut, shots, whole

COLOURS = np.array([[250, 20, 20], [20, 250, 20], [20, 20, 250], [240, 240, 20]], dtype=np.uint8)


def film(scenes: list[int], *, step_s: float = 1.0, start_s: float = 0.0) -> Frames:
    """One frame a second; the number of each is the colour of its scene."""
    noise = np.random.default_rng(0).integers(0, 10, (len(scenes), 16, 16, 3), dtype=np.uint8)
    pixels = COLOURS[scenes][:, None, None, :] - noise
    return Frames(pixels, start_s + np.arange(len(scenes)) * step_s, "film.mp4")


def spans(moments: list[tuple[Moment, np.ndarray]]) -> list[tuple[float, float, list[int]]]:
    return [(moment.start_s, moment.end_s, rows.tolist()) for moment, rows in moments]


def test_whole() -> None:
    assert spans(whole(film([0, 0, 1]))) == [(0.0, 3.0, [0, 1, 2])]


def test_cuts_where_the_colours_change() -> None:
    moments = shots(film([0, 0, 0, 1, 1, 2, 2, 2]))
    assert spans(moments) == [(0, 3, [0, 1, 2]), (3, 5, [3, 4]), (5, 8, [5, 6, 7])]
    assert repr(moments[1][0]) == "<Moment film.mp4 3.0-5.0 s>"


def test_cuts_where_the_embeddings_change() -> None:
    same_colour = film([0] * 6)
    embeddings = np.array([[1.0, 0.0]] * 4 + [[0.0, 3.0]] * 2)
    assert [rows for *_, rows in spans(shots(same_colour, embeddings))] == [[0, 1, 2, 3], [4, 5]]
    assert len(shots(same_colour)) == 1


def test_steady_change_is_no_cut() -> None:
    angles = np.linspace(0, np.pi, 8)  # 0.1 of the cosine at every step
    turning = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert len(shots(film([0] * 8), turning, min_embedding_change=0.05)) == 1


def test_long_shots_are_split_evenly() -> None:
    moments = shots(film([0] * 25), max_s=10.0)
    np.testing.assert_allclose([moment.end_s - moment.start_s for moment, _ in moments], 25 / 3)


def test_a_stretch_without_frames_is_left_to_its_neighbour() -> None:
    sparse = film([0, 0, 0], step_s=25.0, start_s=12.0)  # frames at 12, 37, 62 of 87 s
    assert spans(shots(sparse, max_s=10.0)) == [
        (0.0, pytest.approx(87 / 9 * 3), [0]),
        (pytest.approx(87 / 9 * 3), pytest.approx(87 / 9 * 6), [1]),
        (pytest.approx(87 / 9 * 6), 87.0, [2]),
    ]


@settings(max_examples=60, deadline=None)
@given(
    scenes=st.lists(st.integers(0, 3), min_size=1, max_size=40),
    step_s=st.sampled_from([0.04, 0.5, 1.0, 7.0, 30.0]),
    start_s=st.sampled_from([0.0, 0.5]),
    max_s=st.sampled_from([0.1, 3.0, 10.0]),
)
def test_moments_tile_the_video(scenes: list[int], step_s: float, start_s: float, max_s: float) -> None:
    frames = film(scenes, step_s=step_s, start_s=start_s)
    moments = shots(frames, max_s=max_s)
    assert moments[0][0].start_s == 0.0
    assert moments[-1][0].end_s == frames.end_s
    for (before, _), (after, _) in pairwise(moments):
        assert before.end_s == after.start_s
    assert np.concatenate([rows for _, rows in moments]).tolist() == list(range(len(scenes)))
    for i, (moment, rows) in enumerate(moments):
        assert len(rows) > 0
        assert (frames.times_s[rows] >= moment.start_s - 1e-6).all()
        assert (frames.times_s[rows] < moment.end_s + 1e-6).all()
        if step_s < max_s and i > 0:  # some frame starts in every stretch
            assert moment.end_s - moment.start_s <= max_s + step_s


def test_auto_goes_by_length() -> None:
    short, long = film([0] * 30 + [1] * 20), film([0] * 30 + [1] * 40)
    assert len(cut(short)) == 1
    assert len(cut(long)) == 7
    assert len(cut(short, rule="shots")) == 5
    assert len(cut(long, rule="whole")) == 1


def test_bad_input() -> None:
    with pytest.raises(ConfigError, match="rule"):
        cut(film([0]), rule="scenes")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="max_s"):
        shots(film([0]), max_s=0.0)
    with pytest.raises(ShapeError, match="embeddings"):
        shots(film([0, 1]), np.zeros((3, 4)))
    with pytest.raises(InputError, match="without frames"):
        shots(film([]))
    with pytest.raises(InputError, match="start_s"):
        Moment("a", 3.0, 2.0)
