"""Batches of clips: functions of seed and step, pairs complete, frames of what a caption tells."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from framesift.errors import InputError
from framesift.storyboard import FPS, PAIR_KINDS, Caption, holds
from framesift.training.storyboard_clips import ClipBatch, StoryboardClips, _frames_of
from framesift.training.storyboard_frames import STILL_PAIRS
from framesift.training.storyboard_videos import NUM_FRAMES, frame_times_s

VIDEOS, PAIRS = 12, 3
KINDS = list(PAIR_KINDS)


@pytest.fixture(scope="module")
def clips() -> StoryboardClips:
    return StoryboardClips(videos=VIDEOS, pairs=PAIRS)


def draw(clips: StoryboardClips, steps: range, *, seed: int = 0, captions: int = 2) -> list[ClipBatch]:
    pairs = {"order": 2, "count": 1, "direction": 1, "binding": 3}
    return list(clips.draw(steps, videos=5, pairs=pairs, captions=captions, seed=seed))


def content(batch: ClipBatch) -> tuple[object, ...]:
    return (
        batch.rows,
        batch.texts,
        batch.frames.tolist(),
        batch.members,
        batch.still,
        batch.member_frames.tolist(),
    )


def test_a_batch_is_a_function_of_seed_and_step(clips: StoryboardClips) -> None:
    whole = [content(batch) for batch in draw(clips, range(6))]
    torch.manual_seed(1)  # the noise of a step does not matter
    assert [content(batch) for batch in draw(clips, range(4, 6))] == whole[4:]
    assert len({str(batch) for batch in whole}) == 6
    assert [content(batch) for batch in draw(clips, range(6), seed=1_000_003)] != whole


def test_other_objects_hold_the_same_videos(clips: StoryboardClips) -> None:
    again = StoryboardClips(videos=VIDEOS, pairs=PAIRS)
    assert again.videos == clips.videos
    assert again.members == clips.members
    assert again.member_texts == clips.member_texts


def test_members_come_in_pairs(clips: StoryboardClips) -> None:
    assert len(clips.members) == len(clips.member_texts) == 2 * PAIRS * len(PAIR_KINDS)
    for batch in draw(clips, range(4)):
        one, other = batch.members[::2], batch.members[1::2]
        assert all(row % 2 == 0 for row in one)
        assert other == [row + 1 for row in one]
        assert len(set(one)) == len(one), "no pair twice"
        kinds = [KINDS[row // (2 * PAIRS)] for row in one]
        assert kinds == ["order"] * 2 + ["count"] + ["direction"] + ["binding"] * 3
        assert len(batch.member_frames) == len(batch.members)
        assert 0 <= int(batch.member_frames.min()) <= int(batch.member_frames.max()) < NUM_FRAMES


def test_still_members_are_those_that_any_frame_tells_apart(clips: StoryboardClips) -> None:
    for batch in draw(clips, range(3)):
        kinds = [KINDS[row // (2 * PAIRS)] for row in batch.members]
        assert batch.still == [place for place, kind in enumerate(kinds) if kind in STILL_PAIRS]
        assert {kinds[place] for place in batch.still} == {"count", "binding"}


def test_captions_are_of_their_rows_and_frames_lie_in_their_moments(clips: StoryboardClips) -> None:
    moments = 0
    for batch in draw(clips, range(8), captions=3):
        assert len(set(batch.rows)) == len(batch.rows) == 5
        assert len(batch.texts) == len(batch.frames) == 15
        for row, text, frame in zip(batch.rows * 3, batch.texts, batch.frames.tolist(), strict=True):
            told = [caption for caption in clips.captions[row] if caption.text == text]
            assert told
            assert holds(told[0], clips.videos[row])
            times = frame_times_s(clips.videos[row])
            possible = [number for caption in told for number in naive(caption, times)]
            assert frame in possible
            moments += len(possible) < len(times)
    assert moments > 10, "some captions are of a moment only"


def naive(caption: Caption, times: np.ndarray) -> list[int]:
    inside = [number for number, at in enumerate(times) if caption.start_s <= at < caption.end_s]
    if inside:
        return inside
    middle = (caption.start_s + caption.end_s) / 2
    return [min(range(len(times)), key=lambda number: abs(times[number] - middle))]


def test_a_moment_between_two_frames_gets_the_nearest_one() -> None:
    def caption(start_s: float, end_s: float) -> Caption:
        return Caption(text="", kind="scene", claims=(), start_s=start_s, end_s=end_s)

    times = np.array([0.0, 1.0, 2.0, 3.0])
    assert _frames_of(caption(1.0, 3.0), times) == [1, 2], "the end is exclusive"
    assert _frames_of(caption(1.6, 1.9), times) == [2]
    assert _frames_of(caption(5.0, 6.0), times) == [3]


def test_frame_times_are_those_of_rendered_frames(clips: StoryboardClips) -> None:
    for video in clips.videos:
        numbers = frame_times_s(video) * FPS
        assert numbers.tolist() == pytest.approx(np.round(numbers).tolist(), abs=1e-9)
        assert len(numbers) <= NUM_FRAMES
        assert 0 <= numbers[0] <= numbers[-1] < video.num_frames


def test_an_unknown_kind_of_pair_is_named(clips: StoryboardClips) -> None:
    with pytest.raises(InputError, match="'small_object'; did you mean 'small-object'"):
        next(clips.draw(range(1), videos=1, pairs={"small_object": 1}))
