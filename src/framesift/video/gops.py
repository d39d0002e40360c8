"""Getting at a few frames of a video without decoding all of it, and without ever getting a wrong one.

A group of pictures (GOP) begins with a keyframe, from which decoding can start. For every GOP that holds a
wanted frame: seek to its keyframe once, feed the packets up to the last wanted frame, leave out pictures
that no other picture refers to, then drain the decoder. The packets' own presentation times decide which
frame is on display at a time; header claims are not consulted. Everything is checked as it comes (the
keyframe decodes as one, every wanted frame arrives), and SeekError hands over to plain sequential decoding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame

from .av1 import Av1Trimmer
from .container import IN_ORDER_CODECS, MATROSKA, VideoFile

__all__ = ["GopReader", "NoRandomAccess", "SeekError"]

# Containers that store a presentation time for every packet; in others FFmpeg makes it up from frame counts.
_TIMED_CONTAINERS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", MATROSKA, "mpegts"})
# Codecs whose keyframes forget everything before them and are marked so in the decoded frame.
_CLEAN_KEYFRAMES = frozenset(
    {"h264", "hevc", "mpeg4", "mpeg2video", "vp8", "vp9", "av1", "libdav1d", "mjpeg", "prores"}
)
# Decoders that can be told to leave out unreferenced pictures. AV1's cannot (see av1.py), VP9 has none.
_SKIPS_UNREFERENCED = frozenset({"h264", "hevc"})
_AV1 = "libdav1d"
_REORDER_LIMIT = 16  # pictures by which decoding order and display order may differ in H.264 and HEVC
_BATCH = 16  # wanted frames looked ahead for: bounds the packets held for a long GOP
_SEEK_ATTEMPTS = 3


class SeekError(Exception):
    """The shortcut cannot promise the right frame; never leaves the package."""


class NoRandomAccess(SeekError):
    """No shortcut is known for files of this kind."""


class GopReader:
    """Random access to the frames of an open file by time, in ticks of its time base.

    ``first`` is the first frame's tick. Raises SeekError, at once or later, for a file to be decoded
    sequentially.
    """

    def __init__(self, video: VideoFile, *, skip_unreferenced: bool = True) -> None:
        self._video = video
        name = video.codec.name
        if video.container.format.name not in _TIMED_CONTAINERS or name not in _CLEAN_KEYFRAMES:
            raise NoRandomAccess(f"no random access in {video.container.format.name} / {name}")
        self._skip = skip_unreferenced and name in _SKIPS_UNREFERENCED
        self._trimmer = Av1Trimmer(video.codec.extradata) if skip_unreferenced and name == _AV1 else None
        self._computed_dts = video.container.format.name == MATROSKA
        # Matroska stores no decoding times; FFmpeg's guesses are only good to the depth of reordering.
        self._behind = 1 + (_REORDER_LIMIT if self._computed_dts and name not in IN_ORDER_CODECS else 0)
        self._index = video.stream.index_entries
        self._window: list[Packet] = []  # packets read and not yet fed, in decoding order
        self._source = video.packets()
        self._at_end = False
        self.first = self._find_first()
        keyframe = self._window[0]
        self._start = self._gop = _pts(keyframe)
        # Index times are decoding times where the container stores those, else presentation times.
        self._delay = 0 if self._computed_dts or keyframe.dts is None else self._start - keyframe.dts
        self._entry = self._entry_at(self.first)

    def _find_first(self) -> int:
        if not self._read() or not self._window[0].is_keyframe:
            raise SeekError("does not start with a keyframe")
        start = _pts(self._window[0])
        self._read_past(start)
        while not any(not packet.is_discard for packet in self._window):  # an edit list may cut the beginning
            if not self._read():
                raise SeekError("no frame is shown")
        first = min(_pts(packet) for packet in self._window if not packet.is_discard)
        self._read_past(first)
        first = min(_pts(packet) for packet in self._window if not packet.is_discard)
        if first < start:
            raise SeekError("the first keyframe is not shown first")
        return first

    def end(self) -> int:
        """The tick at which the last frame ends, from the packets themselves. Call it before frames_at."""
        if not len(self._index):
            with VideoFile(self._video.path) as again:
                return self._last_end(again.packets())
        entries = 0
        while entries < len(self._index):  # Matroska's grows when the first seek reads it
            entries = len(self._index)
            last = entries - 1
            while last > 0 and self._index[last].pos + self._index[last].size > self._video.size_bytes:
                last -= 1  # the file was cut off, its index was not
            self._seek(self._index[last].timestamp)
        end = self._last_end(self._source)
        self._leave()
        return end

    def _leave(self) -> None:
        """Forget where the file stands: the next wanted frame needs a seek."""
        self._entry = -1
        self._window.clear()

    def _last_end(self, packets: Iterator[Packet]) -> int:
        ends = [_pts(p) + (p.duration or self._video.frame_ticks) for p in packets if not p.is_discard]
        if not ends:
            raise SeekError("nothing to read at the end")
        return max(ends)

    def shown(self) -> list[int]:
        """Ticks of all frames in order of display, from a pass over all packets."""
        with VideoFile(self._video.path) as again:
            ticks = sorted(_pts(packet) for packet in again.packets() if not packet.is_discard)
            if again.damage is not None or len(set(ticks)) < len(ticks):
                raise SeekError("packets do not stand for frames one by one")
            return ticks

    def snapped(self, ticks: Sequence[int], *, slack: int, low: int, high: int) -> list[int]:
        """``ticks`` in order, each moved to the nearest keyframe in ``[low, high)`` at most ``slack`` away, if any."""
        keyframes: dict[int, int | None] = {}  # by index entry
        moved: set[int] = set()
        for tick in ticks:
            target = tick - self._delay
            around = {self._index.search_timestamp(target, backward=back) for back in (True, False)}
            near: list[int] = []
            for entry in around - {-1}:
                if entry not in keyframes:
                    keyframes[entry] = self._keyframe_tick(entry)
                pts = keyframes[entry]
                if pts is not None and low <= pts < high and abs(pts - tick) <= slack:
                    near.append(pts)
            moved.add(min(near, key=lambda pts: abs(pts - tick), default=tick))
        self._leave()
        return sorted(moved)

    def _keyframe_tick(self, entry: int) -> int | None:
        """When the keyframe of an index entry is shown; index times may be those of decoding."""
        stored = self._index[entry].timestamp
        after = min(entry + 1, len(self._index) - 1)  # where a seek must go if this one's delay is unusual
        for later in (entry, after):
            self._seek(self._index[later].timestamp + self._delay)
            packet = next(self._source, None)
            if packet is not None and stored in (packet.dts, packet.pts):
                return packet.pts if packet.is_keyframe and not packet.is_discard else None
        return None

    def keyframe_before(self, tick: int) -> int:
        """When the last keyframe at or before ``tick`` is shown, which was decoded to see that it is one."""
        self._enter(max(tick, self.first))
        keyframe = _pts(self._window[0])
        if keyframe >= self.first:  # one that an edit list hides starts the file, and was seen on opening it
            next(self.frames_at([keyframe]))
        return keyframe

    def frames_at(self, ticks: Sequence[int]) -> Iterator[VideoFrame]:
        """The frames on display at ascending ``ticks``, each once, in order."""
        done = 0
        last: int | None = None  # the frame asked for last: never twice
        shown: int | None = None  # the frame that came out last
        while done < len(ticks):
            self._enter(ticks[done])
            keyframe = self._window[0]
            self._gop = _pts(keyframe)
            feed = _Feed(
                self._video,
                keyframe,
                skip=self._skip,
                trimmer=self._trimmer,
                from_start=self._gop == self._start,
            )
            before, same_gop = done, True
            while same_gop:
                wanted, count, same_gop = self._batch(ticks, done, feed)
                done += count
                wanted = [pts for pts in wanted if pts != last]
                last = wanted[-1] if wanted else last
                for frame in feed.run(self._window, wanted, drain=not same_gop):
                    if shown is not None and (frame.pts or 0) <= shown:
                        raise SeekError("frames come out of order")
                    shown = frame.pts
                    yield frame
                self._forget(feed)
            if done == before:
                raise SeekError("the index and the packets disagree")

    def _batch(self, ticks: Sequence[int], done: int, feed: _Feed) -> tuple[list[int], int, bool]:
        """The next wanted frames of this GOP, how many ticks they stand for, and whether more may follow."""
        wanted: list[int] = []
        batch = ticks[done : done + _BATCH]
        for count, tick in enumerate(batch):
            if self._gop_ends_before(tick) and not self._goes_on_into(tick, wanted, feed):
                return wanted, count, False
            self._read_past(tick)
            shown = [_pts(p) for p in self._window[feed.position :] if not p.is_discard and _pts(p) <= tick]
            shown += [pts for pts in feed.recent if pts <= tick]
            if not shown:
                raise SeekError("no frame is on display")
            frame = max(shown)
            if shown.count(frame) > 1:
                raise SeekError("two frames have the same presentation time")
            if not wanted or frame != wanted[-1]:
                wanted.append(frame)
        return wanted, len(batch), done + len(batch) < len(ticks)

    def _forget(self, feed: _Feed) -> None:
        """Drop packets that were fed, up to the last keyframe among them: a later GOP may begin with it."""
        fed = self._window[: feed.position]
        keep = max((i for i, packet in enumerate(fed) if packet.is_keyframe and i > 0), default=len(fed))
        del self._window[:keep]
        feed.position -= keep

    def _gop_ends_before(self, tick: int) -> bool:
        """Whether the frame at ``tick`` is better decoded from a later keyframe than the present one."""
        if len(self._index) and self._entry_at(tick) != self._entry:
            return True
        checked = 0
        while True:
            for packet in self._window[checked:]:
                if self._starts_gop(packet, tick):
                    return True
            checked = len(self._window)
            if self._past(tick) or not self._read():
                return False

    def _goes_on_into(self, tick: int, wanted: Sequence[int], feed: _Feed) -> bool:
        """Whether decoding on gets to the frame at ``tick`` with no packet that a seek would have skipped."""
        fed = feed.position
        fed = max(
            (i + 1 for i in range(fed, len(self._window)) if self._window[i].pts in wanted), default=fed
        )
        while not self._past(tick):
            if len(self._window) > fed + _REORDER_LIMIT or not self._read():
                return False
        keyframes = [i for i in range(fed, len(self._window)) if self._starts_gop(self._window[i], tick)]
        if keyframes and keyframes[-1] > fed:
            return False
        if keyframes:
            self._gop = _pts(self._window[fed])
        self._entry = self._entry_at(tick)
        return True

    def _starts_gop(self, packet: Packet, tick: int) -> bool:
        return packet.is_keyframe and self._gop < _pts(packet) <= tick

    def _enter(self, tick: int) -> None:
        """Make the window start with the last keyframe shown at or before ``tick``."""
        entry = self._entry_at(tick)
        if len(self._index) and (entry != self._entry or not self._window):
            self._seek(tick)
            self._entry = entry
        for _ in range(_SEEK_ATTEMPTS):
            self._read_past(tick, trim=True)
            if self._window and self._window[0].is_keyframe and _pts(self._window[0]) <= tick:
                return
            if not len(self._index) or not self._window or self._window[0].dts is None:
                break
            self._seek(self._window[0].dts - 1)
        raise SeekError("no keyframe before the wanted frame")

    def _entry_at(self, tick: int) -> int:
        """The index entry of the keyframe before ``tick``, -1 if there is none."""
        return self._index.search_timestamp(tick - self._delay) if len(self._index) else -1

    def _seek(self, tick: int) -> None:
        try:
            self._video.container.seek(tick, stream=self._video.stream)
        except (FFmpegError, OSError, ValueError) as error:
            raise SeekError(str(error)) from error
        self._window.clear()
        self._source = self._video.packets()
        self._at_end = False

    def _read(self) -> bool:
        packet = next(self._source, None)
        if packet is None:
            self._at_end = True
            return False
        _pts(packet)
        if packet.dts is not None and self._window:
            before = self._window[-1].dts
            if before is not None and packet.dts < before:
                raise SeekError("decoding times run backwards")
        self._window.append(packet)
        return True

    def _past(self, tick: int) -> bool:
        """Whether no packet still unread can be shown at or before ``tick``."""
        if self._at_end:
            return True
        if len(self._window) < self._behind:
            return False
        dts = self._window[-self._behind].dts
        return dts is not None and dts > tick

    def _read_past(self, tick: int, *, trim: bool = False) -> None:
        """Read until every packet shown at or before ``tick`` is in the window; with ``trim``, drop whole
        GOPs before the one that holds it."""
        if trim:
            self._trim(0, tick)
        while not self._past(tick) and self._read():
            if trim:
                self._trim(len(self._window) - 1, tick)

    def _trim(self, start: int, tick: int) -> None:
        for i in range(len(self._window) - 1, max(start, 1) - 1, -1):
            if self._window[i].is_keyframe and _pts(self._window[i]) <= tick:
                del self._window[:i]
                return


def _pts(packet: Packet) -> int:
    if packet.pts is None:
        raise SeekError("a packet has no presentation time")
    return packet.pts


def _trimmed(packet: Packet, trimmer: Av1Trimmer, unneeded: bool) -> Packet | None:
    """The packet, if it is unneeded without what nothing refers to, None if nothing else is in it."""
    if not unneeded and not packet.is_keyframe:
        return packet
    data = bytes(cast("Any", packet))
    if packet.is_keyframe:
        trimmer.learn(data)
        return packet
    kept = trimmer.trim(data)
    if len(kept) == len(data) or not kept:
        return packet if kept else None
    shorter = Packet(kept)
    shorter.pts, shorter.dts, shorter.time_base = packet.pts, packet.dts, packet.time_base
    return shorter


class _Feed:
    """The decoder's side of one GOP: what was fed, what came out early, what is still owed."""

    def __init__(
        self, video: VideoFile, keyframe: Packet, *, skip: bool, trimmer: Av1Trimmer | None, from_start: bool
    ) -> None:
        self._video = video
        self._skip = skip
        self._trimmer = trimmer
        self._verified = from_start  # no seek, nothing to verify
        self._owed: set[int] = set()
        self._spare: dict[int, VideoFrame] = {}  # came out, but is shown after the last wanted frame
        self.keyframe = _pts(keyframe)
        self.position = 0  # how many packets of the window were fed
        self.recent: list[int] = []  # times of fed packets that a later tick may still ask for
        video.codec.flush_buffers()

    def run(self, window: list[Packet], wanted: Sequence[int], *, drain: bool) -> Iterator[VideoFrame]:
        """Feed packets up to the last wanted frame's; yield wanted frames in order as they come.

        ``drain`` ends the GOP: whatever the decoder holds back is taken out instead of being pushed out by
        more packets. Raises SeekError if a wanted frame is then missing.
        """
        self._owed.update(wanted)
        latest = max(wanted, default=self.keyframe)
        for pts in sorted(self._owed & self._spare.keys()):
            self._owed.discard(pts)
            yield self._spare.pop(pts)
        self._spare = {pts: frame for pts, frame in self._spare.items() if pts > latest}
        stop = max((i + 1 for i, p in enumerate(window) if p.pts in self._owed), default=self.position)
        fed = window[self.position : stop]
        self.position = max(self.position, stop)
        for packet in fed:
            unneeded = _pts(packet) < latest and packet.pts not in self._owed
            if self._skip:
                self._video.codec.skip_frame = "NONREF" if unneeded else "DEFAULT"
            if self._trimmer is None:
                yield from self._take(packet, latest)
            elif (needed := _trimmed(packet, self._trimmer, unneeded)) is not None:
                yield from self._take(needed, latest)
        shown = self.recent + [_pts(packet) for packet in fed if not packet.is_discard]
        self.recent = [pts for pts in shown if pts >= latest]
        if drain:
            yield from self._take(None, latest)
            if self._owed:
                raise SeekError("a wanted frame did not arrive")

    def _take(self, packet: Packet | None, latest: int) -> Iterator[VideoFrame]:
        try:
            frames = self._video.decode(packet)
        except (FFmpegError, ValueError) as error:
            raise SeekError(str(error)) from error
        for frame in frames:
            if frame.pts is None:
                raise SeekError("a frame has no presentation time")
            if frame.pts == self.keyframe and frame.key_frame and frame.pict_type == PictureType.I:
                self._verified = True
            if frame.pts in self._owed:
                if not self._verified:
                    raise SeekError("the packet marked as a keyframe is none")
                self._owed.discard(frame.pts)
                yield frame
            elif frame.pts > latest:
                self._spare[frame.pts] = frame
