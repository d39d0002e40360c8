"""An index as a gallery: vectors, frames and codes mapped from its cache, or read from the table where there is none.

Which rows are proposed for a text is decided by an engine that is chosen by size (:mod:`framesift.candidates`); what
comes after it is the same for all of them.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from ..candidates import CandidateConfig, default_depth
from ..features import TextFeatures, VideoFeatures, unit
from ..ranking import Gallery
from .cache import CacheFolder
from .cache.rows import MomentRows
from .cache.vectors import MomentVectors
from .engine import engine_for
from .schema import IndexMeta, VideoRecord, from_column, tags_of, to_column
from .store import Store

if TYPE_CHECKING:
    from ..candidates import CandidateIndex

__all__ = ["Catalogue", "LanceGallery", "MomentRow"]

FoundBy: TypeAlias = Literal["mean", "scene"]


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


def _by_mean() -> FoundBy:
    return "mean"


class LanceGallery(Gallery):
    """One consistent state of an index; :meth:`refreshed` gives the next. Threads may share it.

    A row is a moment, numbered in the table's order. Moments without a row in ``videos`` are not part of it.

    Args:
        store: of the index.
        meta: of the index.
        config: what proposes candidates; default: chosen by size.
        found_by: what the model's matcher calls for, where ``config`` leaves that open; asked when an engine is made,
            so that nobody loads a model to look at an index. Default: the mean, as :class:`.MemoryGallery` has it.
        earlier: of an earlier version; what it has read is not read again.
    """

    def __init__(
        self,
        store: Store,
        meta: IndexMeta,
        *,
        config: CandidateConfig | None = None,
        found_by: Callable[[], FoundBy] = _by_mean,
        earlier: LanceGallery | None = None,
    ) -> None:
        snapshot = store.snapshot()
        self.version = snapshot.version
        self.config = config or CandidateConfig()
        self._store, self._meta, self._found_by = store, meta, found_by
        self._videos = snapshot.videos(
            columns=["video_id", "uri", "mtime_ns", "duration_s", "metadata"]
        ).combine_chunks()
        self._cache = earlier._cache if earlier else CacheFolder(store.cache_folder, meta.dim)
        self._rows = MomentRows(
            store.index,
            snapshot.moments,
            self._cache,
            meta.dim,
            earlier=earlier._rows if earlier else None,
        )
        numbers = self._numbers()
        known = numbers >= 0
        self._offset = None if known.all() else np.flatnonzero(known)
        self.video: NDArray[np.int64] = numbers if self._offset is None else numbers[self._offset]
        """Number of every row's video in :attr:`catalogue`, ``[row]``."""
        self.start_s: NDArray[np.float64] = self._column("start_s")
        """Where every row begins in its video, in seconds, ``[row]``."""
        self.end_s: NDArray[np.float64] = self._column("end_s")
        """Where every row ends (exclusive), in seconds, ``[row]``."""
        self._vectors = MomentVectors(self._rows, self._offset)
        self._lock = threading.Lock()
        self._engine: CandidateIndex | None = None

    def _numbers(self) -> NDArray[np.int64]:
        """Of every row of the table the number of its video, -1 where there is none."""
        parts = self._rows.parts
        names = [part.video_id.dictionary for part in parts]
        found = pc.call_function(
            "index_in", [pa.chunked_array(names, pa.string())], pc.SetLookupOptions(value_set=self._ids)
        )
        number_of = found.fill_null(-1).to_numpy().astype(np.int64)
        numbers: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
        first = 0
        for part, own in zip(parts, names, strict=True):
            numbers.append(number_of[first : first + len(own)][part.video_id.indices.to_numpy()])
            first += len(own)
        return np.concatenate(numbers)

    def _column(self, name: str) -> NDArray[np.float64]:
        joined = np.concatenate([np.zeros(0), *(getattr(part, name) for part in self._rows.parts)])
        return joined if self._offset is None else joined[self._offset]

    @property
    def _ids(self) -> pa.Array:
        return _array(self._videos["video_id"])

    @property
    def _uris(self) -> pa.Array:
        return _array(self._videos["uri"])

    def __len__(self) -> int:
        return len(self.video)

    def __repr__(self) -> str:
        return f"<LanceGallery {len(self)} moments of {len(self._videos)} videos>"

    def refreshed(self) -> LanceGallery:
        """This gallery, or a new one if the index has changed; only what was written since is read."""
        if self._store.version() == self.version:
            return self
        return LanceGallery(
            self._store, self._meta, config=self.config, found_by=self._found_by, earlier=self
        )

    # ---- candidates

    @property
    def engine(self) -> CandidateIndex:
        """What proposes candidates; made when it is first asked for.

        Raises:
            InputError: the index's cache lacks what :attr:`config` asks for.
            IndexStateError: a server cannot be reached.
        """
        with self._lock:
            if self._engine is None:
                self._engine = engine_for(
                    self.config,
                    self._store.index,
                    self._rows,
                    self._offset,
                    found_by=self._found_by,
                    vectors=self._vectors,
                    moment_ids=self.moment_ids,
                    fingerprint=self._meta.fingerprint,
                    version=self.version,
                )
            return self._engine

    @property
    def default_depth(self) -> int:
        """How many candidates are compared frame by frame where nobody says."""
        return default_depth(len(self))

    def candidates(
        self, text: TextFeatures, depth: int | None, *, allowed: NDArray[np.bool_] | None = None
    ) -> Int64[Tensor, "text candidate"]:
        """The ``depth`` rows most promising for every text, in ascending row order.

        Args:
            text: only ``sentence`` is used; its length does not matter.
            depth: ``None``, or more than there are rows, means all rows.
            allowed: which rows may be proposed, ``[row]``; it acts before the cut. None: all.
        """
        count = len(self) if allowed is None else int(np.count_nonzero(allowed))
        if depth is None or depth >= count:
            rows = torch.arange(len(self)) if allowed is None else torch.from_numpy(np.flatnonzero(allowed))
            return rows.expand(len(text), count)
        return torch.from_numpy(np.sort(self.proposed(text, depth, allowed=allowed), axis=1))

    def proposed(
        self, text: TextFeatures, depth: int, *, allowed: NDArray[np.bool_] | None = None
    ) -> NDArray[np.int64]:
        """The rows that the engine proposes for every text, best first, ``[text, candidate]``.

        Args:
            text: only ``sentence`` is used.
            depth: how many; all that are allowed, where these are fewer.
            allowed: as for :meth:`candidates`.

        Raises:
            InputError, IndexStateError: as for :attr:`engine`.
        """
        queries = unit(text.sentence.detach().to("cpu", torch.float32)).numpy()
        return self.engine.search(queries, depth, allowed=allowed).rows

    # ---- vectors

    @property
    def dim(self) -> int:
        """Width of the embeddings."""
        return self._meta.dim

    def vectors_of(self, rows: Int64[Tensor, " row"]) -> Float[Tensor, "row dim"]:
        """Coarse vectors of those rows, in that order: the unit-normalised mean of their frames."""
        return torch.from_numpy(self._vectors.take(rows.numpy()))

    def vector_blocks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """The coarse vectors of all rows in order, block by block: its first row, and ``[row, dim]``, not to be written
        to."""
        return self._vectors.blocks()

    # ---- features

    @property
    def num_frames(self) -> int:
        """Frames to which features are padded at least."""
        return self._meta.num_frames

    def features(self, rows: Int64[Tensor, " row"]) -> VideoFeatures:
        return self.features_and_times(rows)[0]

    def features_and_times(self, rows: Int64[Tensor, " row"]) -> tuple[VideoFeatures, list[list[float]]]:
        """Features of those rows, padded to the model's number of frames, and their real frames' times."""
        offset = rows.numpy() if self._offset is None else self._offset[rows.numpy()]
        found = self._rows.payload(offset, least_frames=self._meta.num_frames)
        mask = np.arange(found.frames.shape[1]) < found.num_frames[:, None]
        features = VideoFeatures(
            frame=torch.from_numpy(found.frames).float(),
            frame_mask=torch.from_numpy(mask),
            video=None if found.video is None else torch.from_numpy(found.video).float(),
        )
        return features, found.times

    # ---- videos

    @cached_property
    def catalogue(self) -> Catalogue:
        """What is known of the videos of the rows."""
        duration = self._videos["duration_s"].cast(pa.float64()).fill_null(np.nan)
        metadata = _array(self._videos["metadata"])
        tags: list[tuple[str, ...]] = [()] * len(metadata)
        said = (
            pc.call_function("not_equal", [metadata, pa.scalar("{}")])
            .fill_null(False)
            .to_numpy(zero_copy_only=False)
        )
        for number in np.flatnonzero(said).tolist():
            tags[number] = tags_of(metadata[number].as_py())
        return Catalogue(
            video_ids=tuple(self._ids.to_pylist()),
            uris=tuple(map(from_column, self._uris.to_pylist())),
            mtime_ns=self._videos["mtime_ns"].to_numpy(),
            duration_s=duration.to_numpy(),
            tags=tuple(tags),
            video=self.video,
        )

    @property
    def num_videos(self) -> int:
        """Files that the index knows, those that could not be read among them."""
        return len(self._videos)

    def moment(self, row: int) -> MomentRow:
        """Where a row lies."""
        number = int(self.video[row])
        return MomentRow(
            video_id=self._ids[number].as_py(),
            uri=from_column(self._uris[number].as_py()),
            start_s=float(self.start_s[row]),
            end_s=float(self.end_s[row]),
        )

    def moment_ids(self) -> list[str]:
        """The keys of all rows in the table ``moments``; for servers that know moments by nothing else."""
        ids = self._rows.moment_ids()
        return (ids if self._offset is None else ids.take(pa.array(self._offset))).to_pylist()

    def records(self, rows: Int64[Tensor, " row"]) -> list[VideoRecord | None]:
        """What the index knows now of the files of those rows; None where a file was forgotten since."""
        owners = [self._ids[number].as_py() for number in self.video[rows.numpy()].tolist()]
        quoted = ", ".join("'" + video_id.replace("'", "''") + "'" for video_id in sorted(set(owners)))
        found = self._store.videos(
            columns=[field.name for field in fields(VideoRecord)], where=f"video_id IN ({quoted})"
        )
        records = {row["video_id"]: VideoRecord.from_row(row) for row in found.to_pylist()}
        return [records.get(video_id) for video_id in owners]

    def rows_of(self, uri: str) -> list[int]:
        """The rows of one video file."""
        number = pc.index(self._uris, to_column(uri)).as_py()
        return [] if number < 0 else np.sort(self.rows_of_number(number)).tolist()

    def rows_of_id(self, video_id: str) -> NDArray[np.int64]:
        """The rows of a video in the order of time; none if it is not there."""
        ids, order = self._ids, self._by_id
        place = bisect_left(order, video_id, key=lambda number: ids[int(number)].as_py())
        if place == len(order) or ids[int(order[place])].as_py() != video_id:
            return np.zeros(0, np.int64)
        return self.rows_of_number(int(order[place]))

    def rows_of_number(self, number: int) -> NDArray[np.int64]:
        """The rows of the video of that number in :attr:`catalogue`, in the order of time."""
        order, first = self._by_video
        return order[first[number] : first[number + 1]]

    @cached_property
    def _by_id(self) -> NDArray[np.uint64]:
        """Videos in the order of their ids, 8 bytes each; a dictionary would hold every id again."""
        return pc.call_function("array_sort_indices", [self._ids]).to_numpy()

    @cached_property
    def _by_video(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """All rows by video and time, and where those of every video begin."""
        order = np.lexsort((self.start_s, self.video))
        counts = np.bincount(self.video, minlength=len(self._videos))
        return order, np.concatenate([[0], np.cumsum(counts)])


def _array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)
