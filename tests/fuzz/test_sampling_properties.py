"""Samplers: how many times, where they lie, and what has none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framesift.errors import ConfigError, InputError
from framesift.index.cutting import MAX_FRAMES, MomentMode, sampler_for
from framesift.video import Rate, Sampler, Uniform, clip4clip_extract_indices, xpool_uniform_indices
from framesift.video.sampling import clip4clip_slice

SETTINGS = settings(deadline=None, max_examples=100, derandomize=True)

counts = st.integers(1, 500)
starts = st.just(0.0) | st.floats(0.0, 1e6)
lengths = st.floats(1e-3, 1e6)
not_finite = st.sampled_from([math.nan, math.inf, -math.inf])
rates = st.builds(
    lambda fps, least, more: Rate(
        fps=fps, min_frames=least, max_frames=None if more is None else least + more
    ),
    st.floats(1e-3, 1e-2) | st.sampled_from([0.5, 1.0, 2.0]),
    st.integers(1, 40),
    st.none() | st.integers(0, 100),
)
samplers = st.builds(Uniform, num_frames=counts) | rates


def check_times(times: np.ndarray, start_s: float, end_s: float) -> None:
    assert times.dtype == np.float64
    assert (times >= start_s).all()
    assert (times < end_s).all()
    assert (np.diff(times) > 0).all()
    np.testing.assert_allclose(times + times[::-1], start_s + end_s, rtol=1e-12)


@SETTINGS
@given(counts, starts, lengths)
def test_uniform_times_are_middles_of_equal_parts(num_frames: int, start_s: float, length_s: float) -> None:
    times = Uniform(num_frames=num_frames).times(start_s, start_s + length_s)
    assert len(times) == num_frames
    check_times(times, start_s, start_s + length_s)
    expected = [start_s + (i + 0.5) / num_frames * length_s for i in range(num_frames)]
    np.testing.assert_allclose(times, expected, rtol=1e-9)


@SETTINGS
@given(rates, starts, st.floats(1e-3, 5e3))
def test_rate_keeps_to_its_rate_and_its_limits(rate: Rate, start_s: float, length_s: float) -> None:
    end_s = start_s + length_s
    times = rate.times(start_s, end_s)
    check_times(times, start_s, end_s)
    assert rate.min_frames <= len(times) <= (rate.max_frames or math.inf)
    wanted = (end_s - start_s) * rate.fps
    if rate.min_frames <= wanted <= (rate.max_frames or math.inf):
        assert abs(len(times) - wanted) <= 0.5


@SETTINGS
@given(samplers, st.floats(0.0, 1e9), st.sampled_from([0.0, -1.0, -1e300, 5e-324, 1e-12]))
def test_intervals_of_no_length_give_their_start(sampler: Sampler, start_s: float, length_s: float) -> None:
    times = sampler.times(start_s, start_s + length_s)
    assert len(times) >= 1
    np.testing.assert_allclose(times, start_s, atol=1e-11)


@SETTINGS
@given(samplers, not_finite, st.floats(0.0, 1e9), st.booleans())
def test_infinite_intervals_are_refused(sampler: Sampler, odd: float, other: float, odd_first: bool) -> None:
    with pytest.raises(InputError, match="must be finite"):
        sampler.times(*((odd, other) if odd_first else (other, odd)))


@SETTINGS
@given(st.floats(1e10, 1e300), st.floats(1e-3, 1e6), st.integers(1, 50), st.integers(0, 50))
def test_a_limit_holds_however_long_a_file_claims_to_be(
    length_s: float, fps: float, least: int, more: int
) -> None:
    rate = Rate(fps=fps, min_frames=least, max_frames=least + more)
    assert len(rate.times(0.0, length_s)) == least + more


@SETTINGS
@given(st.sampled_from(["auto", "whole", "shots"]), st.integers(1, 60), st.floats(1e-3, 1e15))
def test_an_index_decodes_a_bounded_number_of_frames(
    mode: MomentMode, num_frames: int, length_s: float
) -> None:
    times = sampler_for(mode, num_frames).times(0.0, length_s)
    assert num_frames <= len(times) <= max(MAX_FRAMES, num_frames)
    check_times(times, 0.0, length_s)


@pytest.mark.parametrize("fps", [0.0, -1.0, math.nan, math.inf])
def test_a_rate_is_positive_and_finite(fps: float) -> None:
    with pytest.raises(ConfigError, match="fps"):
        Rate(fps=fps)


@SETTINGS
@given(st.integers(1, 200), st.integers(1, 100_000), st.booleans())
def test_xpool_indices_are_middles_of_intervals_that_cover_the_video(
    num_frames: int, frame_count: int, pad: bool
) -> None:
    indices = xpool_uniform_indices(num_frames, frame_count, pad=pad)
    distinct = min(num_frames, frame_count)
    assert len(indices) == (num_frames if pad else distinct)
    assert (np.diff(indices[:distinct]) > 0).all()
    assert (indices[distinct - 1 :] == indices[-1]).all()
    assert indices[0] >= 0
    assert indices[-1] < frame_count
    ideal = (np.arange(distinct) + 0.5) * frame_count / distinct - 0.5
    below = ideal - indices[:distinct]  # both edges of an interval and their middle are rounded down
    assert (below > -1e-9).all()
    assert (below < 1.5).all()


def clip4clip_reader(frame_count: int, fps: int, rate: int, first_s: int, last_s: int) -> list[int]:
    """The released loader, in words of one frame at a time."""
    step = max(1, fps // rate) if rate > 0 else 1
    offsets = list(range(0, fps, step))[: rate if rate > 0 else None]
    read = []
    for second in range(first_s, last_s + 1):
        for offset in offsets:
            if second * fps + offset >= frame_count:
                return read
            read.append(second * fps + offset)
    return read


@SETTINGS
@given(
    st.integers(0, 3000),
    st.floats(1.0, 120.0),
    st.integers(0, 150),
    st.none() | st.tuples(st.integers(0, 80), st.integers(1, 80)),
)
def test_clip4clip_reads_what_its_loop_reads(
    frame_count: int, fps: float, rate: int, span: tuple[int, int] | None
) -> None:
    duration_s = math.ceil(frame_count / int(fps))
    first_s, length_s = span or (None, None)
    end_s = None if first_s is None or length_s is None else first_s + length_s
    found = clip4clip_extract_indices(frame_count, fps, rate=rate, start_s=first_s, end_s=end_s)
    last_s = duration_s if end_s is None else min(end_s, duration_s)
    assert found.tolist() == clip4clip_reader(frame_count, int(fps), rate, first_s or 0, last_s)


@SETTINGS
@given(st.integers(0, 500), st.integers(1, 100))
def test_clip4clip_keeps_at_most_max_frames_of_what_it_read(num_extracted: int, max_frames: int) -> None:
    everything, kept = range(num_extracted), min(num_extracted, max_frames)
    assert clip4clip_slice(num_extracted, max_frames, position="head").tolist() == list(everything)[:kept]
    tail = list(everything)[num_extracted - kept :]
    assert clip4clip_slice(num_extracted, max_frames, position="tail").tolist() == tail
    rows = clip4clip_slice(num_extracted, max_frames)
    assert len(rows) == kept
    assert (np.diff(rows) > 0).all()
    if kept:
        assert rows[0] == 0
    if kept > 1:
        assert rows[-1] == num_extracted - 1


def test_meaningless_requests_are_refused() -> None:
    for fps in (math.nan, math.inf, -1.0, 0.99):
        with pytest.raises(InputError, match="fps"):
            clip4clip_extract_indices(100, fps)
    with pytest.raises(InputError, match="rate"):
        clip4clip_extract_indices(100, 25.0, rate=-1)
    for max_frames in (0, -2):
        with pytest.raises(InputError, match="max_frames"):
            clip4clip_slice(5, max_frames, position="tail")
