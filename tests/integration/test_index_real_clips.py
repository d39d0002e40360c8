"""The issue of every healthy clip: an index of real files, checked against sequential decoding."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from framesift import Index, Uniform
from framesift.video import decode_all


def test_every_real_clip_is_indexed_with_its_rotation_and_times(real_data: Path, tmp_path: Path) -> None:
    truth = {entry["video"]: entry for entry in json.loads((real_data / "captions.json").read_text())}
    with Index.create(tmp_path / "index", model="storyboard-clip") as index:
        report = index.add(real_data / "clips")
        assert report.failed == []
        assert report.added == len(truth)
        records = {f"clips/{Path(record.uri).name}": record for record in index.videos()}
        assert set(records) == set(truth)
        hits = {f"clips/{Path(hit.video).name}": hit for hit in index.search("anything", k=100, unit="video")}
        assert set(hits) == set(truth)
    for name, entry in truth.items():
        record, hit = records[name], hits[name]
        upright = (entry["width"], entry["height"])
        if entry["rotation_deg"] % 180:
            upright = upright[::-1]
        assert (record.width, record.height) == upright, name
        assert record.rotation is not None
        assert (record.rotation - entry["rotation_deg"]) % 360 == 0, name
        times = np.array([time for time, _ in decode_all(entry_path(real_data, name))])
        assert len(times) == entry["n_frames"], name
        if hit.start_s == 0.0 and hit.end_s == pytest.approx(record.duration_s or 0.0):
            # kept whole: the frames on display at the middles of twelve equal parts
            targets = Uniform(num_frames=12).times(0.0, record.duration_s or 0.0)
            shown = np.unique(np.clip(np.searchsorted(times, targets + 1e-9, side="right") - 1, 0, None))
            np.testing.assert_allclose(hit.frame_times_s, times[shown], atol=1e-6, err_msg=name)
        else:
            assert all(np.abs(times - time).min() < 1e-6 for time in hit.frame_times_s), name


def entry_path(real_data: Path, name: str) -> Path:
    return real_data / name
