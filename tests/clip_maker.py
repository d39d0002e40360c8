"""Real video files for tests, encoded on the spot: every frame differs, and the picture moves."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

X264 = "bframes=3:b-pyramid=normal:scenecut=0:threads=1"


def x264(*, gop: int, open_gop: bool = False) -> dict[str, str]:
    """Encoder options for groups of ``gop`` pictures with B-frames that others refer to."""
    return {"x264-params": f"{X264}:keyint={gop}:min-keyint={gop}:open-gop={int(open_gop)}"}


def x265(*, gop: int, open_gop: bool = False) -> dict[str, str]:
    return {
        "x265-params": f"keyint={gop}:min-keyint={gop}:open-gop={int(open_gop)}:bframes=3:log-level=none:pools=1"
    }


def pictures(num_frames: int, *, width: int = 96, height: int = 64, seed: int = 0) -> list[np.ndarray]:
    """A window that slides over a random mosaic, RGB uint8."""
    rng = np.random.default_rng(seed)
    tiles = rng.integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    mosaic = np.kron(tiles, np.ones((16, 16, 1), dtype=np.uint8))
    return [
        np.ascontiguousarray(mosaic[i % height :][:height, (2 * i) % width :][:, :width])
        for i in range(num_frames)
    ]


@contextmanager
def scheduling_kept() -> Generator[None]:
    """SVT-AV1, run by root, leaves its caller at the highest real-time priority: threads and processes that the tests
    start later would inherit it, and keep all others from the processor."""
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)


@scheduling_kept()
def make_clip(
    path: Path,
    frames: Sequence[np.ndarray] | int = 60,
    *,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    gop: int | None = None,
    b_frames: int | None = None,
    pix_fmt: str = "yuv420p",
    times: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
) -> Path:
    """Encode ``frames`` (or so many pictures) shown at ``times`` (ticks of ``time_base``), 25 a second by default."""
    images = pictures(frames) if isinstance(frames, int) else frames
    height, width = images[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.time_base = time_base
        stream.codec_context.thread_count = 1
        if gop is not None:
            stream.gop_size = gop
        if b_frames is not None:
            stream.max_b_frames = b_frames
        for tick, image in zip(times or range(len(images)), images, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = tick, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
