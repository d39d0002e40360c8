"""What else than pictures a file holds, from its header."""

from __future__ import annotations

import os
from dataclasses import dataclass

from .container import VideoFile

__all__ = ["StreamFacts", "stream_facts"]


@dataclass(frozen=True, kw_only=True)
class StreamFacts:
    """``num_audio_streams``, and ``timecode``: what a camera stamped the first frame with, such as ``01:00:00:00``
    (``;`` before the frames if numbers are dropped), else None."""

    num_audio_streams: int
    timecode: str | None


def stream_facts(path: str | os.PathLike[str]) -> StreamFacts:
    """Facts about a video file's streams. Raises DecodeError if it is none."""
    with VideoFile(path, quick=True) as video:
        streams = video.container.streams
        stamps = [stream.metadata.get("timecode") for stream in (video.stream, *streams)]
        stamps.append(video.container.metadata.get("timecode"))
        return StreamFacts(
            num_audio_streams=len(streams.audio), timecode=next((stamp for stamp in stamps if stamp), None)
        )
