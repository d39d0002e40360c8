"""An index as a gallery: the coarse vectors in memory, everything else read from the table when asked for.

Scoring every vector exactly takes 3 ms per 100,000 moments of width 512 on a core, so that no approximate
index is needed up to some 100,000 moments; the vectors take 2 KiB of memory each.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from ..features import TextFeatures, VideoFeatures
from ..ranking import Gallery, exact_candidates
from .schema import IndexMeta, VideoRecord, from_column, tags_of
from .store import Store, lance_errors

__all__ = ["Catalogue", "LanceGallery", "MomentRow", "list_lengths", "list_values"]

COLUMNS = ("video_id", "start_s", "end_s", "vector")


@dataclass(frozen=True, kw_only=True)
class MomentRow:
    """Where a row of the gallery lies: a stretch of a video file, in seconds."""

    video_id: str
    uri: str
    start_s: float
    end_s: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Catalogue:
    """The videos of a gallery, by number, and whose the rows are.

    Attributes:
        video_ids, uris: of every video; the path is absolute.
        mtime_ns: when its file was last changed, as it was indexed.
        duration_s: its length; NaN where it is not known.
        tags: the user's.
        video: number of every row's video, ``[row]``.
    """

    video_ids: tuple[str, ...]
    uris: tuple[str, ...]
    mtime_ns: NDArray[np.int64]
    duration_s: NDArray[np.float64]
    tags: tuple[tuple[str, ...], ...]
    video: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Fragment:
    """The part of the table that one commit wrote, as held in memory; rows in the table's order."""

    video_id: list[str]
    start_s: np.ndarray
    end_s: np.ndarray
    vector: np.ndarray

    @classmethod
    def read(cls, fragment: Any, dim: int) -> _Fragment:
        table = fragment.to_table(columns=list(COLUMNS))
        flat = table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return cls(
            table["video_id"].to_pylist(),
            table["start_s"].to_numpy(),
            table["end_s"].to_numpy(),
            flat.reshape(-1, dim),
        )


class LanceGallery(Gallery):
    """One consistent state of an index; :meth:`refreshed` gives the next.

    A row is a moment, numbered in the table's order. Moments without a row in ``videos`` are not part of it.
    """

    def __init__(self, store: Store, meta: IndexMeta, *, earlier: LanceGallery | None = None) -> None:
        snapshot = store.snapshot()
        self.version = snapshot.version
        self._store, self._meta = store, meta
        videos = snapshot.videos(columns=["video_id", "uri", "mtime_ns", "duration_s", "metadata"])
        self._uri: dict[str, str] = dict(
            zip(videos["video_id"].to_pylist(), map(from_column, videos["uri"].to_pylist()), strict=True)
        )
        self._videos = videos
        self._dataset = snapshot.moments
        self._fragments = self._read_fragments(earlier._fragments if earlier else {})
        parts = list(self._fragments.values())
        owner = [video_id for part in parts for video_id in part.video_id]
        self._offset = np.array(
            [i for i, video_id in enumerate(owner) if video_id in self._uri], dtype=np.int64
        )
        self._video_id = [owner[i] for i in self._offset]
        self._start_s = _joined([part.start_s for part in parts])[self._offset]
        self._end_s = _joined([part.end_s for part in parts])[self._offset]
        empty = np.zeros((0, meta.dim), np.float32)
        vectors = np.concatenate([empty, *(part.vector for part in parts)])
        self._vectors = torch.from_numpy(
            vectors if len(self._offset) == len(vectors) else vectors[self._offset]
        )

    def __len__(self) -> int:
        return len(self._offset)

    def __repr__(self) -> str:
        return f"<LanceGallery {len(self)} moments of {len(self._uri)} videos>"

    def refreshed(self) -> LanceGallery:
        """This gallery, or a new one if the index has changed; only what was written since is read."""
        if self._store.version() == self.version:
            return self
        return LanceGallery(self._store, self._meta, earlier=self)

    def candidates(self, text: TextFeatures, depth: int | None) -> Int64[Tensor, "text candidate"]:
        return exact_candidates(text, self._vectors, depth)

    @property
    def vectors(self) -> Float[Tensor, "row dim"]:
        """The coarse vector of every row: the unit-normalised mean of its frames. Not a copy: do not write to it."""
        return self._vectors

    @property
    def num_frames(self) -> int:
        """Frames to which features are padded at least."""
        return self._meta.num_frames

    @property
    def start_s(self) -> NDArray[np.float64]:
        """Where every row begins in its video, in seconds, ``[row]``."""
        return self._start_s

    @property
    def end_s(self) -> NDArray[np.float64]:
        """Where every row ends (exclusive), in seconds, ``[row]``."""
        return self._end_s

    @cached_property
    def catalogue(self) -> Catalogue:
        """What is known of the videos of the rows."""
        number = {video_id: i for i, video_id in enumerate(self._uri)}
        duration = self._videos["duration_s"].to_pylist()
        return Catalogue(
            video_ids=tuple(self._uri),
            uris=tuple(self._uri.values()),
            mtime_ns=self._videos["mtime_ns"].to_numpy(),
            duration_s=np.array([np.nan if s is None else s for s in duration], dtype=np.float64),
            tags=tuple(map(tags_of, self._videos["metadata"].to_pylist())),
            video=np.array([number[video_id] for video_id in self._video_id], dtype=np.int64),
        )

    def features(self, rows: Int64[Tensor, " row"]) -> VideoFeatures:
        return self.features_and_times(rows)[0]

    def features_and_times(self, rows: Int64[Tensor, " row"]) -> tuple[VideoFeatures, list[list[float]]]:
        """Features of those rows, padded to the model's number of frames, and their real frames' times."""
        columns = ["frames", "frame_times_s", "video"]
        with lance_errors(self._store.index, "read"):
            table: pa.Table = self._dataset.take(self._offset[rows.numpy()].tolist(), columns=columns)
        times: list[list[float]] = table["frame_times_s"].to_pylist()
        lengths = list_lengths(table["frames"]) // self._meta.dim
        longest = max([self._meta.num_frames, *lengths.tolist()])
        mask = np.arange(longest) < lengths[:, None]
        frame = np.zeros((len(times), longest, self._meta.dim), np.float32)
        frame[mask] = list_values(table["frames"]).reshape(-1, self._meta.dim)
        features = VideoFeatures(
            frame=torch.from_numpy(frame),
            frame_mask=torch.from_numpy(mask),
            video=self._video(table["video"]),
        )
        return features, times

    def _video(self, column: pa.ChunkedArray) -> Tensor | None:
        if column.null_count == len(column):
            return None
        return torch.from_numpy(list_values(column).reshape(-1, self._meta.dim).astype(np.float32))

    def moment(self, row: int) -> MomentRow:
        """Where a row lies."""
        video_id = self._video_id[row]
        return MomentRow(
            video_id=video_id,
            uri=self._uri[video_id],
            start_s=float(self._start_s[row]),
            end_s=float(self._end_s[row]),
        )

    def records(self, rows: Int64[Tensor, " row"]) -> list[VideoRecord | None]:
        """What the index knows now of the files of those rows; None where a file was forgotten since."""
        owners = [self._video_id[row] for row in rows.tolist()]
        quoted = ", ".join("'" + video_id.replace("'", "''") + "'" for video_id in sorted(set(owners)))
        found = self._store.videos(
            columns=[field.name for field in fields(VideoRecord)], where=f"video_id IN ({quoted})"
        )
        records = {row["video_id"]: VideoRecord.from_row(row) for row in found.to_pylist()}
        return [records.get(video_id) for video_id in owners]

    def rows_of(self, uri: str) -> list[int]:
        """The rows of one video file."""
        return self._rows_by_uri.get(uri, [])

    @cached_property
    def _rows_by_uri(self) -> dict[str, list[int]]:
        rows: dict[str, list[int]] = {}
        for row, video_id in enumerate(self._video_id):
            rows.setdefault(self._uri[video_id], []).append(row)
        return rows

    def _read_fragments(
        self, earlier: dict[tuple[int, str, str], _Fragment]
    ) -> dict[tuple[int, str, str], _Fragment]:
        """Fragments never change but for their list of deleted rows, so what was read once is kept."""
        fragments: dict[tuple[int, str, str], _Fragment] = {}
        with lance_errors(self._store.index, "read"):
            for fragment in self._dataset.get_fragments():
                data = ",".join(file.path for file in fragment.data_files())
                key = (fragment.fragment_id, data, fragment.deletion_file() or "")
                fragments[key] = earlier.get(key) or _Fragment.read(fragment, self._meta.dim)
        return fragments


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0), *parts])


def list_lengths(column: pa.ChunkedArray) -> np.ndarray:
    """How many numbers each list of a column holds."""
    return np.concatenate(
        [np.zeros(0, np.int64), *(chunk.value_lengths().to_numpy() for chunk in column.chunks)]
    )


def list_values(column: pa.ChunkedArray) -> np.ndarray:
    """All numbers of a column of lists, one after another."""
    return np.concatenate(
        [
            np.zeros(0, np.float16),
            *(chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks),
        ]
    )
