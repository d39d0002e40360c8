from __future__ import annotations

import numpy as np
import pytest

from framesift.errors import ShapeError
from framesift.video import Frames


def some(n: int) -> Frames:
    return Frames(np.zeros((n, 4, 6, 3), dtype=np.uint8), np.arange(n) * 0.5, "a.mp4")


def test_length_and_text() -> None:
    assert len(some(3)) == 3
    assert repr(some(3)) == "<Frames a.mp4 3 x 6x4 0.00-1.00 s>"


def test_picking_rows_keeps_pixels_and_times_together() -> None:
    picked = some(5)[[4, 1]]
    assert picked.times_s.tolist() == [2.0, 0.5]
    assert len(some(5)[1:3]) == 2


def test_end_is_one_interval_after_the_last_frame_if_unmeasured() -> None:
    assert some(4).end_s == 2.0


def test_shapes_must_agree() -> None:
    with pytest.raises(ShapeError, match="times_s"):
        Frames(np.zeros((2, 4, 6, 3), dtype=np.uint8), np.zeros(3), "a.mp4")
    with pytest.raises(ShapeError, match="pixels"):
        Frames(np.zeros((2, 3, 4, 6), dtype=np.uint8), np.zeros(2), "a.mp4")
