"""Pictures and sentences by which a precision is calibrated and checked: made here, the same everywhere, no download.

Half of the pictures are Storyboard's; the other half is coloured noise whose spectrum falls with frequency as that of
photographs does, over gradients of light. They are no photographs: what matters is how far a precision is from fp32 on
the same input, and they drive all of a tower's layers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..storyboard import captions, render_frame, storyboards

__all__ = ["EVERYDAY", "Clip", "calibration_pictures", "check_clips", "textures"]

PICTURE_PX = 128  # what Storyboard's frames have

EVERYDAY = (
    "a dog runs across the yard",
    "a man is playing the guitar while it rains outside",
    "two women in red dresses dance on a stage in front of a large crowd",
    "sunset",
    "someone slices onions, puts them into a pan and stirs",
    "a cartoon character falls from a cliff",
    "the news anchor talks about the weather of the coming week",
    "a person folds a paper airplane step by step",
    "aerial view of a city at night with heavy traffic",
    "a goalkeeper saves a penalty",
    "kids open presents under a christmas tree",
    "a 3d animation of the solar system with labels for each planet",
)
"""Sentences such as people search for."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A video of the check: its sentence, and a few of its frames ``[frame, height, width, 3]`` uint8."""

    text: str
    pixels: np.ndarray


def calibration_pictures(count: int = 48) -> np.ndarray:
    """Pictures ``[picture, height, width, 3]`` uint8, of seeds that no check uses."""
    boards = storyboards("pool", count // 2)
    drawn = [
        render_frame(board, (7 * i) % board.num_frames, size_px=PICTURE_PX) for i, board in enumerate(boards)
    ]
    return np.concatenate([np.stack(drawn), textures(count - count // 2, seed=1)])


def check_clips(count: int) -> list[Clip]:
    """The first videos of Storyboard's validation split: a text, and the frame in the middle."""
    clips: list[Clip] = []
    for board in storyboards("val", count):
        frame = render_frame(board, board.num_frames // 2, size_px=PICTURE_PX)
        clips.append(Clip(text=captions(board)[0].text, pixels=np.array(frame)[None]))
    return clips


def textures(count: int, *, seed: int) -> np.ndarray:
    """Coloured noise over gradients, ``[picture, height, width, 3]`` uint8."""
    random = np.random.default_rng(seed)
    size = PICTURE_PX
    fy, fx = np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij")
    frequency = np.hypot(fy, fx)
    frequency[0, 0] = 1.0  # its amplitude, the mean, is set below
    made: list[np.ndarray] = []
    for _ in range(count):
        slope = random.uniform(0.8, 1.6)  # photographs: about 1
        spectrum = np.exp(2j * np.pi * random.random((3, *frequency.shape))) / frequency**slope
        noise = np.fft.irfft2(spectrum, s=(size, size))
        noise = 0.5 * noise + 0.5 * noise.mean(axis=0)  # channels go together
        ramp = np.linspace(-1, 1, size)
        light = random.uniform(-30, 30) * ramp[:, None] + random.uniform(-30, 30) * ramp
        contrast = random.uniform(20, 60)
        colour = random.uniform(70, 185, size=(3, 1, 1))
        picture = contrast * noise / noise.std() + light + colour
        made.append(picture.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))
    return np.stack(made)
