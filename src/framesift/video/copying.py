"""Copying a stretch of a video to another file, packet by packet, without decoding it.

A copy can only begin with a keyframe: the last one that is shown at or before the wanted start. Its packets keep
their distances in time, so that sound and subtitles stay in step; rotation and the shape of pixels travel with the
streams' parameters. Frames that an edit list hides stay hidden: they get times before zero, for which the writers of
MP4 and QuickTime make an edit list again.
"""

from __future__ import annotations

import math
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, cast

import av
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Discard, Disposition, Stream

from ..errors import InputError
from .container import IN_ORDER_CODECS, MATROSKA, VideoFile
from .gops import GopReader, SeekError

__all__ = [
    "TICK_SLACK",
    "CannotCopy",
    "Written",
    "codec_name",
    "copy_stretch",
    "keyframe_start_s",
    "past_the_end",
    "writing",
]

TICK_SLACK = 1e-4  # as in decode.py: 0.29 s * 100 is 28.999999999999996 ticks

_MP4_VIDEO = frozenset({"h264", "hevc", "av1", "vp9", "mpeg4"})
_MP4_AUDIO = frozenset({"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"})
_PCM = frozenset({"pcm_s16le", "pcm_s24le", "pcm_s16be", "pcm_s24be"})
# What players find in each container, which is less than what FFmpeg would write.
_VIDEO = {
    "mp4": _MP4_VIDEO,
    "mov": _MP4_VIDEO - {"vp9", "av1"} | {"prores", "mjpeg"},
    "matroska": _MP4_VIDEO | {"vp8", "mpeg2video", "mjpeg", "prores"},
    "webm": frozenset({"vp8", "vp9", "av1"}),
}
_AUDIO = {
    "mp4": _MP4_AUDIO,
    "mov": _MP4_AUDIO - {"opus", "flac"} | _PCM,
    "matroska": _MP4_AUDIO | _PCM | {"vorbis", "dts", "truehd", "mp2"},
    "webm": frozenset({"opus", "vorbis"}),
}
_SUBTITLES = {
    "mp4": frozenset({"mov_text"}),
    "mov": frozenset({"mov_text"}),
    "matroska": frozenset({"subrip", "ass", "webvtt", "dvd_subtitle", "hdmv_pgs_subtitle"}),
    "webm": frozenset({"webvtt"}),
}
_HAS_EDIT_LISTS = frozenset({"mp4", "mov"})
_SEEK_BACK_S = (0, 2, 20)  # a seek by presentation time may land behind a keyframe that is decoded before it
_INTERLEAVED_S = 10  # how much later than the picture the sound of the same time may be stored


class CannotCopy(Exception):
    """Why this stretch cannot be copied into that container; never leaves the package."""


@dataclass
class Written:
    """What was written: the stretch of the source that it shows, in seconds, its codecs, and what is worth saying."""

    start_s: float
    end_s: float
    codecs: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])


@contextmanager
def writing(target: str | os.PathLike[str], muxer: str) -> Generator[OutputContainer]:
    """An open output file of this container; an MP4 gets its index in front, where a browser looks first.

    Raises InputError for a path that FFmpeg cannot take.
    """
    options = {"movflags": "+faststart"} if muxer in _HAS_EDIT_LISTS else {}
    name = "file:" + os.fsdecode(target)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"cannot write to {os.fsdecode(os.path.dirname(target))!r}: the name is not UTF-8"
        ) from None
    with av.open(name, "w", format=muxer, options=options) as container:
        yield container


def past_the_end(path: str, start_s: float, end_s: float) -> InputError:
    """For a stretch that begins after the last frame, which ends at ``end_s``."""
    return InputError(f"the stretch begins at {start_s:g} s, but {path!r} ends at {end_s:.3f} s")


def codec_name(stream: Stream) -> str | None:
    """FFmpeg's name of a stream's format (``h264``, ``mp3``), None where it has no decoder for it."""
    context = cast("Any", stream.codec_context)
    return None if context is None else str(context.codec.canonical_name)


def _keyframe(video: VideoFile, start_s: float) -> tuple[int, int]:
    """The ticks of the first frame and of the keyframe before ``start_s``."""
    try:
        reader = GopReader(video, skip_unreferenced=False)
        start = reader.first + math.floor(start_s / float(video.time_base) + TICK_SLACK)
        return reader.first, reader.keyframe_before(start)
    except SeekError as error:
        raise CannotCopy(f"it has no keyframe that one could rely on ({error})") from error


def keyframe_start_s(path: str, start_s: float) -> float:
    """Where a copy from ``start_s`` would begin. Raises CannotCopy, and DecodeError for no readable video."""
    with VideoFile(path) as video:
        first, keyframe = _keyframe(video, start_s)
        return max(0.0, float((keyframe - first) * video.time_base))


def copy_stretch(
    path: str,
    start_s: float,
    end_s: float,
    target: str | os.PathLike[str],
    muxer: str,
    *,
    max_bytes: int | None = None,
) -> Written:
    """Copy ``[start_s, end_s)``, from the keyframe before it, to a new file of the container ``muxer``.

    Raises CannotCopy, also for more than ``max_bytes``, DecodeError for no readable video, InputError for a stretch
    after its end, and OSError where ``target`` cannot be written.
    """
    with VideoFile(path) as video:
        first, keyframe = _keyframe(video, start_s)
    with VideoFile(path) as video:
        origin = max(keyframe, first)
        if keyframe < first and muxer not in _HAS_EDIT_LISTS:
            raise CannotCopy(f"an edit list hides its first frames, for which {muxer} has nothing")
        end = first * video.time_base + Fraction(end_s)
        copy = _Copy(
            video,
            muxer,
            origin=origin * video.time_base,
            end=end,
            from_first=origin == first,
            max_bytes=max_bytes,
        )
        try:
            with writing(target, muxer) as output:
                copy.run(output, keyframe)
        except (FFmpegError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise CannotCopy(f"FFmpeg refuses to write it as {muxer} ({error})") from error
        if video.damage is not None:
            copy.notes.append(f"the file is damaged: {video.damage}")
        zero = first * video.time_base
        if copy.last - zero <= start_s:
            raise past_the_end(path, start_s, float(copy.last - zero))
        return Written(float(copy.origin - zero), float(copy.last - zero), copy.codecs, copy.notes)


class _Copy:
    """One run: which streams go where, and the clock by which they are cut."""

    def __init__(
        self,
        video: VideoFile,
        muxer: str,
        *,
        origin: Fraction,
        end: Fraction,
        from_first: bool,
        max_bytes: int | None,
    ) -> None:
        self._video, self._muxer = video, muxer
        self.origin, self._end = origin, end  # seconds by the file's own clock
        self.last = origin  # when the last frame that was written ends
        self._from_first = from_first
        self._max_bytes = max_bytes
        self.codecs: list[str] = []
        self.notes: list[str] = []
        self._streams = list(self._chosen())

    def _chosen(self) -> Iterator[Stream]:
        video, muxer = self._video, self._muxer
        name = codec_name(video.stream)
        if name not in _VIDEO[muxer]:
            raise CannotCopy(f"{name} video does not go into {muxer}")
        for stream in video.container.streams:
            kind, name = stream.type, codec_name(stream)
            if stream is video.stream:
                yield stream
            elif kind == "audio":
                if name not in _AUDIO[muxer]:
                    raise CannotCopy(f"{name or 'unknown'} sound does not go into {muxer}")
                yield stream
            elif kind == "subtitle":
                if name in _SUBTITLES[muxer]:
                    yield stream
                else:
                    self.notes.append(
                        f"without subtitles in {name or 'an unknown format'}, which {muxer} has not"
                    )
            elif kind == "video" and not stream.disposition & Disposition.attached_pic:
                self.notes.append("without its further video streams")

    def run(self, output: OutputContainer, keyframe: int) -> None:
        copies: dict[int, Stream] = {}
        for stream in self._streams:
            stream.discard = Discard.default
            copies[stream.index] = copied = output.add_stream_from_template(stream, opaque=True)
            if stream.language is not None:
                copied.metadata["language"] = stream.language
            self.codecs.append(codec_name(stream) or "unknown")
        for key in ("title", "creation_time"):
            if key in self._video.container.metadata:
                output.metadata[key] = self._video.container.metadata[key]
        times = iter(self._decoding_times(keyframe)) if self._is_without_decoding_times() else None
        size_bytes = 0
        for packet in self._kept(keyframe):
            if times is not None and packet.stream is self._video.stream:
                packet.dts = next(times)
            size_bytes += packet.size
            if self._max_bytes is not None and size_bytes > self._max_bytes:
                raise CannotCopy(f"it would be larger than {self._max_bytes} bytes")
            base = packet.time_base
            shift = round(self.origin / base)
            if packet.stream is self._video.stream and not packet.is_discard:
                ticks = packet.duration or self._video.frame_ticks
                self.last = max(self.last, (cast("int", packet.pts) + ticks) * base)
            packet.pts = cast("int", packet.pts) - shift
            packet.dts = packet.pts if packet.dts is None else packet.dts - shift
            packet.stream = copies[packet.stream.index]
            output.mux(packet)

    def _is_without_decoding_times(self) -> bool:
        """Matroska stores none, and FFmpeg's guesses begin only some pictures after a seek."""
        in_order = self._video.codec.name in IN_ORDER_CODECS
        return self._video.container.format.name == MATROSKA and not in_order

    def _decoding_times(self, keyframe: int) -> list[int]:
        """A decoding time for each picture that is kept, from a pass over them: the times of display in order, as much
        earlier as it takes for no picture to be shown before it is decoded."""
        shown = [cast("int", p.pts) for p in self._kept(keyframe) if p.stream is self._video.stream]
        ordered = sorted(shown)
        places = {pts: place for place, pts in enumerate(ordered)}
        delay = max((number - places[pts] for number, pts in enumerate(shown)), default=0)
        before = [ordered[0] - (delay - number) * self._video.frame_ticks for number in range(delay)]
        return (before + ordered)[: len(shown)]

    def _kept(self, keyframe: int) -> Iterator[Packet]:
        """Packets of the stretch in the order of the file.

        A picture that is shown after the end goes along only where later packets, shown before it, may refer to it.
        """
        video, spare = self._video, list[Packet]()
        for packet in self._from(keyframe):
            base, pts = packet.time_base, cast("int", packet.pts)
            if packet.stream is not video.stream:
                if (kept := self._sound_or_text(packet)) is not None:
                    yield kept
            elif pts < keyframe:
                continue  # refers to pictures before the keyframe
            elif pts * base < self._end:
                yield from spare
                spare.clear()
                yield packet
            elif packet.dts is None or packet.dts * base < self._end:
                spare.append(packet)

    def _sound_or_text(self, packet: Packet) -> Packet | None:
        """The packet if it is heard or shown in the stretch; a subtitle on display at its start begins there."""
        base, pts = packet.time_base, cast("int", packet.pts)
        if pts * base >= self._end:
            return None
        if packet.stream.type != "subtitle":
            # the first packet of a file holds samples before zero that the decoder needs to get going
            return packet if pts * base >= self.origin or self._from_first else None
        stop = pts + (packet.duration or 0)
        if stop * base <= self.origin:
            return None
        begin, end = max(pts, round(self.origin / base)), min(stop, round(self._end / base))
        packet.pts = packet.dts = begin
        packet.duration = max(1, end - begin)
        return packet

    def _from(self, keyframe: int) -> Iterator[Packet]:
        """Packets with times, from the keyframe on until every stream has passed the end."""
        video, base = self._video, self._video.time_base
        for back_s in (*_SEEK_BACK_S, None):
            if back_s is None:
                video.container.seek(0)
            else:
                video.container.seek(keyframe - int(back_s / base), stream=video.stream)
            before: list[Packet] = []  # sound may be stored a little before the picture of its time
            packets = video.packets_of(self._streams)
            for packet in packets:
                if packet.pts is None:
                    raise CannotCopy("some of its packets have no time")
                if packet.stream is not video.stream:
                    before.append(packet)
                elif packet.pts == keyframe and packet.is_keyframe:
                    yield from before
                    yield packet
                    yield from self._to_the_end(packets)
                    return
                elif packet.dts is not None and packet.dts > keyframe:
                    break
        raise CannotCopy("its keyframe is not found again")

    def _to_the_end(self, packets: Iterator[Packet]) -> Iterator[Packet]:
        open_streams = {stream.index for stream in self._streams if stream.type != "subtitle"}
        for packet in packets:
            if packet.pts is None:
                raise CannotCopy("some of its packets have no time")
            if packet.dts is not None:
                time = packet.dts * packet.time_base
                if time >= self._end:
                    open_streams.discard(packet.stream.index)
                is_video = packet.stream is self._video.stream
                if not open_streams or (is_video and time > self._end + _INTERLEAVED_S):
                    return
            yield packet
