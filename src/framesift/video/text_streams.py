"""Subtitles inside a video file: its text streams, as cues with times.

Most containers store subtitles between the pictures, so that the whole file is read through, though nothing of it is
decoded; MP4 and QuickTime have a table of them. Bitmap subtitles (DVD, Blu-ray, DVB) hold no text and are passed over.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Any, cast

from av.error import FFmpegError
from av.stream import Discard
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import AssSubtitle

from .container import VideoFile
from .subtitles import MAX_CUES, Cue, Track, plain_text, tidy

__all__ = ["TEXT_CODECS", "read_text_streams"]

TEXT_CODECS = frozenset({"mov_text", "subrip", "srt", "ass", "ssa", "webvtt", "text"})
MAX_STREAMS = 64  # films on disc have up to 32 languages
LONGEST_CUE_S = 30.0  # for a cue of which the stream does not say when it ends


@dataclass
class _Reading:
    stream: SubtitleStream
    cues: list[Cue] = field(default_factory=list)
    skipped: int = 0


def read_text_streams(path: str | os.PathLike[str] | bytes, *, time_limit_s: float = 240.0) -> list[Track]:
    """The text streams of a video file, one track each; empty where it has none.

    Args:
        time_limit_s: a file that takes longer to read through is left there; its tracks say so in ``problem``.

    Raises:
        DecodeError: the file is not a readable video.
    """
    deadline = time.monotonic() + time_limit_s
    with VideoFile(path) as video:
        readings: dict[int, _Reading] = {}
        for stream in video.container.streams.subtitles[:MAX_STREAMS]:
            codec = cast("Any", stream.codec_context)  # None where FFmpeg does not know the codec
            if codec is not None and codec.name in TEXT_CODECS:
                stream.discard = Discard.default
                readings[stream.index] = _Reading(stream)
        if not readings:
            return []
        video.stream.discard = Discard.all
        # as everywhere in framesift, a video begins with its first picture
        first = video.stream.start_time
        origin_s = float(first * video.time_base) if first is not None else 0.0
        problem = _read(video, readings, origin_s, deadline)
    return [
        Track(
            source=f"stream {index}",
            language=_language(reading.stream),
            cues=tidy(reading.cues),
            skipped=reading.skipped,
            problem=problem,
        )
        for index, reading in readings.items()
    ]


def _read(video: VideoFile, readings: dict[int, _Reading], origin_s: float, deadline: float) -> str | None:
    """Put all cues where they belong; returns why it ended early, if it did."""
    try:
        for packet in video.container.demux([reading.stream for reading in readings.values()]):
            if time.monotonic() > deadline:
                return "reading the file through took too long; later cues are missing"
            reading = readings.get(packet.stream.index)
            if reading is None or not packet.size or len(reading.cues) >= MAX_CUES:
                continue
            if packet.pts is None:
                reading.skipped += 1
                continue
            start_s = float(packet.pts * packet.time_base)
            length_s = float(packet.duration * packet.time_base) if packet.duration else None
            try:
                shown = reading.stream.codec_context.decode2(packet)
            except (FFmpegError, ValueError, EOFError):
                reading.skipped += 1
                continue
            if shown is None:
                continue  # MP4 fills the time between two cues with empty ones
            if length_s is None:
                ending_ms = shown.end_display_time
                length_s = ending_ms / 1000 if 0 < ending_ms < 1000 * LONGEST_CUE_S else LONGEST_CUE_S
            lines = [rect.dialogue for rect in shown if isinstance(rect, AssSubtitle)]
            text = plain_text("\n".join(line.decode("utf-8", "replace") for line in lines))
            start_s = max(0.0, start_s - origin_s)
            if text:
                reading.cues.append(Cue(start_s=start_s, end_s=start_s + length_s, text=text))
    except (FFmpegError, OSError, EOFError, ValueError, IndexError) as error:
        return f"reading stopped: {error}; later cues are missing"
    return None


def _language(stream: SubtitleStream) -> str | None:
    """ISO 639 as the container has it; ``und`` is its word for not knowing."""
    said = stream.metadata.get("language", "")
    return said[:35] if said and said.lower() != "und" else None
