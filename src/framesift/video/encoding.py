"""Encoding a stretch of a video anew: exact to the frame and to the sample, playable everywhere.

Pictures come from the decoder that everything else here uses, sound from a second reader of the same file, and the two
are merged by time. Frames keep their own times (a video with uneven ones stays so), pixels become square, and the
rotation is kept as a mark. The first frame is the one on display at the start. Sound is cut to the sample; where the
source has a gap, silence fills it, so that what follows stays in step.
"""

from __future__ import annotations

import heapq
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.error import FFmpegError
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from ..errors import DecodeError, InputError
from .container import MAX_PIXELS, VideoFile
from .copying import TICK_SLACK, Written, past_the_end, writing
from .gops import GopReader, SeekError
from .pictures import pixel_aspect

__all__ = ["Quality", "encode_stretch", "encoders"]

# Per container, in the order of preference; which of them exist depends on how PyAV's FFmpeg was built.
_VIDEO_ENCODERS = {"webm": ("libvpx-vp9", "libvpx"), "": ("libx264", "libopenh264")}
_AUDIO_ENCODERS = {"webm": ("libopus", "libvorbis"), "": ("aac",)}
_AUDIO_RATES = frozenset(
    {48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000}
)  # AAC's; Opus has 48000 only
_AUDIO_BITS_PER_S = 128_000
_THREADS = 2  # of the encoder: a server that makes a copy must still answer
_DRIFT_S = 0.04  # by which sound may be off before it is moved; clocks of containers are that coarse
_FPS_RANGE = (Fraction(1), Fraction(240))  # for the encoder's rate control only
_UNSPECIFIED = 2  # of the colour properties in ITU-T H.273
_BT601, _LIMITED_RANGE = 6, 1


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How well to encode.

    crf: x264's constant rate factor, 0 to 51, lower is better.
    bits_per_s: the video's most, averaged over a second; None for any.
    height_px: pictures whose shorter side is longer than this are made smaller.
    bytes: the file ends early rather than grow beyond this.
    """

    crf: int = 18  # hard to tell from the source
    preset: str = "veryfast"
    bits_per_s: int | None = None
    height_px: int | None = None
    bytes: int | None = None


def encoders(muxer: str) -> tuple[str | None, str | None]:
    """The video and audio encoders that PyAV has for a container, None where it has none."""
    kinds = (_VIDEO_ENCODERS, _AUDIO_ENCODERS)
    video, audio = (
        next((name for name in kind.get(muxer, kind[""]) if _can_encode(name)), None) for kind in kinds
    )
    return video, audio


def _can_encode(name: str) -> bool:
    try:
        av.Codec(name, "w")
    except (FFmpegError, ValueError):
        return False
    return True


def encode_stretch(
    path: str, start_s: float, end_s: float, target: str | os.PathLike[str], muxer: str, quality: Quality
) -> Written:
    """Encode ``[start_s, end_s)`` to a new file of the container ``muxer``.

    Raises DecodeError for a file without readable frames there, InputError for a stretch that begins after the end or
    if PyAV lacks the encoder, and OSError where ``target`` cannot be written.
    """
    video_encoder, audio_encoder = encoders(muxer)
    if video_encoder is None:
        raise InputError(f"the installed PyAV has no encoder for {muxer}; install the one from PyPI")
    picture = _Pictures(path, start_s, end_s)
    sound = (
        _Sound(path, start_s, end_s, opus=audio_encoder == "libopus") if audio_encoder is not None else None
    )
    try:
        with writing(target, muxer) as output:
            encode = _Encode(output, picture, sound, quality)
            encode.run(video_encoder, audio_encoder or "")
    except FFmpegError as error:
        raise DecodeError(path, f"it cannot be encoded anew ({error.strerror or error})") from error
    finally:
        picture.close()
        if sound is not None:
            sound.close()
    return Written(start_s, encode.end_s, encode.codecs, encode.notes)


class _Pictures:
    """Frames on display in a stretch, each with its time in ticks from the start of the stretch."""

    def __init__(self, path: str, start_s: float, end_s: float) -> None:
        self.start_s, self._end_s = start_s, end_s
        self._low = self._first = self.length = 0
        self.goes_on = False  # whether the video was seen to go on after the stretch
        self.video = VideoFile(path)
        try:
            self._frames = self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self.video.close()

    @property
    def first_s(self) -> float:
        """The time of the video's first frame by the clock of the file."""
        return self._first * float(self.video.time_base)

    def _open(self) -> Iterator[tuple[int, VideoFrame]]:
        """Frames from the keyframe before the stretch, or all frames where none can be relied on."""
        path = self.video.path
        try:
            reader = GopReader(self.video, skip_unreferenced=False)
            keyframe = reader.keyframe_before(reader.first + self._ticks(self.start_s))
            self._first = reader.first
            self._reopen(path)
            if keyframe > self._first:
                self.video.container.seek(keyframe, stream=self.video.stream)
            frames = self.video.frames()
            for tick, frame in frames:
                if tick == keyframe and frame.key_frame:
                    self._set_span()
                    return _chain((tick, frame), frames)
                if tick > keyframe:
                    break
        except (SeekError, FFmpegError):
            pass
        self._reopen(path)
        frames = self.video.frames()
        for tick, frame in frames:
            self._first = tick
            self._set_span()
            return _chain((tick, frame), frames)
        raise DecodeError(path, f"no frame can be decoded ({self.video.damage or 'it holds none'})")

    def _reopen(self, path: str) -> None:
        self.video.close()
        self.video = VideoFile(path)

    def _ticks(self, seconds: float) -> int:
        return math.floor(seconds / float(self.video.time_base) + TICK_SLACK)

    def _set_span(self) -> None:
        self._low = self._first + self._ticks(self.start_s)
        self.length = max(1, self._first + self._ticks(self._end_s) - self._low)

    def __iter__(self) -> Iterator[tuple[int, VideoFrame]]:
        """Each frame once, at ascending ticks from 0. Raises InputError if the video ends before the stretch."""
        on_display: tuple[int, VideoFrame] | None = None
        last = -1
        for tick, frame in self._frames:
            at = tick - self._low
            if at >= self.length:
                self.goes_on = True
                break
            if at <= 0:
                on_display = (at, frame)
                continue
            if on_display is not None:
                last = 0
                yield 0, on_display[1]
                on_display = None
            if at > last:  # a time that ran backwards was held: two frames have the same
                last = at
                yield at, frame
        if on_display is not None:
            at, frame = on_display
            ends = at + (frame.duration or self.video.frame_ticks)
            if ends <= 0:
                after_s = (ends + self._low - self._first) * float(self.video.time_base)
                raise past_the_end(self.video.path, self.start_s, after_s)
            yield 0, frame


def _chain(
    first: tuple[int, VideoFrame], rest: Iterator[tuple[int, VideoFrame]]
) -> Iterator[tuple[int, VideoFrame]]:
    yield first
    yield from rest


class _Sound:
    """The samples of a stretch without gaps, in blocks; ``rate`` is 0 where the file has no sound."""

    def __init__(self, path: str, start_s: float, end_s: float, *, opus: bool) -> None:
        self._start_s, self._end_s = start_s, end_s
        self.note: str | None = None
        self.rate = 0
        self.layout = "stereo"
        self._file = VideoFile(path)
        streams = [s for s in self._file.container.streams.audio if cast("Any", s.codec_context) is not None]
        if streams:
            self._stream = max(streams, key=lambda s: bool(s.disposition & Disposition.default))
            context = self._stream.codec_context
            self.layout = "mono" if context.channels == 1 else "stereo"
            self.rate = 48000 if opus or context.sample_rate not in _AUDIO_RATES else context.sample_rate
            self._stream.discard = Discard.default
            self._file.stream.discard = Discard.all
            self._resampler = AudioResampler(format="fltp", layout=self.layout, rate=self.rate)

    def close(self) -> None:
        self._file.close()

    def blocks(self, first_s: float) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Number of the first sample, and samples ``[channel, sample]``; ``first_s`` is the clock's time of frame 0."""
        if not self.rate:
            return
        zero_s = first_s + self._start_s
        wanted = round((self._end_s - self._start_s) * self.rate)
        channels = 1 if self.layout == "mono" else 2
        written = 0
        for time_s, samples in self._samples(zero_s):
            at = round((time_s - zero_s) * self.rate)
            gap = at - written
            if written and abs(gap) < _DRIFT_S * self.rate:
                gap = 0
            if gap < 0:
                samples, gap = samples[:, -gap:], 0
            while gap > 0 and written < wanted:
                silence = min(gap, self.rate, wanted - written)  # a second at a time: a gap may be long
                yield written, np.zeros((channels, silence), dtype=np.float32)
                written, gap = written + silence, gap - silence
            samples = samples[:, : wanted - written]
            if samples.shape[1]:
                yield written, samples
                written += samples.shape[1]
            if written >= wanted:
                return

    def _samples(self, zero_s: float) -> Iterator[tuple[float, NDArray[np.float32]]]:
        base = self._stream.time_base or Fraction(1, self.rate)
        if zero_s > 1:  # decoders need a few packets to get going
            try:
                self._file.container.seek(int((zero_s - 0.5) / base), stream=self._stream)
            except (FFmpegError, OSError, ValueError):
                self._file.container.seek(0)
        time_s: float | None = None
        for packet in self._file.packets_of([self._stream]):
            try:
                frames = [
                    one
                    for frame in packet.decode()
                    for one in self._resampler.resample(cast("AudioFrame", frame))
                ]
            except (FFmpegError, ValueError) as error:
                self.note = f"some of its sound cannot be decoded ({error})"
                continue
            for frame in frames:
                if frame.pts is not None:
                    time_s = float(frame.pts * cast("Fraction", frame.time_base))
                time_s = time_s or 0.0
                yield time_s, cast("NDArray[np.float32]", frame.to_ndarray())
                time_s += frame.samples / self.rate


class _Encode:
    """One output file being written."""

    def __init__(
        self, output: OutputContainer, pictures: _Pictures, sound: _Sound | None, quality: Quality
    ) -> None:
        self._output, self._pictures, self._sound, self._quality = output, pictures, sound, quality
        self._base = pictures.video.time_base
        self._reformatter = VideoReformatter()
        self._bytes = 0
        self._durations: dict[int, int] = {}
        self.end_s = 0.0
        self.codecs: list[str] = []
        self.notes: list[str] = []

    def run(self, video_encoder: str, audio_encoder: str) -> None:
        frames = iter(self._pictures)
        first = next(frames)
        stream = self._video_stream(video_encoder, first[1])
        self.codecs.append(video_encoder)
        sound: AudioStream | None = None
        if self._sound is not None and self._sound.rate:
            added = self._output.add_stream(audio_encoder, rate=self._sound.rate, layout=self._sound.layout)
            sound = cast("AudioStream", added)
            sound.bit_rate = _AUDIO_BITS_PER_S
            self.codecs.append(audio_encoder)
        end = 0
        for _, item in heapq.merge(
            self._timed_pictures(first, frames), self._timed_sound(), key=lambda item: item[0]
        ):
            if self._quality.bytes is not None and self._bytes > self._quality.bytes:
                self.notes.append(f"it ends early, at {self._quality.bytes} bytes")
                break
            if isinstance(item, _Picture):
                end = item.tick + item.ticks
                self._durations[item.tick] = item.ticks
                self._write(stream, self._prepared(stream, item))
            elif sound is not None:
                self._write(sound, item)
        self._write(stream, None)
        if sound is not None:
            self._write(sound, None)
        source = self._pictures.video
        self.end_s = self._pictures.start_s + end * float(self._base)
        if source.damage is not None:
            self.notes.append(f"the file is damaged: {source.damage}")
        if self._sound is not None and self._sound.note is not None:
            self.notes.append(self._sound.note)

    def _timed_pictures(
        self, first: tuple[int, VideoFrame], rest: Iterator[tuple[int, VideoFrame]]
    ) -> Iterator[tuple[float, _Picture | AudioFrame]]:
        """Each picture with its time in seconds, once the next one tells how long it is shown."""
        tick, frame = first
        for later, after in rest:
            yield tick * float(self._base), _Picture(tick, later - tick, frame)
            tick, frame = later, after
        ticks = self._pictures.length - tick
        if not self._pictures.goes_on:
            ticks = min(ticks, frame.duration or self._pictures.video.frame_ticks)
        yield tick * float(self._base), _Picture(tick, max(1, ticks), frame)

    def _timed_sound(self) -> Iterator[tuple[float, _Picture | AudioFrame]]:
        if self._sound is None:
            return
        for at, samples in self._sound.blocks(self._pictures.first_s):
            frame = AudioFrame.from_ndarray(
                np.ascontiguousarray(samples), format="fltp", layout=self._sound.layout
            )
            frame.sample_rate = self._sound.rate
            frame.pts, frame.time_base = at, Fraction(1, self._sound.rate)
            yield at / self._sound.rate, frame

    def _video_stream(self, encoder: str, frame: VideoFrame) -> VideoStream:
        video = self._pictures.video
        low, high = _FPS_RANGE
        rate = min(max(video.stream.average_rate or Fraction(25), low), high)
        stream = cast("VideoStream", self._output.add_stream(encoder, rate=rate.limit_denominator(100_000)))
        context = stream.codec_context
        context.time_base = self._base
        context.pix_fmt = "yuv420p"
        context.width, context.height = _even_size(
            frame.width, frame.height, pixel_aspect(video), self._quality.height_px
        )
        context.thread_count = _THREADS
        limit = self._quality.bits_per_s
        if encoder == "libx264":
            context.options = {"preset": self._quality.preset, "crf": str(self._quality.crf)}
            if limit is not None:
                context.options |= {"maxrate": str(limit), "bufsize": str(limit)}
        elif encoder == "libvpx-vp9":
            context.options = {
                "crf": str(self._quality.crf + 12),
                "b": "0",
                "deadline": "realtime",
                "cpu-used": "6",
            }
        else:
            context.bit_rate = limit or 4_000_000
        # What the picture's numbers mean goes along; RGB is converted as FFmpeg does by default.
        from_rgb = frame.format.is_rgb
        context.color_range = _LIMITED_RANGE
        context.colorspace = _BT601 if from_rgb else frame.colorspace
        context.color_primaries = _UNSPECIFIED if from_rgb else frame.color_primaries
        context.color_trc = _UNSPECIFIED if from_rgb else frame.color_trc
        matrix = cast("Any", frame.side_data).get(SideDataType.DISPLAYMATRIX)
        if matrix is not None:
            stream.set_display_matrix(np.frombuffer(bytes(matrix), dtype=np.int32).tolist())
        return stream

    def _prepared(self, stream: VideoStream, picture: _Picture) -> VideoFrame:
        frame = picture.frame
        if frame.width * frame.height > MAX_PIXELS:
            path = self._pictures.video.path
            raise DecodeError(path, f"frames of {frame.width}x{frame.height} are too large")
        context = stream.codec_context
        ready = self._reformatter.reformat(
            frame, context.width, context.height, "yuv420p", dst_color_range=_LIMITED_RANGE, threads=1
        )
        ready.pts, ready.time_base = picture.tick, self._base
        ready.pict_type = 0  # the encoder decides anew which pictures are keyframes
        return ready

    def _write(self, stream: VideoStream | AudioStream, frame: Any) -> None:
        for packet in stream.encode(frame):
            if stream.type == "video" and packet.pts in self._durations:
                packet.duration = self._durations.pop(packet.pts)
            self._bytes += packet.size
            self._output.mux(packet)


@dataclass(frozen=True)
class _Picture:
    tick: int
    ticks: int
    frame: VideoFrame


def _even_size(width: int, height: int, aspect: float, height_px: int | None) -> tuple[int, int]:
    """The size in square pixels, even in both directions as 4:2:0 wants it."""
    wide, high = (width * aspect, float(height)) if aspect >= 1 else (float(width), height / aspect)
    scale = 1.0 if height_px is None else min(1.0, height_px / min(wide, high))
    return max(2, 2 * round(wide * scale / 2)), max(2, 2 * round(high * scale / 2))
