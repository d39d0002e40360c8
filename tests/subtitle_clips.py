"""Video files with text streams, and subtitle files, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

__all__ = ["srt", "write_subtitled"]

Lines = Sequence[tuple[float, float, str]]


def write_subtitled(
    path: Path, codec: str, cues: Lines, *, language: str = "eng", seconds: float = 5.0
) -> Path:
    """A grey H.264 clip with one text stream; ``cues`` are start, end (s) and text as the codec stores it."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=8, options={"preset": "ultrafast"})
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        text = container.add_stream(codec)
        text.metadata["language"] = language
        text.codec_context.subtitle_header = b"[Script Info]\n"
        grey = np.full((32, 32, 3), 128, np.uint8)
        for _ in range(round(8 * seconds)):
            container.mux(video.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(video.encode())
        for start_s, end_s, line in cues:
            data = line.encode()
            if codec == "mov_text":  # ISO/IEC 14496-17: length before text
                data = len(data).to_bytes(2, "big") + data
            packet = av.Packet(data)
            packet.stream, packet.time_base = text, Fraction(1, 1000)
            packet.pts = packet.dts = round(1000 * start_s)
            packet.duration = round(1000 * (end_s - start_s))
            container.mux(packet)
    return path


def srt(cues: Lines) -> str:
    """SubRip text."""

    def stamp(seconds: float) -> str:
        ms = round(1000 * seconds)
        return f"{ms // 3600000:02}:{ms // 60000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"

    return "\n".join(
        f"{number}\n{stamp(start_s)} --> {stamp(end_s)}\n{text}\n"
        for number, (start_s, end_s, text) in enumerate(cues, start=1)
    )
