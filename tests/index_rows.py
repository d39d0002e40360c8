"""Rows for the tables of an index, without any video behind them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from framesift.index.schema import IndexMeta, VideoRecord, moments_schema

__all__ = ["DIM", "META", "moments", "record"]

DIM = 4
META = IndexMeta(fingerprint="f" * 32, dim=DIM, num_frames=3, moments="whole", model="some-model")


def record(name: str, **changes: object) -> VideoRecord:
    """A video of that id."""
    values = {
        "video_id": name,
        "uri": f"/videos/{name}.mp4",
        "content_hash": name,
        "mtime_ns": 1,
        "size_bytes": 2,
        "added_at": "2026-01-01T00:00:00+00:00",
    }
    return VideoRecord(**(values | changes))


def moments(*starts: tuple[str, float]) -> pa.Table:
    """A moment of two equal frames for each video id and start in seconds."""
    rows = [
        {
            "moment_id": f"{video_id}:{start:.3f}",
            "video_id": video_id,
            "start_s": start,
            "end_s": start + 1,
            "vector": np.full(DIM, 0.5, np.float32),
            "frames": np.full(2 * DIM, 2.0, np.float16),
            "frame_times_s": [start, start + 0.5],
            "fingerprint": META.fingerprint,
        }
        for video_id, start in starts
    ]
    return pa.Table.from_pylist(rows, schema=moments_schema(DIM))
