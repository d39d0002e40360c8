"""A then B: the chains found are those of a search through everything."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from framesift.errors import InputError, ShapeError
from framesift.features import VideoFeatures, masked_mean
from framesift.search.sequence import follow, windows


def brute_force(videos, start, end, scores, within):  # type: ignore[no-untyped-def]
    """The best score of every video, from all ways to choose a moment for every step."""
    best: dict[object, float] = {}
    for rows in itertools.product(range(len(videos)), repeat=len(scores)):
        pairs = list(itertools.pairwise(rows))
        if len({videos[row] for row in rows}) != 1 or any(start[b] < end[a] for a, b in pairs):
            continue
        gaps = [start[b] - end[a] for a, b in pairs]
        if any(limit is not None and gap > limit for gap, limit in zip(gaps, within[1:], strict=True)):
            continue
        score = sum(scores[step][row] for step, row in enumerate(rows)) / len(scores)
        best[videos[rows[0]]] = max(best.get(videos[rows[0]], -np.inf), score)
    return best


@st.composite
def questions(draw):  # type: ignore[no-untyped-def]
    steps = draw(st.integers(1, 3))
    moments = draw(st.integers(0, 7))
    videos = draw(st.lists(st.sampled_from("ab"), min_size=moments, max_size=moments))
    # whole seconds, so that limits are met or missed by more than rounding; lengths of 0 occur
    start = draw(st.lists(st.integers(0, 9), min_size=moments, max_size=moments))
    length = draw(st.lists(st.integers(0, 4), min_size=moments, max_size=moments))
    number = st.integers(-5, 5)
    scores = draw(
        st.lists(st.lists(number, min_size=moments, max_size=moments), min_size=steps, max_size=steps)
    )
    within = draw(st.lists(st.none() | st.integers(0, 5), min_size=steps, max_size=steps))
    end = [a + b for a, b in zip(start, length, strict=True)]
    return videos, start, end, scores, within


def follows_itself(question) -> bool:  # type: ignore[no-untyped-def]
    """A moment of no length follows itself and its twins by the clock, but serves one step only."""
    _, start, end, scores, _ = question
    return len(scores) > 1 and any(a == b for a, b in zip(start, end, strict=True))


@settings(max_examples=300, deadline=None)
@given(questions().filter(lambda question: not follows_itself(question)))
def test_the_best_chain_of_every_video_is_that_of_a_search_through_everything(question) -> None:  # type: ignore[no-untyped-def]
    videos, start, end, scores, within = question
    chains = follow(videos, start, end, scores, within)
    assert {videos[chain.rows[0]]: pytest.approx(chain.score) for chain in chains} == brute_force(*question)
    assert [chain.score for chain in chains] == sorted((chain.score for chain in chains), reverse=True)
    for chain in chains:  # and it is a chain that may be, with the score that it claims
        assert len({videos[row] for row in chain.rows}) == 1
        assert all(end[a] <= start[b] for a, b in itertools.pairwise(chain.rows))
        own = np.mean([scores[step][row] for step, row in enumerate(chain.rows)])
        assert chain.score == pytest.approx(own)


def test_a_moment_serves_one_step_only() -> None:
    assert follow(["a"], [0.0], [5.0], [[3.0], [3.0]], [None, None]) == []
    assert follow(["a"], [2.0], [2.0], [[3.0], [3.0]], [None, None]) == []


def test_moments_that_touch_follow_one_another_whatever_rounding_did() -> None:
    (chain,) = follow(["a", "a"], [0.0, 0.3], [0.1 + 0.2, 0.6], [[1, 0], [0, 1]], [None, 0.0])
    assert chain.rows == (0, 1)


def test_what_fits_not_at_all_is_in_no_chain() -> None:
    assert follow(["a", "a"], [0, 1], [1, 2], [[1, 1], [-np.inf, -np.inf]], [None, None]) == []


def test_thousands_of_videos_take_no_longer_than_a_moment() -> None:
    rng = np.random.default_rng(0)
    count = 50_000
    start = rng.random(count) * 100
    videos = rng.integers(0, 5_000, count).tolist()
    chains = follow(videos, start, start + 1, rng.normal(size=(2, count)), [None, 5.0])
    assert len(chains) > 4_000


@pytest.mark.parametrize(
    ("error", "changes"),
    [
        (ShapeError, {"start_s": [0.0]}),
        (ShapeError, {"step_scores": [[1.0]]}),
        (ShapeError, {"within_s": []}),
        (InputError, {"step_scores": [[1.0, float("nan")]]}),
        (InputError, {"end_s": [-1.0, 2.0]}),
        (InputError, {"step_scores": [[1, 1], [1, 1]], "within_s": [None, -1.0]}),
    ],
)
def test_questions_that_make_no_sense_are_refused(error, changes) -> None:  # type: ignore[no-untyped-def]
    good = {"start_s": [0.0, 1.0], "end_s": [1.0, 2.0], "step_scores": [[1.0, 2.0]], "within_s": [None]}
    follow(["a", "a"], **good)
    with pytest.raises(error):
        follow(["a", "a"], **{**good, **changes})


# ---- windows


def features(*lengths: int, tokens: int = 1, with_video: bool = False) -> VideoFeatures:
    frame = torch.randn(len(lengths), max(lengths) * tokens, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(frame.shape[1]) < torch.tensor(lengths)[:, None] * tokens
    return VideoFeatures(
        frame=frame, frame_mask=mask, video=torch.ones(len(lengths), 4) if with_video else None
    )


def test_windows_are_all_runs_of_so_many_frames_and_lie_end_to_end() -> None:
    video = features(5, 4)
    times = [[0.0, 1.0, 2.0, 3.0, 4.0], [10.0, 11.0, 12.0, 13.0]]
    found = windows(video, times, [5.5, 14.0], steps=1, num_frames=3)
    assert found.owner == (0, 0, 0, 1, 1)
    assert found.start_s.tolist() == [0, 1, 2, 10, 11]
    assert found.end_s.tolist() == [3, 4, 5.5, 13, 14]
    for window, (owner, first) in enumerate([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]):
        kept = found.features.frame[window][found.features.frame_mask[window]]
        torch.testing.assert_close(kept, video.frame[owner, first : first + 3])


def test_few_frames_make_shorter_windows_and_too_few_none() -> None:
    found = windows(features(3, 1), [[0.0, 1.0, 2.0], [0.0]], [3.0, 1.0], steps=2, num_frames=3)
    assert found.owner == (0, 0, 0)
    assert (found.end_s - found.start_s).tolist() == [1, 1, 1]
    assert len(windows(features(1), [[0.0]], [1.0], steps=2)) == 0


def test_tokens_of_a_frame_stay_together() -> None:
    found = windows(
        features(4, tokens=2), [[0.0, 1.0, 2.0, 3.0]], [4.0], steps=1, num_frames=3, tokens_per_frame=2
    )
    assert found.features.frame_mask.int().tolist() == [[1, 1, 1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1, 1, 1]]


def test_a_window_does_not_know_the_rest_of_its_video() -> None:
    found = windows(features(4, with_video=True), [[0.0, 1.0, 2.0, 3.0]], [4.0], steps=1)
    assert found.features.video is not None
    torch.testing.assert_close(
        found.features.video, masked_mean(found.features.frame, found.features.frame_mask)
    )


def test_an_order_inside_one_short_video_is_found() -> None:
    frame = torch.eye(2)[[0, 0, 0, 0, 1, 1, 1, 1]][None]
    both = VideoFeatures(
        frame=torch.cat([frame, frame.flip(1)]), frame_mask=torch.ones(2, 8, dtype=torch.bool)
    )
    times = [[float(n) for n in range(8)]] * 2
    found = windows(both, times, [8.0, 8.0], steps=2)
    mean = masked_mean(found.features.frame, found.features.frame_mask).numpy()
    chains = follow(found.owner, found.start_s, found.end_s, mean.T, [None, None])
    assert [found.owner[chain.rows[0]] for chain in chains] == [0, 1]
    assert chains[0].score == pytest.approx(1.0)
    assert chains[1].score < 0.9


def test_times_that_are_not_those_of_the_frames_are_refused() -> None:
    with pytest.raises(ShapeError):
        windows(features(3), [[0.0, 1.0]], [3.0], steps=1)
    with pytest.raises(ShapeError):
        windows(features(3), [[0.0, 1.0, 2.0]], [], steps=1)
