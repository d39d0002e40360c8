"""Making segments and codes; nothing bears its final name before it is whole and synced."""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..columns import list_lengths, list_values
from ..durable import fsync_path
from .checks import padded, row_checks
from .sealed import write_sealed
from .segment import (
    FRAMES,
    FRAMES_NAME,
    HEAD_NAME,
    IDS_NAME,
    ROWS_NAME,
    TIMES,
    TIMES_NAME,
    VECTOR,
    VECTORS_NAME,
    VIDEO,
    VIDEO_NAME,
    fragment_files,
    segment_name,
)

__all__ = ["DRAFT", "write_segment"]

DRAFT = ".draft-"  # what the folders of unfinished segments begin with
COLUMNS = ("moment_id", "video_id", "start_s", "end_s", "vector", "frames", "frame_times_s", "video")
BATCH = 1024  # rows in memory at once: 14 MiB at 12 frames x 512, whatever the size of the fragment
SMALL_COLUMNS = (
    "offset",
    "moment_id",
    "start_s",
    "end_s",
    "frames",
    "times",
    "vector_check",
    "payload_check",
)


def write_segment(folder: Path, fragment: Any, dim: int) -> Path:
    """Copy a fragment's rows, without those deleted from it so far, into a new segment.

    Args:
        folder: of the segments.
        fragment: a Lance fragment of the table ``moments``.
        dim: width of the embeddings.

    Returns:
        The segment's folder.

    Raises:
        OSError: it cannot be written; nothing stays of it then, or a draft that the next refresh deletes.
    """
    files = fragment_files(fragment)
    target = folder / segment_name(files)
    draft = folder / f"{DRAFT}{target.name}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        head = _write_files(draft, fragment, dim)
        write_sealed(draft / HEAD_NAME, {"fragment": files, "dim": dim, **head})
        draft.rename(target)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    fsync_path(folder)
    return target


def _write_files(draft: Path, fragment: Any, dim: int) -> dict[str, Any]:
    columns: dict[str, list[pa.Array]] = {name: [] for name in (*SMALL_COLUMNS, "video_id")}
    totals = {"rows": 0, "frames": 0, "times": 0}
    has_video = False
    with ExitStack() as stack:

        def opened(name: str) -> IO[bytes]:
            return stack.enter_context((draft / name).open("wb"))

        vectors, frames, times, video = map(opened, (VECTORS_NAME, FRAMES_NAME, TIMES_NAME, VIDEO_NAME))
        for batch in _batches(fragment):
            own = _Numbers(batch, dim)
            has_video = own.video is not None
            for file, numbers in ((vectors, own.vectors), (frames, own.frames), (times, own.times)):
                file.write(numbers.tobytes())
            if own.video is not None:
                video.write(own.video.tobytes())
            small = [
                (batch["_rowaddr"].to_numpy() & np.uint64(0xFFFFFFFF)).astype(np.int64),
                batch["moment_id"],
                batch["start_s"],
                batch["end_s"],
                own.num_frames,
                own.num_times,
                row_checks(own.vectors, of=VECTOR),
                own.payload_checks(),
            ]
            for name, values in zip(SMALL_COLUMNS, small, strict=True):
                columns[name].append(pa.array(values))
            columns["video_id"].append(batch["video_id"])
            totals["rows"] += batch.num_rows
            totals["frames"] += len(own.frames)
            totals["times"] += len(own.times)
        for file in (vectors, frames, times, video):
            file.flush()
            os.fsync(file.fileno())
    if not has_video:
        (draft / VIDEO_NAME).unlink()
    joined = {name: pa.concat_arrays(parts) for name, parts in columns.items()}
    joined["video_id"] = joined["video_id"].dictionary_encode()
    ids = _write_columns(draft / IDS_NAME, {"moment_id": joined.pop("moment_id")})
    rows = _write_columns(draft / ROWS_NAME, joined)
    return {
        **totals,
        "video": has_video,
        "rows_bytes": rows[0],
        "rows_crc32": rows[1],
        "ids_bytes": ids[0],
        "ids_crc32": ids[1],
    }


def _write_columns(path: Path, columns: dict[str, pa.Array]) -> tuple[int, int]:
    """Its size and CRC-32."""
    batch = pa.RecordBatch.from_pydict(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    content = sink.getvalue()
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return content.size, zlib.crc32(content)


def _batches(fragment: Any) -> Iterator[pa.RecordBatch]:
    return iter(fragment.to_batches(columns=list(COLUMNS), batch_size=BATCH, with_row_address=True))


class _Numbers:
    """The numbers of a batch of rows, each kind one after another."""

    def __init__(self, batch: pa.RecordBatch, dim: int) -> None:
        table = pa.Table.from_batches([batch])
        self.vectors: NDArray[np.float32] = list_values(table["vector"]).astype(np.float32).reshape(-1, dim)
        self.frames: NDArray[np.float16] = list_values(table["frames"]).astype(np.float16).reshape(-1, dim)
        self.times: NDArray[np.float64] = list_values(table["frame_times_s"]).astype(np.float64)
        self.num_frames = (list_lengths(table["frames"]) // dim).astype(np.int64)
        self.num_times = list_lengths(table["frame_times_s"]).astype(np.int64)
        video = table["video"]
        self.video: NDArray[np.float16] | None = None
        if video.null_count < len(video):
            self.video = list_values(video).astype(np.float16).reshape(-1, dim)

    def payload_checks(self) -> NDArray[np.uint64]:
        found = row_checks(padded(self.frames, self.num_frames), of=FRAMES)
        found = found + row_checks(padded(self.times, self.num_times), of=TIMES)
        return found if self.video is None else found + row_checks(self.video, of=VIDEO)
