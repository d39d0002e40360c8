"""Video files with sound and subtitles, in which the same moment can be recognised in every stream."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from clip_maker import pictures, scheduling_kept, x264

RATE = 48_000
FPS = 25


@scheduling_kept()
def make_film(
    path: Path,
    *,
    seconds: float = 4.0,
    loud_from_s: float = 2.0,
    video: str = "libx264",
    options: dict[str, str] | None = None,
    pix_fmt: str = "yuv420p",
    audio: str | None = "aac",
    subtitle: str | None = None,
    rotation: int | None = None,
    width: int = 96,
    height: int = 64,
    times: Sequence[int] | None = None,
) -> Path:
    """``seconds`` of a moving mosaic at 25 frames a second; the sound is silent, then a tone from ``loud_from_s``.

    A subtitle of the format ``subtitle`` says "loud" from then on, for a second. ``times``: ticks of 1/25 s.
    """
    images = pictures(round(seconds * FPS), width=width, height=height)
    if options is None:
        options = x264(gop=25) if video == "libx264" else {}
    with av.open(str(path), "w") as container:
        picture = container.add_stream(video, rate=FPS, options=options)
        picture.width, picture.height, picture.pix_fmt = width, height, pix_fmt
        picture.codec_context.time_base = Fraction(1, FPS)
        picture.codec_context.thread_count = 1
        if rotation is not None:
            picture.set_display_rotation(rotation)
        sound = container.add_stream(audio, rate=RATE, layout="mono") if audio else None
        text = container.add_mux_stream(subtitle) if subtitle else None
        container.start_encoding()
        for number, image in zip(times or range(len(images)), images, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(picture.encode(frame))
            if sound is not None:
                container.mux(sound.encode(_tone(number, loud_from_s)))
        container.mux(picture.encode())
        if sound is not None:
            container.mux(sound.encode())
        if text is not None:
            packet = av.Packet(b"loud")
            packet.stream, packet.time_base = text, Fraction(1, 1000)
            packet.pts = packet.dts = round(loud_from_s * 1000)
            packet.duration = 1000
            container.mux(packet)
    return path


def _tone(number: int, loud_from_s: float) -> av.AudioFrame:
    count = RATE // FPS
    at = number * count + np.arange(count)
    wave = 0.5 * np.sin(2 * np.pi * 440 * at / RATE) * (at >= loud_from_s * RATE)
    frame = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = RATE, number * count, Fraction(1, RATE)
    return frame


def loud_from(path: Path) -> float:
    """When the tone begins, in seconds by the clock of the file; -1 if it never does."""
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            loud = np.flatnonzero(np.abs(frame.to_ndarray()).max(axis=0) > 0.1)
            if len(loud):
                return float(frame.pts * frame.time_base) + float(loud[0]) / frame.sample_rate
    return -1.0


def subtitle_times(path: Path) -> list[tuple[float, float]]:
    """When each subtitle is shown, and for how long."""
    with av.open(str(path)) as container:
        return [
            (float(packet.pts * packet.time_base), float(packet.duration * packet.time_base))
            for packet in container.demux(subtitles=0)
            if packet.size and bytes(packet).strip(b"\0")
        ]
