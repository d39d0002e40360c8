"""Batches of Storyboard frames with captions of their scene: what the bundled dual encoder learns from.

Frames are rendered when they are needed, in a worker process, and none is ever shown twice.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from ..storyboard.captions import order_caption, scene_caption
from ..storyboard.render import render_scene_frame
from ..storyboard.scenes import Dice, draw_storyboard
from ..storyboard.splits import SPLITS

__all__ = ["FrameBatch", "StoryboardFrames", "frame_batches"]

FrameBatch = tuple[np.ndarray, list[list[str]]]
"""Pixels uint8 ``[pair, height, width, 3]``, and as many lists of texts as there are captions a frame."""


class StoryboardFrames(Dataset[FrameBatch]):
    """Batch number -> frames of different scenes of the training split, with ``num_captions`` captions each.

    Half of the frames go through JPEG, whose losses (blocks, shared colour) are those of a video codec.
    """

    def __init__(self, *, batch_size: int, size_px: int, num_captions: int, seed: int) -> None:
        self.batch_size = batch_size
        self.size_px = size_px
        self.num_captions = num_captions
        self.seed = seed

    def __getitem__(self, step: int) -> FrameBatch:
        pixels = np.empty((self.batch_size, self.size_px, self.size_px, 3), dtype=np.uint8)
        texts: list[list[str]] = [[] for _ in range(self.num_captions)]
        for number in range(self.batch_size):
            sample = step * self.batch_size + number
            dice = Dice("frame", self.seed, sample)
            # Now and then the text also tells of a second scene, which the frame does not show.
            told = 2 if dice.chance(0.2) else 1
            video = draw_storyboard(SPLITS["train"][sample % len(SPLITS["train"])], num_scenes=told)
            scene = video.scenes[dice.below(told)]
            image = Image.fromarray(render_scene_frame(scene, dice.below(scene.num_frames)))
            if dice.chance(0.5):
                buffer = io.BytesIO()
                image.save(buffer, "JPEG", quality=50 + dice.below(45))
                image = Image.open(buffer)
            side = (self.size_px, self.size_px)
            pixels[number] = np.asarray(image.resize(side, Image.Resampling.BICUBIC))
            for said in texts:
                caption = order_caption(dice, video) if told == 2 else scene_caption(dice, video, 0)
                said.append(caption.text)
        return pixels, texts


def frame_batches(
    *, batch_size: int, size_px: int, num_captions: int, seed: int, first: int, steps: int, workers: int = 1
) -> Iterable[FrameBatch]:
    """The batches ``first`` to ``steps`` of a run, rendered ahead by ``workers`` processes."""
    return DataLoader(
        StoryboardFrames(batch_size=batch_size, size_px=size_px, num_captions=num_captions, seed=seed),
        batch_size=None,
        sampler=range(first, steps),
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
        prefetch_factor=4 if workers else None,
        collate_fn=_as_it_is,
    )


def _as_it_is(batch: Any) -> Any:
    return batch  # in place of the loader's own conversion of arrays and lists
