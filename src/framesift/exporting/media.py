"""What editors must know about a video file: its rate as they count it, its length in frames, its first timecode.

Editors count frames, we count seconds. The rate of a file is its average one; where that is nearly one of the rates of
film and television, it is meant to be that one. In a video with uneven frame times a frame number is only as good as
the average.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from ..video import probe
from ..video.streams import stream_facts

__all__ = ["STANDARD_RATES", "Media", "frames_between", "main_rate", "media_of"]

STANDARD_RATES = (
    Fraction(24000, 1001),
    Fraction(24),
    Fraction(25),
    Fraction(30000, 1001),
    Fraction(30),
    Fraction(50),
    Fraction(60000, 1001),
    Fraction(60),
)
_NEARLY = 4e-4  # 24 and 24000/1001 differ by 1e-3
_ONE_FRAME_OFF = 0.025  # the average of two seconds, if the length of the last frame is wrong
_DEFAULT_RATE = Fraction(25)  # for files without any clock
_ROUNDING = 1e-6  # of a frame


@dataclass(frozen=True, kw_only=True)
class Media:
    """A video file for an editor.

    Attributes:
        url: ``file://`` address.
        rate: frames per second.
        num_frames: its length at that rate.
        timecode: of the first frame, or None.
        width, height: of the upright picture.
        has_sound: whether there is an audio stream.
    """

    url: str
    name: str
    rate: Fraction
    num_frames: int
    timecode: str | None
    width: int
    height: int
    has_sound: bool


def media_of(path: str) -> Media:
    """Raises DecodeError for a file that cannot be read."""
    info, streams = probe(path), stream_facts(path)
    rate = _tidy(info.fps, streams.base_fps)
    return Media(
        url=Path(os.path.abspath(path)).as_uri(),
        name=Path(path).name,
        rate=rate,
        num_frames=max(1, round((info.duration_s or 0.0) * rate)),
        timecode=streams.timecode,
        width=info.width,
        height=info.height,
        has_sound=streams.num_audio_streams > 0,
    )


def _tidy(fps: float | None, base_fps: Fraction | None) -> Fraction:
    """The rate that is meant by an average and a base one."""
    if fps is None or not 0 < fps < 1000:
        return _DEFAULT_RATE
    if base_fps is not None and abs(fps / float(base_fps) - 1) < _ONE_FRAME_OFF:
        fps = float(base_fps)
    for rate in STANDARD_RATES:
        if abs(fps / float(rate) - 1) < _NEARLY:
            return rate
    return Fraction(fps).limit_denominator(1001)


def main_rate(media: Sequence[Media]) -> Fraction:
    """The rate of film or television that most of the files have, the higher of two that as many have; if none has
    one, the rate that suits most."""
    exact = [one.rate for one in media if one.rate in STANDARD_RATES]
    counts = Counter(exact or [_standard(one.rate) for one in media])
    return max(counts, key=lambda rate: (counts[rate], rate))


def _standard(rate: Fraction) -> Fraction:
    """A standard rate in which each frame of ``rate`` has whole frames, if there is one; else the next higher."""
    multiples = [one for one in STANDARD_RATES if one > rate and (one / rate).denominator == 1]
    higher = [one for one in STANDARD_RATES if one >= rate]
    return (multiples or higher or [STANDARD_RATES[-1]])[0]


def frames_between(start_s: float, end_s: float, rate: Fraction, num_frames: int) -> tuple[int, int]:
    """First frame and number of frames, at least one, that hold all of a stretch, within a video of ``num_frames``."""
    first = min(max(0, math.floor(start_s * rate + _ROUNDING)), num_frames - 1)
    stop = min(math.ceil(end_s * rate - _ROUNDING), num_frames)
    return first, max(1, stop - first)
