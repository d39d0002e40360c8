"""The ``moments`` slice: long videos of 10 to 40 scenes, and captions that are true of one scene of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from .captions import Caption, scene_caption
from .scenes import Dice, Storyboard, draw_storyboard
from .slices import Slice, choose_unique, relevance
from .spans import IOU_THRESHOLDS, recall_at_iou
from .splits import SPLITS

__all__ = ["MomentSlice", "moments"]

MOMENT_SEEDS = 800_000  # the first one inside the split
FEWEST_SCENES, MOST_SCENES = 10, 40
CAPTION_ATTEMPTS = (
    12  # wordings of a scene, of which one that is true of no other scene of the gallery is taken
)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MomentSlice(Slice):
    """Queries for moments of long videos.

    Attributes:
        spans: float64 ``[text, 2]``: where in its video a caption is true, ``[start_s, end_s)``.
    """

    spans: np.ndarray

    def recall(
        self, predicted: Sequence[ArrayLike], *, k: int = 1, thresholds: Sequence[float] = IOU_THRESHOLDS
    ) -> dict[float, float]:
        """R@k in percent by threshold of temporal IoU (see :func:`.recall_at_iou`).

        Args:
            predicted: for every text moments of the video it was written for, ``[moment, 2]`` seconds, best first.
        """
        return recall_at_iou(predicted, list(self.spans[:, None]), k=k, thresholds=thresholds)


def moments(count: int = 20, *, start: int = 0) -> MomentSlice:
    """One caption for every scene of ``count`` long videos that can be told from all others of its video.

    The first wording that is true of no other video either is taken, where there is one.

    Raises:
        InputError: the split has fewer videos.
    """
    seeds = SPLITS["test"][MOMENT_SEEDS:][start : start + count]
    if count < 1 or start < 0 or len(seeds) != count:
        raise InputError(f"slice 'moments' cannot have the videos {start} to {start + count}")
    videos = [_long_video(seed) for seed in seeds]
    candidates: list[list[Caption]] = []
    owners: list[int] = []
    for row, video in enumerate(videos):
        for scene in range(len(video.scenes)):
            found = _captions_of_one_scene(video, scene)
            if found:
                candidates.append(found)
                owners.append(row)
    queries = choose_unique(candidates, videos)
    return MomentSlice(
        name="moments",
        videos=tuple(videos),
        captions=queries,
        owners=tuple(owners),
        relevance=relevance(queries, videos),
        spans=np.array([(caption.start_s, caption.end_s) for caption in queries]),
    )


def _long_video(seed: int) -> Storyboard:
    scenes = FEWEST_SCENES + Dice("moments", seed).below(MOST_SCENES - FEWEST_SCENES + 1)
    return draw_storyboard(seed, num_scenes=scenes)


def _captions_of_one_scene(video: Storyboard, scene: int) -> list[Caption]:
    """Wordings that are true of this scene and of no other one of the video."""
    dice = Dice("moment caption", video.seed, scene)
    drawn = [scene_caption(dice, video, scene) for _ in range(CAPTION_ATTEMPTS)]
    return [
        caption for caption in drawn if sum(caption.claims[0].holds(other) for other in video.scenes) == 1
    ]
