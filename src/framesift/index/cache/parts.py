"""One fragment of the table ``moments`` as it is read: from its segment, or from the table where there is none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..columns import list_values
from .folder import CacheFolder
from .segment import Segment, fragment_files

__all__ = ["Part", "part_key", "part_of", "part_of_table"]

COLUMNS = ("moment_id", "video_id", "start_s", "end_s", "vector")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Part:
    """The rows of one fragment that are not deleted, in its order.

    Attributes:
        video_id: whose they are, a dictionary.
        start_s, end_s: in seconds, ``[row]``.
        vectors: ``[stored row, dim]``.
        moment_id: their keys; None: the segment has them.
        stored: which of the stored rows every row is, ``[row]``; None: all of them, in order.
        segment: where features are read; None: the table.
    """

    video_id: pa.DictionaryArray
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    vectors: NDArray[np.float32]
    moment_id: pa.Array | None = None
    stored: NDArray[np.int64] | None = None
    segment: Segment | None = None

    def __len__(self) -> int:
        return len(self.start_s)

    def __repr__(self) -> str:
        return f"<Part {len(self)} rows of {self.segment or 'the table'}>"

    def place(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The stored rows of some rows."""
        return rows if self.stored is None else self.stored[rows]


def part_key(fragment: Any) -> tuple[int, str, str]:
    """What a part depends on: a fragment's data files never change, and its list of deleted rows has a new name when it
    does."""
    return fragment.fragment_id, ",".join(fragment_files(fragment)), fragment.deletion_file() or ""


def part_of(fragment: Any, cache: CacheFolder | None, dim: int) -> Part:
    """A fragment's rows, from its segment if it has one that holds them."""
    segment = None if cache is None else cache.segment_of(fragment)
    if segment is not None:
        part = _of_segment(fragment, segment)
        if part is not None:
            return part
    return part_of_table(fragment, dim)


def _of_segment(fragment: Any, segment: Segment) -> Part | None:
    """None where the segment lacks rows: deleted when it was made, but not in the version that is read."""
    whole = Part(
        video_id=segment.rows.column("video_id"),
        start_s=segment.rows.column("start_s").to_numpy(),
        end_s=segment.rows.column("end_s").to_numpy(),
        vectors=segment.vectors,
        segment=segment,
    )
    deleted = fragment.deletion_file() is not None
    if not deleted:
        return whole if fragment.physical_rows == len(segment) else None
    addresses = fragment.scanner(columns=[], with_row_address=True).to_table()["_rowaddr"].to_numpy()
    live = (addresses & np.uint64(0xFFFFFFFF)).astype(np.int64)
    stored = np.searchsorted(segment.offset, live)
    if (stored == len(segment)).any() or (segment.offset[stored] != live).any():
        return None
    if len(live) == len(segment):
        return whole
    chosen = pa.array(stored)
    return replace(
        whole,
        video_id=whole.video_id.take(chosen),
        start_s=whole.start_s[stored],
        end_s=whole.end_s[stored],
        stored=stored,
    )


def part_of_table(fragment: Any, dim: int) -> Part:
    """A fragment's rows from the table: everything but the payload in memory."""
    table = fragment.to_table(columns=list(COLUMNS)).combine_chunks()
    ids = table["video_id"].dictionary_encode()
    return Part(
        video_id=ids.chunk(0) if ids.num_chunks else pa.array([], pa.string()).dictionary_encode(),
        moment_id=table["moment_id"].chunk(0) if table.num_rows else pa.array([], pa.string()),
        start_s=table["start_s"].to_numpy(),
        end_s=table["end_s"].to_numpy(),
        vectors=list_values(table["vector"]).astype(np.float32).reshape(-1, dim),
    )
