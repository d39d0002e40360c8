"""What else than pictures a file holds, from its header and first packets."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction

from .container import VideoFile

__all__ = ["StreamFacts", "stream_facts"]


@dataclass(frozen=True, kw_only=True)
class StreamFacts:
    """Attributes:
    num_audio_streams: with what can be decoded and what cannot.
    base_fps: the lowest rate in whose ticks all frames begin, None where there is none to speak of. Where frames
        are even, it is their rate, and the average one, which a cut end or a late start changes, is not quite.
    timecode: what a camera stamped the first frame with, such as ``01:00:00:00`` (``;`` before the frames if
        numbers are dropped), else None.
    """

    num_audio_streams: int
    base_fps: Fraction | None
    timecode: str | None


def stream_facts(path: str | os.PathLike[str]) -> StreamFacts:
    """Facts about a video file's streams. Raises DecodeError if it is none."""
    with VideoFile(path) as video:
        streams = video.container.streams
        stamps = [stream.metadata.get("timecode") for stream in (video.stream, *streams)]
        stamps.append(video.container.metadata.get("timecode"))
        return StreamFacts(
            num_audio_streams=len(streams.audio),
            base_fps=video.stream.base_rate or None,
            timecode=next((stamp for stamp in stamps if stamp), None),
        )
