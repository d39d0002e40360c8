"""Clips for training: which frames of a video are seen, and how they are augmented, in the processes that decode.

What is random here is a function of a number that comes with each request, so that a resumed run sees the same frames.
Nothing here imports torch, so that the processes start at once.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..encoders.preprocess import Preprocess
from ..errors import ConfigError
from ..storyboard import draw_storyboard, render_frame
from ..storyboard.render import FPS
from ..video import Frames, decode
from ..video.decode import Transform
from ..video.sampling import Sampler, clip4clip_slice

__all__ = ["ClipDecoder", "EverySecond", "Jittered", "crop_and_flip", "request"]

STORYBOARD = "storyboard:"
"""A video of Storyboard is named by this and its seed, and rendered instead of decoded."""

CROP_AREA = (0.5, 1.0)  # X-Pool, released transforms: share of the picture
CROP_ASPECT = (3 / 4, 4 / 3)  # torchvision's default, which X-Pool keeps
CROP_TRIES = 10  # torchvision


@dataclass(frozen=True, kw_only=True)
class EverySecond:
    """The first frame of every second, thinned evenly to ``max_frames`` (CLIP4Clip; spec: section 0.4).

    The published loader counts frames at a whole number of frames a second and so drifts away from the clock; times do
    not.
    """

    max_frames: int

    def times(self, start_s: float, end_s: float) -> NDArray[np.float64]:
        """A time a second, at least one."""
        seconds = start_s + np.arange(max(1, math.ceil(end_s - start_s - 1e-6)), dtype=np.float64)
        return seconds[clip4clip_slice(len(seconds), self.max_frames)]


@dataclass(frozen=True, kw_only=True)
class Jittered:
    """A random time of each of ``num_frames`` equal intervals (X-Pool's ``rand``)."""

    num_frames: int
    seed: int

    def times(self, start_s: float, end_s: float) -> NDArray[np.float64]:
        """``num_frames`` times, the same for the same seed."""
        share = np.random.default_rng(self.seed).random(self.num_frames)
        places = (np.arange(self.num_frames) + share) / self.num_frames
        return start_s + places * max(0.0, end_s - start_s)


def request(path: str, draw: int = 0, *, start_s: float | None = None, end_s: float | None = None) -> str:
    """What :class:`ClipDecoder` takes in place of a path.

    Args:
        path: of a file, or ``storyboard:SEED``.
        draw: the number that decides what is random.
        start_s, end_s: of the moment that is seen; default: the whole video.
    """
    return json.dumps([path, draw, start_s or 0.0, end_s])


@dataclass(frozen=True, kw_only=True)
class ClipDecoder:
    """Requests -> frames, resized to what the encoder takes, for :func:`framesift.video.load_videos`.

    Attributes:
        preprocessing: of the encoder.
        jitter, augmentation: see :class:`.FramesRecipe`; off, the frames are those of evaluation.

    Raises:
        ConfigError: the encoder takes pictures of any size, which the crop does not make.
    """

    preprocessing: Preprocess
    num_frames: int
    jitter: bool = False
    augmentation: str = "none"

    def __post_init__(self) -> None:
        if self.augmentation != "none" and self.preprocessing.max_num_patches is not None:
            raise ConfigError(
                "frames.augmentation='xpool' makes squares; this encoder keeps the aspect of pictures"
            )

    def __call__(self, path: str | Path, sampler: Sampler, *, transform: Transform | None = None) -> Frames:
        """The frames of a request.

        Raises:
            DecodeError: the video cannot be read.
        """
        name, draw, start_s, end_s = json.loads(str(path))
        if self.jitter:
            sampler = Jittered(num_frames=self.num_frames, seed=draw)
        if name.startswith(STORYBOARD):
            frames = _rendered(name, sampler)
        else:
            shrink = self._small_one if self.augmentation == "none" else None
            frames = decode(name, sampler, start_s=start_s, end_s=end_s, transform=shrink)
        return replace(frames, pixels=self._small(frames.pixels, draw))

    def _small_one(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return self.preprocessing.resize_crop(picture[None])[0]

    def _small(self, pixels: NDArray[np.uint8], draw: int) -> NDArray[np.uint8]:
        if self.augmentation == "none":
            return self.preprocessing.resize_crop(pixels)
        side = self.preprocessing.shortest_edge
        size = self.preprocessing.crop or self.preprocessing.size or (side or 0, side or 0)
        return crop_and_flip(pixels, size, np.random.default_rng([1, draw]))


def crop_and_flip(
    pixels: NDArray[np.uint8], size: tuple[int, int], generator: np.random.Generator
) -> NDArray[np.uint8]:
    """X-Pool's augmentation: half to all of the picture, resized, and mirrored half the time; one draw for all frames.

    Args:
        pixels: ``[frame, height, width, 3]``.
        size: height and width of the result.
    """
    top, left, height, width = _crop_box(pixels.shape[1], pixels.shape[2], generator)
    mirrored = generator.random() < 0.5
    box = (left, top, left + width, top + height)

    def one(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        image = Image.fromarray(frame).resize((size[1], size[0]), Image.Resampling.BILINEAR, box=box)
        return np.asarray(image)[:, ::-1] if mirrored else np.asarray(image)

    return np.stack([one(frame) for frame in pixels])


def _crop_box(height: int, width: int, generator: np.random.Generator) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random part: torchvision's rule."""
    low, high = np.log(CROP_ASPECT)
    for _ in range(CROP_TRIES):
        area = height * width * generator.uniform(*CROP_AREA)
        aspect = math.exp(generator.uniform(low, high))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return int(generator.integers(height - h + 1)), int(generator.integers(width - w + 1)), h, w
    # a picture so long that no part of it fits: as much of its middle as the aspect allows
    w = min(width, round(height * CROP_ASPECT[1]))
    h = min(height, round(width / CROP_ASPECT[0]))
    return (height - h) // 2, (width - w) // 2, h, w


def _rendered(name: str, sampler: Sampler) -> Frames:
    video = draw_storyboard(int(name.removeprefix(STORYBOARD)))
    times = sampler.times(0.0, video.duration_s)
    # the frame on display; a time that is exactly a frame's start may be a hair early in floating point
    numbers = np.unique(np.minimum(np.floor(times * FPS + 1e-6).astype(int), video.num_frames - 1))
    pixels = np.stack([render_frame(video, int(number)) for number in numbers])
    return Frames(pixels, numbers / FPS, name)
