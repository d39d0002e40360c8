"""Frames that are read from a segment's file are those that are mapped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from framesift.index.cache.scattered import read_frames
from framesift.index.cache.segment import FRAMES_NAME, Segment

DIM = 8
COUNTS = np.array([3, 0, 5, 2])
NOTHING = np.zeros(0)


@pytest.fixture
def segment(tmp_path: Path) -> Segment:
    frames = np.random.default_rng(0).standard_normal((COUNTS.sum(), DIM)).astype(np.float16)
    frames.tofile(tmp_path / FRAMES_NAME)
    return Segment(
        path=tmp_path,
        offset=np.arange(len(COUNTS)),
        rows=pa.record_batch({"start_s": [0.0] * len(COUNTS)}),
        ids=(pa.py_buffer(b""), 0),
        vectors=np.zeros((len(COUNTS), DIM), np.float32),
        vector_check=np.zeros(len(COUNTS), np.uint64),
        frames=frames,
        times=NOTHING,
        frames_inode=(tmp_path / FRAMES_NAME).stat().st_ino,
        num_frames=COUNTS,
        num_times=COUNTS,
        first_frame=np.cumsum(COUNTS) - COUNTS,
        first_time=np.cumsum(COUNTS) - COUNTS,
        video=None,
        payload_check=np.zeros(len(COUNTS), np.uint64),
    )


def read(segment: Segment, rows: list[int]) -> NDArray[np.float16]:
    found = np.zeros((len(rows), COUNTS.max(), DIM), np.float16)
    read_frames(segment, segment.first_frame[rows], segment.num_frames[rows], list(found))
    return found


def expected(segment: Segment, rows: list[int]) -> NDArray[np.float16]:
    found = np.zeros((len(rows), COUNTS.max(), DIM), np.float16)
    for place, row in enumerate(rows):
        first, count = segment.first_frame[row], segment.num_frames[row]
        found[place, :count] = segment.frames[first : first + count]
    return found


@pytest.mark.parametrize("rows", [[0, 2, 3], [3, 0, 1], [1]])
def test_what_is_read_is_what_is_mapped(segment: Segment, rows: list[int]) -> None:
    assert np.array_equal(read(segment, rows), expected(segment, rows))


def test_a_segment_that_was_dropped_is_read_where_it_is_mapped(segment: Segment) -> None:
    (segment.path / FRAMES_NAME).unlink()
    assert np.array_equal(read(segment, [2, 0]), expected(segment, [2, 0]))


def test_a_segment_that_was_written_again_is_read_where_it_is_mapped(segment: Segment) -> None:
    other = segment.path / "without deleted rows"
    segment.frames[3:].tofile(other)
    other.replace(segment.path / FRAMES_NAME)
    assert np.array_equal(read(segment, [2, 0]), expected(segment, [2, 0]))


def test_what_a_shorter_file_lacks_stays_zero(segment: Segment) -> None:
    """Whoever reads compares the rows with their checks, which these do not pass."""
    with (segment.path / FRAMES_NAME).open("r+b") as file:
        file.truncate(2 * DIM * 4)  # four frames
    found, whole = read(segment, [0, 2]), expected(segment, [0, 2])
    assert np.array_equal(found[0], whole[0])
    assert np.array_equal(found[1, :1], whole[1, :1])
    assert not found[1, 1:].any()
    assert whole[1, 1:].any()
