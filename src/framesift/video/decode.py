"""Decode some frames of a video file: the right ones, whatever the file claims about itself.

Times are seconds from the first frame's presentation time, so that a video starts at 0 whatever its
timestamps say. The frame for a time is the one on display then: the last that starts at or before it (the
first frame before that, the last one after the end). Every function gives bit for bit what decoding the
whole file with ``decode_all`` and picking frames would give (in a damaged file, frames behind the damage may
come out better, because decoding starts afresh behind it). Each raises DecodeError for a file that cannot
be read and EmptyVideoError for one without a single frame; a damaged file gives the frames that it has.
"""

from __future__ import annotations

import math
import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from ..errors import DecodeError, EmptyVideoError, InputError
from .container import VideoFile, path_text
from .frames import Frames, VideoInfo
from .gops import GopReader, NoRandomAccess, SeekError
from .sampling import Sampler

__all__ = ["Transform", "count_frames", "decode", "decode_all", "decode_indices", "iter_decode", "probe"]

Path = str | os.PathLike[str]
Transform = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""Applied to every frame, uint8 ``[height, width, 3]``, once it is decoded; all results have one shape."""

_KEPT_BYTES = 128 << 20  # of decoded frames that sequential reading holds rather than decode them twice
_TICK_SLACK = 1e-4  # of a tick: 0.29 s * 100 is 28.999999999999996 ticks


@dataclass(frozen=True)
class _Timeline:
    """When the first frame starts and the last one ends, in ticks of the file's time base."""

    first: int
    end: int
    seconds_per_tick: float

    @property
    def duration_s(self) -> float:
        return (self.end - self.first) * self.seconds_per_tick

    def seconds(self, tick: int) -> float:
        return (tick - self.first) * self.seconds_per_tick

    def tick(self, seconds: float) -> int:
        return max(self.first, self.first + math.floor(seconds / self.seconds_per_tick + _TICK_SLACK))


class _ByGop:
    """Reads by seeking; see gops.py. Raises SeekError where that cannot be trusted."""

    def __init__(self, video: VideoFile, *, skip_unreferenced: bool) -> None:
        self.path = video.path
        self._gops = GopReader(video, skip_unreferenced=skip_unreferenced)
        self.timeline = _Timeline(self._gops.first, self._gops.end(), float(video.time_base))

    def count(self) -> int:
        return len(self._gops.shown())

    def snapped(self, ticks: Sequence[int], *, slack: int, low: int, high: int) -> Sequence[int]:
        """Ascending ticks, moved to keyframes in ``[low, high)`` that are at most ``slack`` ticks away."""
        return self._gops.snapped(ticks, slack=slack, low=low, high=high)

    def at(self, ticks: Sequence[int]) -> _Decoded:
        """The frames on display at ascending ticks, each once."""
        for frame in self._gops.frames_at(ticks):
            yield frame.pts or 0, frame  # a frame without pts never gets here

    def numbered(self, indices: Sequence[int]) -> _Decoded:
        """The frames with these ascending numbers."""
        shown = self._gops.shown()
        _check_range(self.path, indices, len(shown))
        return self.at([shown[index] for index in indices])


class _Sequential:
    """Reads by decoding everything: to learn which frames there are and, unless they all fit in memory, again
    to pick."""

    def __init__(self, video: VideoFile) -> None:
        self._video, self.path = video, video.path
        self._ticks: list[int] = []
        self._kept: list[VideoFrame] | None = []
        kept_bytes, length = 0, video.frame_ticks
        for tick, frame in video.frames():
            self._ticks.append(tick)
            length = frame.duration or length
            if self._kept is not None:
                self._kept.append(frame)
                kept_bytes += sum(plane.buffer_size for plane in frame.planes)
                if kept_bytes > _KEPT_BYTES:
                    self._kept = None
        if not self._ticks:
            raise _no_frames(video)
        self.timeline = _Timeline(self._ticks[0], self._ticks[-1] + length, float(video.time_base))

    def count(self) -> int:
        return len(self._ticks)

    def snapped(self, ticks: Sequence[int], *, slack: int, low: int, high: int) -> Sequence[int]:
        """The ticks as they are: exact frames cost no more here."""
        return ticks

    def at(self, ticks: Sequence[int]) -> _Decoded:
        return self._rows({max(0, bisect_right(self._ticks, tick) - 1) for tick in ticks})

    def numbered(self, indices: Sequence[int]) -> _Decoded:
        _check_range(self._video.path, indices, len(self._ticks))
        return self._rows(set(indices))

    def _rows(self, wanted: set[int]) -> _Decoded:
        if self._kept is not None:
            yield from self._pick(zip(self._ticks, self._kept, strict=True), wanted)
        else:
            with VideoFile(self._video.path) as again:
                yield from self._pick(again.frames(), wanted)

    @staticmethod
    def _pick(frames: _Decoded, wanted: set[int]) -> _Decoded:
        for index, (tick, frame) in enumerate(frames):
            if index in wanted:
                yield tick, frame
                wanted.discard(index)
                if not wanted:
                    return


def _check_range(path: str, indices: Sequence[int], count: int) -> None:
    for index in indices:
        if not 0 <= index < count:
            raise InputError(f"frame {index} does not exist: {path!r} has {count} frames")


def _no_frames(video: VideoFile) -> DecodeError:
    if video.damage is not None:
        return DecodeError(video.path, f"no frame can be decoded ({video.damage})")
    return EmptyVideoError(video.path, "it holds no frames")


_Decoded = Iterator[tuple[int, VideoFrame]]  # each frame with its tick
_Reader = _ByGop | _Sequential
_Ask = Callable[[_Reader], tuple[int, _Decoded]]  # frames, and how many there can be at most


@dataclass(frozen=True)
class _Way:
    """How to read a file: how carefully to open it, and what reads it then."""

    quick: bool
    reader: Callable[[VideoFile], _Reader]


_WAYS = (
    _Way(True, lambda video: _ByGop(video, skip_unreferenced=True)),
    _Way(False, lambda video: _ByGop(video, skip_unreferenced=False)),
    _Way(False, _Sequential),
)


def _next_way(way: _Way, error: SeekError) -> _Way | None:
    """What to try once ``way`` has given up, None after the last."""
    later = _WAYS[_WAYS.index(way) + 1 :]
    if not later:
        return None
    return later[-1] if isinstance(error, NoRandomAccess) else later[0]


@dataclass(frozen=True)
class _Picked:
    video: VideoFile
    timeline: _Timeline
    at_most: int  # frames that were asked for
    tick: int
    frame: VideoFrame


def _read(
    path: Path,
    way: _Way,
    ask: _Ask,
    *,
    after_s: float = -math.inf,
) -> Iterator[_Picked]:
    """The frames asked for that start after ``after_s``, in order. Raises SeekError if the reader gives up."""
    with VideoFile(path, quick=way.quick) as video:
        reader = way.reader(video)
        at_most, frames = ask(reader)
        for tick, frame in frames:
            if reader.timeline.seconds(tick) > after_s:
                yield _Picked(video, reader.timeline, at_most, tick, frame)


def _collect(path: Path, ask: _Ask, transform: Transform | None = None) -> _Stack:
    """The frames asked for, by the quickest reader that can be trusted with this file."""
    way: _Way | None = _WAYS[0]
    while way is not None:
        stack = _Stack(path, transform)
        try:
            for picked in _read(path, way, ask):
                stack.push(picked)
            return stack
        except SeekError as error:
            way = _next_way(way, error)
    raise AssertionError("the last way never raises SeekError")


def _times(sampler: Sampler, start_s: float, end_s: float | None, snap_s: float) -> _Ask:
    if not start_s >= 0 or (end_s is not None and not end_s > start_s):
        raise InputError(f"need 0 <= start_s < end_s, got {start_s}, {end_s}")
    if not 0 <= snap_s < math.inf:
        raise InputError(f"snap_s must be 0 or more, got {snap_s}")

    def ask(reader: _Reader) -> tuple[int, _Decoded]:
        line = reader.timeline
        stop_s = line.duration_s if end_s is None else min(end_s, line.duration_s)
        begin_s = min(start_s, stop_s)
        try:
            times = sampler.times(begin_s, stop_s)
        except (InputError, MemoryError) as error:
            claim = f"it claims to last {line.duration_s:g} s, which cannot be sampled"
            raise DecodeError(reader.path, f"{claim} ({error})") from error
        ticks: Sequence[int] = [line.tick(float(t)) for t in times]
        if snap_s > 0:
            slack = line.tick(snap_s) - line.first
            ticks = reader.snapped(ticks, slack=slack, low=line.tick(begin_s), high=line.tick(stop_s))
        return len(ticks), reader.at(ticks)

    return ask


def _info(picked: _Picked, shape: tuple[int, ...]) -> VideoInfo:
    """``shape``: of the upright picture."""
    video, frame = picked.video, picked.frame
    turned = shape[:2] != (frame.height, frame.width)
    rotation = frame.rotation  # anything at all for a matrix that is no quarter turn
    quarters = (90, 270) if turned else (0, 180)
    if frame.height == frame.width:
        quarters = (0, 90, 180, 270)
    if abs(rotation) not in quarters:
        rotation = 90 if turned else 0
    return VideoInfo(
        path=video.path,
        duration_s=picked.timeline.duration_s,
        fps=video.fps,
        width=shape[1],
        height=shape[0],
        codec=video.codec.codec.canonical_name,
        container=video.container.format.name,
        rotation=rotation,
        num_streams=video.num_streams,
        size_bytes=video.size_bytes,
        mtime=video.mtime,
        num_subtitle_streams=len(video.container.streams.subtitles),
    )


class _Stack:
    """Collects frames of one shape, at most ``limit`` at a time, with the facts about their file."""

    def __init__(self, path: Path, transform: Transform | None, *, limit: int | None = None) -> None:
        self._path = path_text(path)
        self._transform = transform
        self._limit = limit
        self._shape: tuple[int, ...] | None = None
        self._pixels: NDArray[np.uint8] | None = None
        self._times: list[float] = []
        self._info: VideoInfo | None = None

    def __len__(self) -> int:
        return len(self._times)

    def push(self, picked: _Picked) -> None:
        pixels = picked.video.rgb(picked.frame, shape=self._shape)
        if self._info is None:
            self._info, self._shape = _info(picked, pixels.shape), pixels.shape
        if self._transform is not None:
            pixels = self._transform(np.ascontiguousarray(pixels))
        if self._pixels is None:  # room for all: stacking frames later would cost as much as decoding them
            room = picked.at_most if self._limit is None else min(picked.at_most, self._limit)
            self._pixels = np.empty((room, *pixels.shape), dtype=np.uint8)
        elif len(self) == len(self._pixels):  # another reader took over and found more
            self._pixels = np.concatenate([self._pixels, np.empty_like(self._pixels)])
        self._pixels[len(self._times)] = pixels
        self._times.append(picked.timeline.seconds(picked.tick))

    def take(self) -> Frames:
        """The frames so far, which are then forgotten."""
        assert self._pixels is not None, "every reader yields a frame or raises"
        frames = Frames(self._pixels[: len(self._times)], np.array(self._times), self._path, self._info)
        self._pixels, self._times = None, []
        return frames


def decode(
    path: Path,
    sampler: Sampler,
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
    snap_s: float = 0.0,
    transform: Transform | None = None,
) -> Frames:
    """The frames on display at the sampler's times in ``[start_s, end_s)``, the whole video by default.

    A frame on display at several of the times comes once: a video of three frames gives three.

    ``snap_s`` gives up exact times for speed: a time with a keyframe in the interval at most ``snap_s``
    seconds away (to a tick of the file's clock) gets the nearest such keyframe, which decodes alone, instead
    of the frame on display. Frames then are spaced less evenly and may be fewer (times that share a keyframe
    share its frame), and come where the encoder saw scenes change; ``times_s`` says when each is shown. It
    saves most where keyframes are close together, and does nothing for files that must be decoded from end
    to end. Raises InputError if it is negative or not finite.
    """
    return _collect(path, _times(sampler, start_s, end_s, snap_s), transform).take()


def iter_decode(
    path: Path,
    sampler: Sampler,
    *,
    chunk_frames: int = 64,
    start_s: float = 0.0,
    end_s: float | None = None,
    snap_s: float = 0.0,
    transform: Transform | None = None,
) -> Iterator[Frames]:
    """``decode`` in pieces of at most ``chunk_frames`` frames, so that hours of video fit in memory.

    A file that turns out damaged after some pieces were handed out goes on behind the last of them.
    """
    if chunk_frames < 1:
        raise InputError(f"chunk_frames must be at least 1, got {chunk_frames}")
    ask = _times(sampler, start_s, end_s, snap_s)
    stack = _Stack(path, transform, limit=chunk_frames)
    after_s = -math.inf
    way: _Way | None = _WAYS[0]
    while way is not None:
        try:
            for picked in _read(path, way, ask, after_s=after_s):
                after_s = picked.timeline.seconds(picked.tick)
                stack.push(picked)
                if len(stack) == chunk_frames:
                    yield stack.take()
            break
        except SeekError as error:
            way = _next_way(way, error)
    if len(stack):
        yield stack.take()


def decode_indices(
    path: Path, indices: Sequence[int] | NDArray[Any], *, transform: Transform | None = None
) -> Frames:
    """The frames with these numbers, counting every frame in order of display from 0.

    One frame for each index in the given order, repeats included. Raises InputError for an index outside the
    video. Counting reads the whole file (without decoding it); sampling by time does not.
    """
    rows = [int(index) for index in indices]
    if not rows:
        raise InputError("decode_indices needs at least one index")
    distinct = sorted(set(rows))
    frames = _collect(path, lambda reader: (len(distinct), reader.numbered(distinct)), transform).take()
    return frames if rows == distinct else frames[[distinct.index(row) for row in rows]]


def decode_all(
    path: Path, *, transform: Transform | None = None
) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Every frame in order of display as ``(time_s, pixels)``: plain sequential decoding, the reference."""
    with VideoFile(path) as video:
        first: int | None = None
        for tick, frame in video.frames():
            first = tick if first is None else first
            pixels = np.ascontiguousarray(video.rgb(frame))
            yield (tick - first) * float(video.time_base), pixels if transform is None else transform(pixels)
        if first is None:
            raise _no_frames(video)


def probe(path: Path) -> VideoInfo:
    """Facts about a file, from reading its ends and decoding its first frame."""
    info = _collect(path, lambda reader: (1, reader.at([reader.timeline.first]))).take().info
    assert info is not None, "a stack with frames has the facts"
    return info


def count_frames(path: Path) -> int:
    """How many frames there are to decode; reads the whole file."""
    count = 0

    def ask(reader: _Reader) -> tuple[int, _Decoded]:
        nonlocal count
        count = reader.count()
        return 1, reader.at([reader.timeline.first])

    _collect(path, ask)
    return count
