"""The measurement of rich search: what its numbers mean."""

from __future__ import annotations

import numpy as np
import pytest

from framesift.evaluation.moment_search.exclusion import auc, average_precision
from framesift.evaluation.moment_search.galleries import article, seen, shown_things
from framesift.evaluation.moment_search.order import measure_order, two_steps
from framesift.hub import load
from framesift.storyboard import order_pairs, standard


def test_a_caption_of_two_scenes_is_its_two_scenes() -> None:
    assert two_steps("first a red dot, then a blue ring") == ("a red dot", "a blue ring")
    assert two_steps("a red dot, and then a blue ring") == ("a red dot", "a blue ring")
    assert two_steps("a red dot, followed by a blue ring") == ("a red dot", "a blue ring")
    one, other = (two_steps(text) for text in order_pairs(1).texts)
    assert one == other[::-1]
    for text in order_pairs(40).texts:
        assert all(two_steps(text))


def test_auc_counts_pairs_in_order() -> None:
    dice = np.random.default_rng(0)
    high, low = dice.integers(0, 6, 40).astype(float), dice.integers(0, 5, 30).astype(float)
    naive = np.mean([(a > b) + (a == b) / 2 for a in high for b in low])
    assert auc(high, low) == pytest.approx(naive)
    assert auc(np.array([2.0]), np.array([1.0])) == 1.0


def test_average_precision_is_the_mean_of_precisions() -> None:
    scores, relevant = np.array([4.0, 3.0, 2.0, 1.0]), np.array([True, False, True, False])
    assert average_precision(scores, relevant) == pytest.approx((1 / 1 + 2 / 3) / 2)


def test_things_are_named_as_a_person_would() -> None:
    assert article("orange star") == "an orange star"
    assert article("red circle") == "a red circle"
    (video,) = standard(1).videos
    assert shown_things(video) == {
        f"{one.color} {one.shape}" for scene in video.scenes for one in scene.objects
    }


def test_steps_tell_an_order_that_a_mean_of_frames_cannot() -> None:
    name = "storyboard-clip"
    found = measure_order({name: load(name, device="cpu").eval()}, pairs=6, start=2000)
    assert found["videos"] == 12
    assert found["galleries"]["among foreign scenes"][name]["A then B"]["pair"] > 60
    ways = found["galleries"]["alone"][name]
    assert ways["A and B, in any order"]["pair"] == 50.0
    assert ways["A then B"]["pair"] > 80
    gain = ways["A then B"]["r1_gain"]
    assert gain["value"] == pytest.approx(ways["A then B"]["r1"] - ways["one sentence"]["r1"])


def test_models_that_share_an_encoder_see_the_same_frames() -> None:
    names = ("storyboard-clip", "storyboard-xpool")
    galleries = seen({name: load(name, device="cpu").eval() for name in names}, standard(2).videos)
    one, other = (galleries[name].video for name in names)
    assert one.frame.equal(other.frame)
    assert one.frame_mask.equal(other.frame_mask)
