"""Batches of Storyboard frames with captions of their scene: what the bundled dual encoder learns from.

Frames are rendered when they are needed, in a worker process, and none is ever shown twice.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from ..storyboard.captions import order_caption, scene_caption
from ..storyboard.pairs import training_pairs
from ..storyboard.render import render_scene_frame
from ..storyboard.scenes import FPS, Dice, Scene, draw_storyboard, event_poses
from ..storyboard.splits import SPLITS

__all__ = ["STILL_PAIRS", "FrameBatch", "StoryboardFrames", "centre", "frame_batches"]

STILL_PAIRS = ("binding", "small-object", "count")
"""Kinds of pairs that any single frame tells apart."""

FIRST_PAIR = 1000  # the pairs before are those of whole clips, for training and validation


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameBatch:
    """Frames and what is true of them.

    Attributes:
        pixels: uint8 ``[pair, height, width, 3]``.
        texts: as many lists of texts as there are captions a frame.
        centres: see :func:`centre`, float32 ``[pair, 2]``.
    """

    pixels: np.ndarray
    texts: list[list[str]]
    centres: np.ndarray


class StoryboardFrames(Dataset[FrameBatch]):
    """Batch number -> frames of different scenes of the training split, with ``num_captions`` captions each.

    Half of the frames go through JPEG, whose losses (blocks, shared colour) are those of a video codec. The share
    ``pairs`` of them are two and two the same frame of videos that differ in one thing only.
    """

    def __init__(
        self, *, batch_size: int, size_px: int, num_captions: int, seed: int, pairs: float = 0.0
    ) -> None:
        self.batch_size = batch_size
        self.size_px = size_px
        self.num_captions = num_captions
        self.seed = seed
        self.pairs = pairs

    def __getitem__(self, step: int) -> FrameBatch:
        pixels = np.empty((self.batch_size, self.size_px, self.size_px, 3), dtype=np.uint8)
        texts: list[list[str]] = [[] for _ in range(self.num_captions)]
        centres = np.empty((self.batch_size, 2), dtype=np.float32)
        side = (self.size_px, self.size_px)
        first = step * self.batch_size
        for number, (dice, scene, inside, told) in enumerate(self._draw(first, first + self.batch_size)):
            image = Image.fromarray(render_scene_frame(scene, inside))
            if dice.chance(0.5):
                buffer = io.BytesIO()
                image.save(buffer, "JPEG", quality=50 + dice.below(45))
                image = Image.open(buffer)
            pixels[number] = np.asarray(image.resize(side, Image.Resampling.BICUBIC))
            centres[number] = centre(scene, inside)
            for said in texts:
                said.append(told(dice))
        return FrameBatch(pixels=pixels, texts=texts, centres=centres)

    def _draw(self, sample: int, end: int) -> Iterator[tuple[Dice, Scene, int, Any]]:
        """For every sample its dice, its scene, the number of a frame of it, and what tells a caption."""
        while sample < end:
            dice = Dice("frame", self.seed, sample)
            if self.pairs and sample + 1 < end and dice.chance(self.pairs / (2 - self.pairs)):
                kind = dice.pick(STILL_PAIRS)
                pair = training_pairs(kind, 1, start=FIRST_PAIR + dice.below(PAIRS_A_KIND))[0]
                scenes = [video.scenes[0] for video in pair.videos]
                inside = dice.below(min(scene.num_frames for scene in scenes))
                for scene, caption in zip(scenes, pair.captions, strict=True):
                    yield dice, scene, inside, lambda _, text=caption.text: text
                sample += 2
                continue
            # Now and then the text also tells of a second scene, which the frame does not show.
            several = dice.chance(0.2)
            seed = SPLITS["train"][sample % len(SPLITS["train"])]
            video = draw_storyboard(seed, num_scenes=2 if several else 1)
            scene = video.scenes[dice.below(len(video.scenes))]

            def told(dice: Dice, video: Any = video, several: bool = several) -> str:
                return (order_caption(dice, video) if several else scene_caption(dice, video, 0)).text

            yield dice, scene, dice.below(scene.num_frames), told
            sample += 1


PAIRS_A_KIND = 40_000


def centre(scene: Scene, inside: int) -> tuple[float, float]:
    """Centre of mass of the objects in frame number ``inside`` of a scene: x and y as fractions of the picture."""
    progress = inside / max(1, scene.num_frames - 1)
    if scene.event:
        poses = event_poses(scene, progress)
    else:
        poses = tuple(thing.pose(progress, inside / FPS) for thing in scene.objects)
    areas = [thing.radius**2 for thing in scene.objects]
    weighted = list(zip(areas, poses, strict=True))
    return (
        sum(area * pose.x for area, pose in weighted) / sum(areas),
        sum(area * pose.y for area, pose in weighted) / sum(areas),
    )


def frame_batches(
    frames: StoryboardFrames, *, first: int, steps: int, workers: int = 1
) -> Iterable[FrameBatch]:
    """The batches ``first`` to ``steps`` of a run, rendered ahead by ``workers`` processes."""
    return DataLoader(
        frames,
        batch_size=None,
        sampler=range(first, steps),
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
        prefetch_factor=4 if workers else None,
        collate_fn=_as_it_is,
    )


def _as_it_is(batch: Any) -> Any:
    return batch  # in place of the loader's own conversion of arrays and lists
