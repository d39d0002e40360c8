"""The temporal probe: pooling cannot tell orders apart, a temporal model can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch

from colour_model import COLOURS, ColourModel
from framesift.errors import DecodeError, InputError
from framesift.evaluation.gather import encode_clips, reorder
from framesift.evaluation.probe import temporal_probe
from framesift.features import TextFeatures, VideoFeatures
from framesift.matchers import MeanPool
from framesift.matchers.base import Matcher
from framesift.video import Frames

PAIRS = [(a, b) for a in COLOURS for b in COLOURS if a != b]


@dataclass
class Colours(ColourModel):
    """The colour model, with the interface of a retrieval model."""

    matcher: Matcher = field(default_factory=MeanPool)

    def encode_video(self, videos: Sequence[Any]) -> VideoFeatures:
        frames = [Frames(v.pixels, np.arange(len(v.pixels), dtype=float), "") for v in videos]
        return self.inform(self.encoder.encode_video(frames))


class LastCounts(Colours):
    """Only the last frame says what a video is."""

    def inform(self, video: VideoFeatures) -> VideoFeatures:
        return replace(video, frame=video.frame[:, -1:].expand_as(video.frame))


def clip(colours: Sequence[str]) -> Frames:
    pixels = np.stack([np.full((4, 4, 3), COLOURS[colour], np.uint8) for colour in colours])
    return Frames(pixels, np.arange(len(colours), dtype=float), "made up")


def test_mean_pooling_is_exactly_unmoved_by_order() -> None:
    clips = [clip([a, a, b, b, b]) for a, b in PAIRS]
    found = temporal_probe(Colours(), clips, [f"{a} and {b}" for a, b in PAIRS])
    for order in ("reversed", "shuffled"):
        probed = found[order]
        assert probed.t2v_r1 == found["normal"].t2v_r1
        assert probed.largest == 0
        assert probed.difference is not None
        assert (probed.difference.value, probed.difference.low, probed.difference.high) == (0, 0, 0)
        assert probed.difference.p == 1
    single = found["single"]
    assert single.largest > 0.1, "one frame is another picture"
    assert single.difference is not None
    assert single.difference.value < 0


def test_a_model_that_looks_at_the_last_frame_is_lost_backwards() -> None:
    names = list(COLOURS)
    clips = [clip([names[(i + 1) % len(names)], "white", name]) for i, name in enumerate(names)]
    found = temporal_probe(LastCounts(), clips, names)
    assert found["normal"].t2v_r1 == 100
    assert found["reversed"].t2v_r1 < 50
    difference = found["reversed"].difference
    assert difference is not None
    assert difference.value == found["reversed"].t2v_r1 - 100
    assert difference.high < 0
    assert "difference -" in str(found["reversed"])


def test_orders_of_frames() -> None:
    pixels = np.arange(5)
    generator = np.random.default_rng(0)
    assert reorder(pixels, "normal", generator).tolist() == [0, 1, 2, 3, 4]
    assert reorder(pixels, "reversed", generator).tolist() == [4, 3, 2, 1, 0]
    assert reorder(pixels, "single", generator).tolist() == [2] * 5
    for _ in range(50):
        assert sorted(reorder(pixels[:2], "shuffled", generator).tolist()) == [0, 1]
        assert reorder(pixels[:2], "shuffled", generator).tolist() == [1, 0], "never the order it had"
    for order in ("reversed", "shuffled", "single"):
        assert reorder(pixels[:1], order, generator).tolist() == [0]
        assert reorder(pixels[:0], order, generator).tolist() == []


def test_clips_that_cannot_be_read_are_told_apart() -> None:
    broken = DecodeError("x.mp4", "it is broken")
    clips = [clip(["red"]), broken, *[clip(["blue", "green"])] * 20, broken]
    done: list[int] = []
    encoded = encode_clips(Colours(), clips, progress=done.append)
    assert encoded.rows == (0, *range(2, 22))
    assert list(encoded.failed) == [1, 22]
    assert len(encoded.video) == 21
    assert done == [16, 23]
    alone = Colours().encode_video([clip(["red"])])
    assert torch.equal(encoded.video[:1].frame[:, :1], alone.frame)
    with pytest.raises(InputError, match=r"none of 1 videos could be read; the first: .*broken"):
        encode_clips(Colours(), [broken])
    with pytest.raises(DecodeError, match="broken"):
        temporal_probe(Colours(), clips, ["red"])


def test_text_features_are_the_models_own() -> None:
    assert isinstance(Colours().encode_text(["red"]), TextFeatures)
