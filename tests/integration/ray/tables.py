"""The rows of an index without what differs between two builds: identifiers and times of indexing."""

from __future__ import annotations

from typing import Any

import numpy as np

from framesift.index import Index

__all__ = ["rows_of", "same_rows"]

FLOATS = ("vector", "frames", "video")


def rows_of(index: Index) -> list[dict[str, Any]]:
    """All moments, by path and start."""
    uris = {record.video_id: record.uri for record in index.videos()}
    rows = index._opened().moments().to_table().to_pylist()
    named = [
        {key: value for key, value in row.items() if key not in ("video_id", "moment_id")}
        | {"uri": uris[row["video_id"]], "number": row["moment_id"].partition(":")[2]}
        for row in rows
    ]
    return sorted(named, key=lambda row: (row["uri"], row["start_s"]))


def same_rows(expected: list[dict[str, Any]], found: list[dict[str, Any]]) -> None:
    """Assert that they are equal; features to one rounding of fp16, as videos are encoded in other batches."""
    assert len(found) == len(expected)
    for one, other in zip(expected, found, strict=True):
        assert {k: v for k, v in other.items() if k not in FLOATS} == {
            k: v for k, v in one.items() if k not in FLOATS
        }
        for name in FLOATS:
            assert (one[name] is None) == (other[name] is None)
            if one[name] is not None:
                np.testing.assert_allclose(
                    np.asarray(other[name], np.float32),
                    np.asarray(one[name], np.float32),
                    rtol=2**-10,
                    atol=1e-5,
                )
