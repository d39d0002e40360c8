"""All rows of one version of the table ``moments``: vectors and payload, checked as they are read.

Rows that turn out to be damaged in the cache are read from the table within the same call, so that a caller never
notices but for a warning.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...errors import IndexStateError
from ..columns import list_lengths, list_values
from ..location import Location
from ..store import lance_errors
from .checks import padded, row_checks
from .codes import By, Codebook
from .folder import CacheFolder
from .parts import Part, part_key, part_of, part_of_table
from .scattered import read_frames
from .scenes import SegmentScenes
from .sealed import Damaged
from .segment import FRAMES, TIMES, VECTOR, VIDEO, Segment

__all__ = ["MomentRows", "Payload"]

PartKey = tuple[int, str, str]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Payload:
    """What matchers need of some rows.

    Attributes:
        frames: filled up with zeros, float16 ``[row, frame, dim]``.
        num_frames: real frames of every row, ``[row]``.
        times: seconds of its frames, a list a row.
        video: float16 ``[row, dim]``, or None.
    """

    frames: NDArray[np.float16]
    num_frames: NDArray[np.int64]
    times: list[list[float]]
    video: NDArray[np.float16] | None


class MomentRows:
    """The rows of a Lance dataset of moments that are not deleted, in its order. Threads may share it.

    Args:
        index: where the index is, for messages.
        dataset: a version of the table ``moments``.
        cache: where segments lie; None: there are none.
        dim: width of the embeddings.
        earlier: of an earlier version; what it has read is not read again.
    """

    def __init__(
        self,
        index: Location,
        dataset: Any,
        cache: CacheFolder,
        dim: int,
        *,
        earlier: MomentRows | None = None,
    ) -> None:
        self.dim = dim
        self.cache = cache
        self._index, self._dataset = index, dataset
        self._lock = threading.Lock()
        known = earlier.held() if earlier else {}
        with lance_errors(index, "read"):
            self._fragments: list[Any] = list(dataset.get_fragments())
            self._keys = [part_key(fragment) for fragment in self._fragments]
            self._parts = [
                known.get(key) or part_of(fragment, cache, dim)
                for key, fragment in zip(self._keys, self._fragments, strict=True)
            ]
        self._whole: set[Segment] = earlier.checked_segments() if earlier else set()
        sizes = np.array([len(part) for part in self._parts], dtype=np.int64)
        self._ends = np.cumsum(sizes)
        self._starts = self._ends - sizes

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __repr__(self) -> str:
        cached = sum(part.segment is not None for part in self._parts)
        return f"<MomentRows {len(self)} rows, {cached} of {len(self._parts)} parts from the cache>"

    def held(self) -> Mapping[PartKey, Part]:
        """What was read, for the next version. Parts that were read for want of a segment are looked up again there."""
        return {
            key: part
            for key, part, fragment in zip(self._keys, self._parts, self._fragments, strict=True)
            if part.segment is not None or not self.cache.has_segment_of(fragment)
        }

    def checked_segments(self) -> set[Segment]:
        """Segments all of whose vectors were found to be whole."""
        return {part.segment for part in self._parts if part.segment in self._whole}

    # ---- columns

    @property
    def parts(self) -> Sequence[Part]:
        """One for every fragment, in order."""
        return tuple(self._parts)

    def bounds(self) -> list[tuple[int, int]]:
        """First row and end of every part."""
        return list(zip(self._starts.tolist(), self._ends.tolist(), strict=True))

    def moment_ids(self) -> pa.ChunkedArray:
        """The keys of all rows."""
        found: list[pa.Array] = []
        for number, part in enumerate(self._parts):
            if part.segment is not None:
                try:
                    ids = part.segment.moment_ids()
                    found.append(ids if part.stored is None else ids.take(pa.array(part.stored)))
                    continue
                except Damaged as error:
                    part = self._instead(number, part, str(error))
            found.append(part.moment_id)
        return pa.chunked_array(found, pa.string())

    # ---- vectors

    def vectors_of(self, part: int, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors of some rows of a part, ``[row, dim]``, numbered from the part's first; mapped where possible.

        All of the part is checked when this is asked for the first time.
        """
        own = self._parts[part]
        if own.segment is not None and own.segment not in self._whole:
            try:
                own.segment.check_vectors()
                self._whole.add(own.segment)
            except Damaged as error:
                own = self._instead(part, own, str(error))
        if own.stored is None:
            return own.vectors[rows]
        return own.vectors[own.stored[rows]]

    def take_vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors of those rows, in that order, ``[row, dim]``."""
        found = np.empty((len(rows), self.dim), np.float32)
        expected, known = np.zeros(len(rows), np.uint64), np.zeros(len(rows), bool)
        for part, places, local in self._by_part(rows):
            own = self._parts[part]
            stored = own.place(local)
            found[places] = own.vectors[stored]
            if own.segment is not None and own.segment not in self._whole:
                expected[places], known[places] = own.segment.vector_check[stored], True
        if known.any():
            bad = known & (row_checks(found, of=VECTOR) != expected)
            if bad.any():
                self._set_aside(rows[bad], "a vector has changed since it was written")
                return self.take_vectors(rows)
        return found

    # ---- payload

    def payload(self, rows: NDArray[np.int64], *, least_frames: int = 0) -> Payload:
        """Frames and their times of those rows, in that order, filled up to ``least_frames`` at least."""
        parts = self._part_numbers(rows)
        local = rows - self._starts[parts]
        used = {part: self._parts[part] for part in np.unique(parts).tolist()}
        from_table = np.array([used[part].segment is None for part in parts.tolist()], dtype=bool)
        if from_table.all():
            return self._from_table(rows, least_frames)
        found = self._from_segments(parts, local, used, ~from_table, least_frames)
        if found is None:
            return self.payload(rows, least_frames=least_frames)
        if not from_table.any():
            return found
        return _merged(found, self._from_table(rows[from_table], least_frames), from_table)

    def _from_segments(
        self,
        parts: NDArray[np.int64],
        local: NDArray[np.int64],
        used: Mapping[int, Part],
        mask: NDArray[np.bool_],
        least_frames: int,
    ) -> Payload | None:
        """The rows of ``mask``, others left out; None where one was damaged, after setting its segment aside."""
        chosen, local = parts[mask], local[mask]
        counts, timed, first, first_time = (np.empty(len(chosen), np.int64) for _ in range(4))
        expected = np.empty(len(chosen), np.uint64)
        found: list[tuple[Segment, NDArray[np.int64]]] = []
        for part in np.unique(chosen).tolist():
            here, own = np.flatnonzero(chosen == part), used[part]
            assert own.segment is not None
            segment = own.segment
            found.append((segment, here))
            local[here] = stored = own.place(local[here])
            counts[here], first[here] = segment.num_frames[stored], segment.first_frame[stored]
            timed[here], first_time[here] = segment.num_times[stored], segment.first_time[stored]
            expected[here] = segment.payload_check[stored]
        frames = np.zeros((len(chosen), max(least_frames, int(counts.max())), self.dim), np.float16)
        times = np.zeros((len(chosen), int(timed.max())), np.float64)
        with_video = [segment.video is not None for segment, _ in found]
        video = np.zeros((len(chosen), self.dim), np.float16) if any(with_video) else None
        of_times = list(zip(first_time.tolist(), (first_time + timed).tolist(), strict=True))
        for segment, here in found:
            places = here.tolist()
            read_frames(segment, first[here], counts[here], [frames[i] for i in places])
            for i in places:
                begin, end = of_times[i]
                times[i, : end - begin] = segment.times[begin:end]
            if video is not None and segment.video is not None:
                video[here] = segment.video[local[here]]
        checks = row_checks(frames, of=FRAMES) + row_checks(times, of=TIMES)
        if video is not None:
            checks = checks + row_checks(video, of=VIDEO)
        bad = checks != expected
        if bad.any():
            for part in np.unique(chosen[bad]).tolist():
                self._instead(part, used[part], "frames have changed since they were written")
            return None
        listed = [row[:count] for row, count in zip(times.tolist(), timed.tolist(), strict=True)]
        return Payload(
            frames=frames, num_frames=counts, times=listed, video=video if all(with_video) else None
        )

    def _from_table(self, rows: NDArray[np.int64], least_frames: int) -> Payload:
        with lance_errors(self._index, "read"):
            table: pa.Table = self._dataset.take(rows.tolist(), columns=["frames", "frame_times_s", "video"])
        counts = (list_lengths(table["frames"]) // self.dim).astype(np.int64)
        frames = padded(list_values(table["frames"]).astype(np.float16).reshape(-1, self.dim), counts)
        video = table["video"]
        return Payload(
            frames=_wider(frames, least_frames),
            num_frames=counts,
            times=table["frame_times_s"].to_pylist(),
            video=None
            if video.null_count == len(video)
            else list_values(video).astype(np.float16).reshape(-1, self.dim),
        )

    # ---- codes and frames

    def codes(self, part: int, by: By, codebook: Codebook) -> NDArray[np.uint8] | None:
        """Codes of all stored rows (or scenes, or frames) of a part; None if it has none."""
        segment = self._parts[part].segment
        return None if segment is None else self.cache.codes_of(segment, by, codebook)

    def scenes(self, part: int) -> SegmentScenes | None:
        """Scenes of all stored rows of a part; None if it has none that can be read."""
        segment = self._parts[part].segment
        return None if segment is None else self.cache.scenes_of(segment)

    def frame_counts(self) -> NDArray[np.int64]:
        """Frames of every row, ``[row]``; several a frame where frames have tokens."""
        counts: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
        for number, part in enumerate(self._parts):
            if part.segment is not None:
                counts.append(part.segment.num_frames[part.place(np.arange(len(part)))])
            else:
                with lance_errors(self._index, "read"):
                    column = self._fragments[number].to_table(columns=["frames"])["frames"]
                counts.append((list_lengths(column) // self.dim).astype(np.int64))
        return np.concatenate(counts)

    # ---- inside

    def _part_numbers(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(self._ends, rows, side="right").astype(np.int64)

    def _by_part(self, rows: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
        """Parts in which rows lie: their places among ``rows``, and their numbers in the part."""
        if not len(rows):
            return
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        numbers = self._part_numbers(ordered)
        cuts = np.flatnonzero(np.diff(numbers)) + 1
        for chosen in np.split(np.arange(len(rows)), cuts):
            part = int(numbers[chosen[0]])
            yield part, order[chosen], ordered[chosen] - self._starts[part]

    def _set_aside(self, rows: NDArray[np.int64], reason: str) -> None:
        for part in np.unique(self._part_numbers(rows)).tolist():
            self._instead(part, self._parts[part], reason)

    def _instead(self, part: int, seen: Part, reason: str) -> Part:
        """Read a part from the table from now on, if what ``seen`` was is still what is used."""
        with self._lock:
            now = self._parts[part]
            if now is not seen:
                return now
            if now.segment is None:
                raise IndexStateError(f"the index {str(self._index)!r} cannot be read: {reason}")
            self.cache.set_aside(now.segment.path, reason)
            with lance_errors(self._index, "read"):
                self._parts[part] = part_of_table(self._fragments[part], self.dim)
            return self._parts[part]


def _wider(frames: NDArray[np.float16], least: int) -> NDArray[np.float16]:
    missing = least - frames.shape[1]
    return frames if missing <= 0 else np.pad(frames, ((0, 0), (0, missing), (0, 0)))


def _merged(cached: Payload, table: Payload, from_table: NDArray[np.bool_]) -> Payload:
    """Rows of two sources in the order of the request."""
    longest = max(cached.frames.shape[1], table.frames.shape[1])
    frames = np.zeros((len(from_table), longest, cached.frames.shape[2]), np.float16)
    frames[from_table] = _wider(table.frames, longest)
    frames[~from_table] = _wider(cached.frames, longest)
    counts = np.zeros(len(from_table), np.int64)
    counts[from_table], counts[~from_table] = table.num_frames, cached.num_frames
    times = [iter(cached.times), iter(table.times)]
    video: NDArray[np.float16] | None = None
    if cached.video is not None and table.video is not None:
        video = np.zeros((len(from_table), cached.video.shape[1]), np.float16)
        video[from_table], video[~from_table] = table.video, cached.video
    listed = [next(times[int(side)]) for side in from_table.tolist()]
    return Payload(frames=frames, num_frames=counts, times=listed, video=video)
