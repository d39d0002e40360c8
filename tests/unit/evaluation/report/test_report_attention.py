"""Examples of attention: which frames a caption speaks of, and what is drawn for each part of an explanation."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from framesift.evaluation.report import attention_examples, chosen_examples, render_report, true_frames
from framesift.evaluation.report.attention import _grid, _overlays  # pyright: ignore[reportPrivateUsage]
from framesift.evaluation.report.blocks import Pictures
from framesift.evaluation.storyboard import frames_of
from framesift.explanation import Explanation
from framesift.storyboard import holds


def test_frames_are_true_exactly_while_a_scene_is_that_the_caption_speaks_of() -> None:
    for caption, video in chosen_examples():
        frames = frames_of(video)
        true = true_frames(caption, video, frames)
        assert holds(caption, video)
        assert any(true)
        assert not all(true)
        for time_s, told in zip(frames.times_s, true, strict=True):
            (scene,) = [
                scene
                for number, scene in enumerate(video.scenes)
                if video.span_s(number)[0] - 1e-9 <= time_s < video.span_s(number)[1] - 1e-9
            ]
            assert told == any(claim.holds(scene) for claim in caption.claims)


def test_an_example_holds_caption_system_score_weights_and_pictures() -> None:
    (example,) = chosen_examples(1)
    (block,) = attention_examples(["storyboard-xpool"], [example])
    assert isinstance(block, Pictures)
    assert block.caption == example[0].text
    (row,) = block.rows
    assert row.system == "storyboard-xpool"
    assert dict(row.scores).keys() == {"similarity"}
    assert row.weights is not None
    assert abs(sum(row.weights) - 1) < 1e-3
    assert len(row.weights) == len(block.frames)
    assert _picture(block.frames[0].source).size == (112, 112)
    page = render_report({}, examples=[block])
    assert page.count("data:image/jpeg") == len(block.frames)
    assert "storyboard-xpool" in page


def _picture(source: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/jpeg;base64,"))))


@pytest.mark.parametrize("grey", [5, 120, 250])
def test_a_map_is_red_where_the_weight_is_on_dark_and_light_scenes(grey: int) -> None:
    pixels = np.full((1, 64, 64, 3), grey, dtype=np.uint8)
    weights = torch.zeros(1, 5)
    # the class token counts for nothing; the last patch is bottom right
    weights[0, 0], weights[0, 4] = 5.0, 1.0
    (source,) = _overlays(pixels, weights) or []
    seen = np.asarray(_picture(source)).astype(int)
    red = seen[..., 0] - seen[..., 1]
    assert red[48, 48] > 100
    assert abs(red[16, 16]) < 6
    assert abs(red[48, 16]) < 6
    assert _overlays(pixels, torch.zeros(1, 4)) is None


def test_words_are_shown_against_frames_without_the_borders_of_the_text() -> None:
    (example,) = chosen_examples(1)
    frames = frames_of(example[1])
    grid = torch.arange(3.0)[:, None].expand(3, len(frames)).contiguous()
    found = Explanation(words=("<start>", "red", "<end>"), word_frame=grid)
    block = _grid("x", frames, found)
    assert block is not None
    assert block.words == ["red"]
    assert block.cells[0][0][0] == "1.00"
