"""Keeping the subtitles of an index as the files are: part of every build.

Videos that a build has just committed are read at once, so that an interrupted build can be searched as far as it got.
At its end comes what no video file tells: subtitle files that were added, changed or deleted beside known videos, moved
videos, and whatever an earlier build was killed before.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..data import VIDEO_SUFFIXES
from ..errors import DecodeError
from ..video.loader import MEMORY_BYTES, read_each
from ..video.subtitles import Track, is_sidecar_name, match_sidecars, read_sidecar
from ..video.text_streams import read_text_streams
from .files import by_folder, vanished
from .schema import VideoRecord
from .subtitle_store import Sidecars, SubtitleState, SubtitleStore

__all__ = ["SubtitleKeeper", "SubtitleReport"]


@dataclass(kw_only=True)
class SubtitleReport:
    """What a build did for subtitles.

    Attributes:
        read: paths of the videos whose subtitles were read, for the first time or again, and that have some.
        lost: paths of the videos beside which there are none any more.
        problems: path of a subtitle file, or of a video and its stream, and what is wrong with it.
    """

    read: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "read": len(self.read),
            "lost": len(self.lost),
            "problems": [{"path": path, "reason": reason} for path, reason in self.problems],
        }


class SubtitleKeeper:
    """Reads subtitles into an index; a context manager, to be used under the writer's lock.

    Args:
        index: directory of the index.
        workers: 0 reads video files in this process, without protection; else one process at a time does.
        timeout_s: for the streams of one video.
        memory_bytes: for the streams of one video.
    """

    def __init__(
        self,
        index: Path,
        *,
        workers: int | None = None,
        timeout_s: float = 300.0,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self.report = SubtitleReport()
        self._store = SubtitleStore(index)
        self._workers = 0 if workers == 0 else 1
        self._timeout_s, self._memory_bytes = timeout_s, memory_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.__exit__(kind, error, trace)

    def committed(self, records: Sequence[VideoRecord], num_streams: Mapping[str, int | None]) -> None:
        """Read the subtitles of videos that are new or have changed.

        Args:
            records: their rows; of failed ones, earlier subtitles are deleted.
            num_streams: by ``video_id``, how many subtitle streams the video was seen to have; None if nobody looked.
        """
        good = [record for record in records if record.status == "ok"]
        self._store.forget(record.video_id for record in records if record.status != "ok")
        self._read(good, num_streams)

    def finish(self, records: Sequence[VideoRecord], listed: Iterable[str]) -> None:
        """Make the database agree with the rows of the index and with the files.

        Args:
            records: all rows of the index, as they are now.
            listed: paths of the video files that the build has found; only beside these subtitle files are looked for.
        """
        good = {record.video_id: record for record in records if record.status == "ok"}
        states = self._store.states()
        self._store.forget(states.keys() - good.keys())
        missing: list[VideoRecord] = []
        for video_id, record in good.items():
            state = states.get(video_id)
            if (state is None or _has_changed(record, state)) and not vanished(record.uri):
                missing.append(record)
        self._read(missing, {})
        read = {record.video_id for record in missing}
        present = set(listed)
        known = [record for record in good.values() if record.uri in present and record.video_id not in read]
        beside = _sidecars(known)
        for record in known:
            state, found = states.get(record.video_id), beside.get(record.uri)
            if state is None or found is None:
                continue  # it went, or its folder did, since it was listed
            moved = state.uri != record.uri
            if found == state.sidecars and not moved:
                continue
            state = replace(state, uri=record.uri, mtime_ns=record.mtime_ns, sidecars=found)
            if moved and not found:
                self._store.put(record.video_id, state)  # it went alone, and keeps what was read beside it
                continue
            self._put(record, state, beside=self._read_beside(record, found))

    def _read(self, records: Sequence[VideoRecord], num_streams: Mapping[str, int | None]) -> None:
        beside = _sidecars(records)
        asked = [record for record in records if num_streams.get(record.video_id) != 0]
        results = read_each(
            [record.uri for record in asked],
            read_text_streams,
            workers=self._workers,
            timeout_s=self._timeout_s,
            memory_bytes=self._memory_bytes,
        )
        with closing(results):
            for record in records:
                embedded: list[Track] = []
                if num_streams.get(record.video_id) != 0:
                    result = next(results)
                    if isinstance(result, DecodeError):
                        self.report.problems.append((record.uri, f"its subtitle streams: {result.reason}"))
                    else:
                        embedded = result
                found = beside.get(record.uri) or ()
                state = SubtitleState(
                    uri=record.uri, mtime_ns=record.mtime_ns, size_bytes=record.size_bytes, sidecars=found
                )
                self._put(record, state, beside=self._read_beside(record, found), embedded=embedded)

    def _read_beside(self, record: VideoRecord, found: Sidecars) -> list[Track]:
        folder, name = os.path.split(record.uri)
        languages = dict(match_sidecars([one for one, _, _ in found], [name]).get(name, []))
        return [read_sidecar(os.path.join(folder, one), language=languages.get(one)) for one, _, _ in found]

    def _put(
        self,
        record: VideoRecord,
        state: SubtitleState,
        *,
        beside: Sequence[Track],
        embedded: Sequence[Track] | None = None,
    ) -> None:
        self._store.put(record.video_id, state, beside=beside, embedded=embedded)
        tracks = [*beside, *(embedded or ())]
        for track in tracks:
            if track.problem is not None:
                inside = track in (embedded or ())
                path = f"{record.uri}, {track.source}" if inside else _beside(record.uri, track.source)
                self.report.problems.append((path, track.problem))
        if any(track.cues for track in tracks):
            self.report.read.append(record.uri)
        elif embedded is None:
            self.report.lost.append(record.uri)


def _has_changed(record: VideoRecord, state: SubtitleState) -> bool:
    """Whether the video file is another one than was read; one that was moved was recognised by its content."""
    if record.uri != state.uri and record.size_bytes == state.size_bytes:
        return False
    return (record.mtime_ns, record.size_bytes) != (state.mtime_ns, state.size_bytes)


def _beside(uri: str, name: str) -> str:
    return os.path.join(os.path.dirname(uri), name)


def _sidecars(records: Iterable[VideoRecord]) -> dict[str, Sidecars]:
    """The subtitle files beside each video, by its path; videos are left out whose folder cannot be read."""
    found: dict[str, Sidecars] = {}
    for folder, known in by_folder(record.uri for record in records).items():
        try:
            facts = _listed(folder)
        except OSError:
            continue
        videos = {name for name in facts if os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES}
        matched = match_sidecars(facts, videos.union(known))
        for name in known:
            sidecars = ((one, fact) for one, _ in matched.get(name, []) if (fact := facts[one]) is not None)
            found[os.path.join(folder, name)] = tuple((one, *fact) for one, fact in sidecars)
    return found


def _listed(folder: str) -> dict[str, tuple[int, int] | None]:
    """All names in a folder; of subtitle files also size in bytes and modification time in ns."""
    facts: dict[str, tuple[int, int] | None] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            facts[entry.name] = None
            if is_sidecar_name(entry.name):
                try:
                    status = entry.stat()
                except OSError:
                    continue  # a link to nothing
                facts[entry.name] = (status.st_size, status.st_mtime_ns)
    return facts
