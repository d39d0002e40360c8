"""Moments tile every video, whatever its frames look like and whenever they are shown."""

from __future__ import annotations

from itertools import accumulate, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framesift.errors import InputError
from framesift.index.cutting import MomentMode, cut_moments
from framesift.video import Frames, Moment, VideoInfo, cut, shots, whole
from framesift.video.moments import WHOLE_UP_TO_S

SETTINGS = settings(deadline=None, max_examples=150, derandomize=True)

gaps = st.sampled_from([1e-6, 0.04, 1.0]) | st.floats(1e-3, 40.0) | st.sampled_from([1e6, 1e12, 1e15])
limits = st.sampled_from([0.1, 3.0, 10.0, float("inf")]) | st.floats(1e-2, 100.0)
scales = st.sampled_from([0.0, 1e-30, 1.0, 1e30])


def video(times_s: list[float], pixels: np.ndarray, duration_s: float | None = None) -> Frames:
    info = VideoInfo(
        path="v.mp4",
        duration_s=duration_s,
        fps=None,
        width=4,
        height=4,
        codec="h264",
        container="mp4",
        rotation=0,
        num_streams=1,
        size_bytes=1,
        mtime=0.0,
    )
    return Frames(pixels, np.array(times_s), "v.mp4", info)


@st.composite
def videos(draw: st.DrawFn) -> tuple[Frames, np.ndarray | None]:
    """Frames at uneven times, the first perhaps late, of a few scenes or noise; perhaps their embeddings."""
    count = draw(st.integers(1, 40))
    first_s = draw(st.sampled_from([0.0, 0.5, 12.0, 300.0]))
    times_s = list(accumulate(draw(st.lists(gaps, min_size=count - 1, max_size=count - 1)), initial=first_s))
    times_s = [t for i, t in enumerate(times_s) if i == 0 or t > times_s[i - 1]]  # 1e17 + 1 is 1e17
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scenes = rng.integers(0, draw(st.integers(1, 5)), len(times_s))
    if draw(st.booleans()):
        pixels = rng.integers(0, 256, (len(times_s), 4, 4, 3), dtype=np.uint8)
    else:
        pixels = rng.integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)[scenes]
    embeddings = None
    if draw(st.booleans()):
        per_scene = rng.standard_normal((5, 3)).astype(draw(st.sampled_from([np.float32, np.float64])))
        embeddings = (
            per_scene[scenes]
            * np.array(draw(st.lists(scales, min_size=len(times_s), max_size=len(times_s))), per_scene.dtype)[
                :, None
            ]
        )
    after_s = draw(st.none() | st.just(0.0) | gaps)
    return video(times_s, pixels, None if after_s is None else times_s[-1] + after_s), embeddings


def check_tiling(frames: Frames, moments: list[tuple[Moment, np.ndarray]]) -> None:
    """No gap, no overlap, no frame lost, none twice, each within its moment."""
    assert moments[0][0].start_s == 0.0
    assert moments[-1][0].end_s == max(frames.end_s, frames.times_s[-1])
    assert all(moment.video == frames.path for moment, _ in moments)
    for (before, _), (after, _) in pairwise(moments):
        assert before.end_s == after.start_s >= before.start_s
        assert after.start_s > before.start_s or after.start_s > 1e12  # where seconds cannot be told apart
    assert np.concatenate([rows for _, rows in moments]).tolist() == list(range(len(frames)))
    for moment, rows in moments:
        assert len(rows) > 0
        assert (frames.times_s[rows] >= moment.start_s).all()
        slack_s = 1e-9 * max(1.0, moment.end_s)
        assert (frames.times_s[rows] <= moment.end_s + slack_s).all()


def longest_gap(frames: Frames, moment: Moment, rows: np.ndarray) -> float:
    """The longest time in a moment during which no frame starts."""
    return float(np.diff([moment.start_s, *frames.times_s[rows], moment.end_s]).max())


@SETTINGS
@given(videos(), limits)
def test_shots_tile_the_video_in_short_moments(
    problem: tuple[Frames, np.ndarray | None], max_s: float
) -> None:
    frames, embeddings = problem
    moments = shots(frames, embeddings, max_s=max_s)
    check_tiling(frames, moments)
    for moment, rows in moments:
        length_s = moment.end_s - moment.start_s
        slack_s = 1e-6 * max_s + 1e-12 * moment.end_s
        assert length_s <= max_s + slack_s or longest_gap(frames, moment, rows) > max_s / 2 - slack_s


@SETTINGS
@given(videos(), st.sampled_from(["auto", "whole", "shots"]), st.integers(1, 20))
def test_an_index_keeps_a_few_ascending_frames_of_every_moment(
    problem: tuple[Frames, np.ndarray | None], mode: MomentMode, num_frames: int
) -> None:
    frames, embeddings = problem
    embeddings = np.ones((len(frames), 2), np.float32) if embeddings is None else embeddings
    moments = cut(frames, embeddings, rule=mode)
    check_tiling(frames, moments)
    kept = cut_moments(frames, embeddings, mode, num_frames)
    assert [moment for moment, _ in kept] == [moment for moment, _ in moments]
    for (_, rows), (_, few) in zip(moments, kept, strict=True):
        assert len(few) == min(num_frames, len(rows))
        assert set(few) <= set(rows.tolist())
        assert all(a < b for a, b in pairwise(few))
        middles = (np.arange(len(few)) + 0.5) * len(rows) / len(few) - 0.5
        assert (np.abs(np.array(few) - rows[0] - middles) <= 0.5).all()


@SETTINGS
@given(videos())
def test_auto_is_whole_for_short_videos_and_shots_for_others(
    problem: tuple[Frames, np.ndarray | None],
) -> None:
    frames, embeddings = problem
    expected = whole(frames) if frames.end_s < WHOLE_UP_TO_S else shots(frames, embeddings)
    for (moment, rows), (other, others) in zip(cut(frames, embeddings), expected, strict=True):
        assert moment == other
        assert rows.tolist() == others.tolist()


@SETTINGS
@given(st.integers(1, 60), st.sampled_from([0.0, 1e-30, 1.0, 1e30]), st.integers(0, 255))
def test_identical_frames_are_never_cut(count: int, scale: float, level: int) -> None:
    frames = video([float(i) for i in range(count)], np.full((count, 4, 4, 3), level, np.uint8))
    embeddings = np.full((count, 3), scale, np.float32)
    assert len(shots(frames, embeddings, max_s=float("inf"))) == 1


@SETTINGS
@given(
    st.lists(st.integers(0, 2), min_size=2, max_size=30),
    st.lists(st.sampled_from([1e-30, 1e-3, 1.0, 1e30]), min_size=30, max_size=30),
)
def test_the_length_of_an_embedding_does_not_matter(scenes: list[int], lengths: list[float]) -> None:
    frames = video([float(i) for i in range(len(scenes))], np.zeros((len(scenes), 4, 4, 3), np.uint8))
    embeddings = np.eye(3, dtype=np.float32)[scenes]
    stretched = embeddings * np.array(lengths[: len(scenes)], np.float32)[:, None]
    expected, found = shots(frames, embeddings), shots(frames, stretched)
    assert [moment for moment, _ in found] == [moment for moment, _ in expected]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_embeddings_that_are_not_finite_do_not_stop_the_cutting(value: float) -> None:
    frames = video([0.0, 1.0, 2.0, 3.0, 4.0], np.zeros((5, 4, 4, 3), np.uint8))
    embeddings = np.ones((5, 3), np.float32)
    embeddings[2, 1] = value
    check_tiling(frames, shots(frames, embeddings))


def test_a_video_that_claims_to_last_for_ages_is_cut_at_once() -> None:
    frames = video([0.0, 1.0, 2.0, 9e15], np.zeros((4, 4, 4, 3), np.uint8))
    assert [rows.tolist() for _, rows in shots(frames)] == [[0, 1, 2], [3]]


def test_no_frames_no_moments() -> None:
    empty = Frames(np.zeros((0, 4, 4, 3), np.uint8), np.zeros(0), "v.mp4")
    for rule in ("auto", "whole", "shots"):
        with pytest.raises(InputError, match="without frames"):
            cut(empty, rule=rule)
