"""What is decoded of a video, and how it becomes moments."""

from __future__ import annotations

import pickle
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from framesift.index.cutting import MAX_FRAMES, MomentMode, cut_moments, sampler_for
from framesift.video.frames import Frames
from framesift.video.sampling import Uniform

F = 4


def _frames(times_s: list[float]) -> tuple[Frames, np.ndarray]:
    count = len(times_s)
    pixels = np.full((count, 8, 8, 3), 90, np.uint8)
    return Frames(pixels, np.array(times_s), "v.mp4"), np.ones((count, 2), np.float32)


@pytest.mark.parametrize(
    ("mode", "length_s", "count"),
    [
        ("whole", 3600.0, F),
        ("shots", 3.0, F),
        ("shots", 100.0, 100),
        ("auto", 59.9, F),
        ("auto", 60.0, 60),
        ("shots", 10.0 * MAX_FRAMES, MAX_FRAMES),
    ],
)
def test_how_many_frames_are_decoded(mode: MomentMode, length_s: float, count: int) -> None:
    times = sampler_for(mode, F).times(0.0, length_s)
    assert len(times) == count
    assert 0 < times[0] < times[-1] < length_s


def test_short_video_is_sampled_as_evaluation_does() -> None:
    expected = Uniform(num_frames=F).times(0.0, 7.5)
    assert np.array_equal(sampler_for("auto", F).times(0.0, 7.5), expected)


def test_moments_keep_at_most_num_frames_spread_evenly() -> None:
    frames, embeddings = _frames([0.5 + second for second in range(80)])
    moments = cut_moments(frames, embeddings, "auto", F)
    assert len(moments) == 9  # 80.5 s in the fewest equal parts of at most 10 s
    assert [rows for _, rows in moments[:2]] == [
        [1, 3, 5, 7],
        [10, 12, 14, 16],
    ]  # middles of quarters of nine
    assert all(a.end_s == b.start_s for (a, _), (b, _) in pairwise(moments))
    assert len(cut_moments(frames, embeddings, "whole", F)) == 1


def test_few_frames_are_all_kept() -> None:
    frames, embeddings = _frames([0.0, 1.0, 2.0])
    ((_, rows),) = cut_moments(frames, embeddings, "auto", F)
    assert rows == [0, 1, 2]


def test_sampler_reaches_a_decoding_process_without_heavy_imports() -> None:
    script = (
        "import pickle, sys; sampler = pickle.load(sys.stdin.buffer); print(len(sampler.times(0, 90)));"
        "print([name for name in ('torch', 'lance', 'pyarrow', 'transformers') if name in sys.modules])"
    )
    sent = pickle.dumps(sampler_for("auto", F))
    done = subprocess.run([sys.executable, "-c", script], input=sent, capture_output=True, check=True)
    assert done.stdout.decode().split("\n")[:2] == ["90", "[]"]
