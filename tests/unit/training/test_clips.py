"""Which frames are seen, and the crop."""

from pathlib import Path

import numpy as np
import pytest

from clip_maker import make_clip
from framesift.encoders import Preprocess
from framesift.errors import ConfigError
from framesift.storyboard import storyboards
from framesift.training.clips import ClipDecoder, EverySecond, Jittered, crop_and_flip, request
from framesift.video import Uniform

SMALL = Preprocess(shortest_edge=32, crop=(32, 32))


def test_every_second_is_thinned_as_clip4clip_does() -> None:
    assert EverySecond(max_frames=12).times(0.0, 3.4).tolist() == [0.0, 1.0, 2.0, 3.0]
    assert EverySecond(max_frames=12).times(5.0, 7.0).tolist() == [5.0, 6.0]
    assert EverySecond(max_frames=12).times(0.0, 0.2).tolist() == [0.0]
    assert EverySecond(max_frames=4).times(0.0, 10.0).tolist() == [0.0, 3.0, 6.0, 9.0]


def test_jittered_times_are_one_of_each_part_and_the_same_for_a_seed() -> None:
    times = Jittered(num_frames=6, seed=3).times(2.0, 8.0)
    assert [int(time) for time in times] == [2, 3, 4, 5, 6, 7]
    assert times.tolist() == Jittered(num_frames=6, seed=3).times(2.0, 8.0).tolist()
    assert times.tolist() != Jittered(num_frames=6, seed=4).times(2.0, 8.0).tolist()


def test_a_crop_is_the_same_part_of_every_frame_of_half_the_picture_or_more() -> None:
    ramp = np.stack(np.meshgrid(np.arange(200), np.arange(120), indexing="xy"), axis=-1).astype(np.uint8)
    picture = np.concatenate([ramp, np.zeros((120, 200, 1), np.uint8)], axis=2)
    clip = np.stack([picture, picture])
    flips = 0
    for seed in range(200):
        found = crop_and_flip(clip, (32, 32), np.random.default_rng(seed))
        assert found.shape == (2, 32, 32, 3)
        assert (found[0] == found[1]).all(), "one draw for all frames"
        x, y = found[0, 0, :, 0].astype(int), found[0, :, 0, 1].astype(int)
        flips += x[0] > x[-1]
        width, height = abs(x[-1] - x[0]) * 32 / 31, abs(y[-1] - y[0]) * 32 / 31
        assert 0.45 < width * height / (120 * 200) <= 1.05
        assert 0.70 < width / height < 1.40
    assert 70 < flips < 130


def test_a_picture_of_which_no_part_fits_gives_its_middle() -> None:
    found = crop_and_flip(np.zeros((1, 4, 400, 3), np.uint8), (8, 8), np.random.default_rng(0))
    assert found.shape == (1, 8, 8, 3)


def test_frames_of_a_request(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", 50)
    plain = ClipDecoder(preprocessing=SMALL, num_frames=4)
    whole = plain(request(str(path)), Uniform(num_frames=4))
    assert whole.pixels.shape == (4, 32, 32, 3)
    moment = plain(request(str(path), start_s=1.0, end_s=1.5), Uniform(num_frames=4))
    assert moment.times_s.min() >= 0.99
    assert moment.times_s.max() < 1.5
    random = ClipDecoder(preprocessing=SMALL, num_frames=4, jitter=True, augmentation="xpool")
    one, same, other = (random(request(str(path), draw), Uniform(num_frames=4)) for draw in (7, 7, 8))
    assert (one.pixels == same.pixels).all()
    assert one.pixels.shape == (4, 32, 32, 3)
    assert one.times_s.tolist() != other.times_s.tolist()


def test_storyboards_are_rendered() -> None:
    (board,) = storyboards("train", 1, start=5)
    clip = ClipDecoder(preprocessing=SMALL, num_frames=3)(
        request(f"storyboard:{board.seed}"), Uniform(num_frames=3)
    )
    assert clip.pixels.shape == (3, 32, 32, 3)


def test_no_crop_for_encoders_that_keep_the_aspect() -> None:
    with pytest.raises(ConfigError, match="keeps the aspect"):
        ClipDecoder(preprocessing=Preprocess(max_num_patches=16), num_frames=3, augmentation="xpool")
