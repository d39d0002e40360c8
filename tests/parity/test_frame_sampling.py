"""Frame numbers of the published loaders, against recorded ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from framesift.video import clip4clip_extract_indices, clip4clip_slice, xpool_uniform_indices
from golden_files import golden_files

POSITIONS = ("head", "tail", "uniform")


@pytest.mark.parametrize("path", golden_files("frame_sampling*.json"))
def test_frame_numbers(path: Path) -> None:
    golden = json.loads(path.read_text())
    for case in golden["xpool_uniform"]:
        size = case["num_frames"], case["frame_count"]
        assert xpool_uniform_indices(*size).tolist() == case["index"]
        assert xpool_uniform_indices(*size, pad=True).tolist() == case["frames_after_padding"]
    for case in golden["clip4clip_extract"]:
        assert case["error"] is None
        indices = clip4clip_extract_indices(
            case["frame_count"],
            case["fps_reported"],
            rate=case["sample_fp"],
            start_s=case["start_time"],
            end_s=case["end_time"],
        )
        assert indices.tolist() == case["frame_index"]
    for case in golden["clip4clip_slice"]:
        position = POSITIONS[case["slice_framepos"]]
        rows = clip4clip_slice(case["num_extracted"], case["max_frames"], position=position)
        padded = np.full(case["max_frames"], -1)
        padded[: len(rows)] = rows
        assert padded.tolist() == case["index_with_minus1_padding"]
        assert (padded >= 0).astype(int).tolist() == case["video_mask"]
