"""A segment: what the hot path needs of one fragment of the table ``moments``, in files that are mapped.

A fragment's data files never change, so that a segment, named by them, never does either. Rows that were deleted from
the table later stay in the segment, and are passed over by their offsets in the fragment. ::

    segment.json   sizes and checksums, written last
    rows.arrow     of every row: offset in the fragment, video_id, start_s, end_s, counts and checks
    ids.arrow      of every row: moment_id, which only servers of candidates ask for
    vectors.f32    [row, dim]
    frames.f16     [frame, dim], those of a row one after another; several rows a frame where frames have tokens
    times.f64      [time] seconds
    video.f16      [row, dim], only where a temporal module makes one

What moments are found by lies beside them, where it was made: scenes (see scenes.py) and codes.

``rows.arrow`` is read and checked when a segment is opened, ``ids.arrow`` when it is asked for, and everything else is
mapped and checked row by row when it is read.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .checks import padded, row_checks
from .sealed import Damaged, map_array, map_bytes, read_checked, read_sealed

__all__ = [
    "FRAMES",
    "FRAMES_NAME",
    "HEAD_NAME",
    "IDS_NAME",
    "ROWS_NAME",
    "SCENE",
    "TIMES",
    "TIMES_NAME",
    "VECTOR",
    "VECTORS_NAME",
    "VIDEO",
    "VIDEO_NAME",
    "Segment",
    "fragment_files",
    "inode_of",
    "segment_name",
]

HEAD_NAME = "segment.json"
ROWS_NAME, IDS_NAME, VECTORS_NAME = "rows.arrow", "ids.arrow", "vectors.f32"
FRAMES_NAME, TIMES_NAME, VIDEO_NAME = "frames.f16", "times.f64", "video.f16"
VECTOR, FRAMES, TIMES, VIDEO, SCENE = 1, 2, 3, 4, 5  # what a check is of
CHECKED_ROWS, PAYLOADS = 4096, 1024  # vectors, and rows' frames, read at once when all is checked


def fragment_files(fragment: Any) -> list[str]:
    """The data files of a Lance fragment."""
    return [file.path for file in fragment.data_files()]


def segment_name(files: Iterable[str]) -> str:
    """The name of a fragment's segment, from its data files: these have random names and never change."""
    return hashlib.blake2b("\n".join(files).encode(), digest_size=16).hexdigest()


def inode_of(segment: Path) -> int | None:
    """What tells a segment from another one that took its place: of a file that stays mapped, so that no other gets its
    number. None: there is no such file."""
    try:
        return os.stat(segment / FRAMES_NAME).st_ino
    except OSError:
        return None


@dataclass(frozen=True, eq=False, repr=False)
class Segment:
    """A segment, opened; made by :meth:`open`.

    Attributes:
        path: its folder.
        offset: places of its rows in the fragment, ascending, ``[row]``.
        rows: columns ``video_id`` (a dictionary), ``start_s`` and ``end_s``.
        ids: the file of ``moment_id``, mapped, and its CRC-32.
        vectors: ``[row, dim]``.
        vector_check: :func:`.row_checks` of the vectors, ``[row]``.
        frames, times: of all rows, one after another, ``[frame, dim]`` and ``[time]``.
        frames_inode: see :func:`inode_of`.
        num_frames, num_times: of every row, ``[row]``.
        first_frame, first_time: where those of every row begin, ``[row]``.
        video: ``[row, dim]``, or None.
        payload_check: the sum of the checks of a row's frames, times and video, ``[row]``.
    """

    path: Path
    offset: NDArray[np.int64]
    rows: pa.RecordBatch
    ids: tuple[pa.Buffer, int]
    vectors: NDArray[np.float32]
    vector_check: NDArray[np.uint64]
    frames: NDArray[np.float16]
    times: NDArray[np.float64]
    frames_inode: int | None
    num_frames: NDArray[np.int64]
    num_times: NDArray[np.int64]
    first_frame: NDArray[np.int64]
    first_time: NDArray[np.int64]
    video: NDArray[np.float16] | None
    payload_check: NDArray[np.uint64]

    @classmethod
    def open(cls, path: Path, dim: int) -> Segment:
        """Map a segment's files; reads the small ones.

        Raises:
            Damaged: one of them is not what was written.
        """
        frames_inode = inode_of(path)  # first: another one that takes its place meanwhile is not taken for it
        head = read_sealed(path / HEAD_NAME)
        try:
            rows, frames, times = int(head["rows"]), int(head["frames"]), int(head["times"])
            if head["dim"] != dim:
                raise Damaged(f"{HEAD_NAME} speaks of {head['dim']} dimensions, the index has {dim}")
            content = read_checked(path / ROWS_NAME, head["rows_bytes"], head["rows_crc32"])
            columns = pa.ipc.open_file(content).get_batch(0)
            num_frames, num_times = (columns.column(name).to_numpy() for name in ("frames", "times"))
            return cls(
                path=path,
                offset=columns.column("offset").to_numpy(),
                rows=columns,
                ids=(map_bytes(path / IDS_NAME, head["ids_bytes"]), head["ids_crc32"]),
                vectors=map_array(path / VECTORS_NAME, np.float32, (rows, dim)),
                vector_check=columns.column("vector_check").to_numpy(),
                frames=map_array(path / FRAMES_NAME, np.float16, (frames, dim)),
                times=map_array(path / TIMES_NAME, np.float64, (times,)),
                frames_inode=frames_inode,
                num_frames=num_frames,
                num_times=num_times,
                first_frame=np.cumsum(num_frames) - num_frames,
                first_time=np.cumsum(num_times) - num_times,
                video=map_array(path / VIDEO_NAME, np.float16, (rows, dim)) if head["video"] else None,
                payload_check=columns.column("payload_check").to_numpy(),
            )
        except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
            raise Damaged(f"{HEAD_NAME} or {ROWS_NAME} is of another kind ({error})") from error

    def __len__(self) -> int:
        return len(self.offset)

    def __repr__(self) -> str:
        return f"<Segment {self.path.name[:8]} {len(self)} rows>"

    def in_place(self) -> bool:
        """Whether its name still is its own: a refresh may have dropped it, and written another one of this name,
        without rows that were deleted since. What is mapped stays as it was; what is read by name is another's."""
        return self.frames_inode is not None and inode_of(self.path) == self.frames_inode

    def moment_ids(self) -> pa.Array:
        """Of all its rows. Raises Damaged."""
        content, crc32 = self.ids[0].to_pybytes(), self.ids[1]
        if zlib.crc32(content) != crc32:
            raise Damaged(f"{IDS_NAME} has changed since it was written")
        return pa.ipc.open_file(content).get_batch(0).column("moment_id")

    def check_vectors(self) -> None:
        """Compare all vectors with their checks. Raises Damaged."""
        for first in range(0, len(self), CHECKED_ROWS):
            chosen = slice(first, first + CHECKED_ROWS)
            if (row_checks(self.vectors[chosen], of=VECTOR) != self.vector_check[chosen]).any():
                raise Damaged(f"{VECTORS_NAME} has changed since it was written")

    def check_payload(self) -> None:
        """Compare frames, times and videos of all rows with their checks. Raises Damaged."""
        frame_ends, time_ends = (np.cumsum(counts) for counts in (self.num_frames, self.num_times))
        for first in range(0, len(self), PAYLOADS):
            rows = slice(first, min(first + PAYLOADS, len(self)))
            frames = self.frames[self.first_frame[first] : frame_ends[rows.stop - 1]]
            times = self.times[self.first_time[first] : time_ends[rows.stop - 1]]
            found = row_checks(padded(frames, self.num_frames[rows]), of=FRAMES)
            found = found + row_checks(padded(times, self.num_times[rows]), of=TIMES)
            if self.video is not None:
                found = found + row_checks(self.video[rows], of=VIDEO)
            if (found != self.payload_check[rows]).any():
                raise Damaged("frames, times or videos have changed since they were written")
