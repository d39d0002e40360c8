"""One state of an index, with what every search of it needs: made once, and shared by threads."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
import torch
from jaxtyping import Int64
from numpy.typing import NDArray
from torch import Tensor

from ..features import TextFeatures, VideoFeatures
from ..index.gallery import LanceGallery
from ..model import RetrievalModel
from ..ranking import Gallery
from .calibration import Neutral, neutral
from .filters import allowed
from .query import Filters
from .terms import Background, background

__all__ = ["Snapshot", "StoredFeatures"]

HELD_BYTES = (
    128 * 2**20
)  # of features in memory: 5,400 moments of 12 frames x 512, a hundred hours in shots of a minute
MOST_MASKS = 32  # filters that are remembered: a person tries a few, a page repeats its own


class StoredFeatures(Gallery):
    """The features of a gallery, in memory where they are few: a small index then needs no disk to be searched."""

    def __init__(self, gallery: LanceGallery, *, held_bytes: int = HELD_BYTES) -> None:
        self._gallery = gallery
        self._held: tuple[VideoFeatures, list[list[float]]] | None = None
        if len(gallery) and _bytes_of(gallery) <= held_bytes:
            self._held = gallery.features_and_times(torch.arange(len(gallery)))

    def __len__(self) -> int:
        return len(self._gallery)

    def candidates(self, text: TextFeatures, depth: int | None) -> Int64[Tensor, "text candidate"]:
        return self._gallery.candidates(text, depth)

    def features(self, rows: Int64[Tensor, " row"]) -> VideoFeatures:
        return self.features_and_times(rows)[0]

    def features_and_times(self, rows: Int64[Tensor, " row"]) -> tuple[VideoFeatures, list[list[float]]]:
        """As :meth:`.LanceGallery.features_and_times`, to the last bit."""
        if self._held is None or not len(rows):
            return self._gallery.features_and_times(rows)
        video, times = self._held[0][rows], [self._held[1][row] for row in rows.tolist()]
        width = max(self._gallery.num_frames, int(video.frame_mask.sum(dim=1).max()))
        if width < video.frame.shape[1]:  # padded to the longest moment of all, not of these
            video = VideoFeatures(
                frame=video.frame[:, :width], frame_mask=video.frame_mask[:, :width], video=video.video
            )
        return video, times


class Snapshot:
    """A gallery and what is computed of it once.

    Attributes:
        gallery: the moments.
        stored: their features.
    """

    def __init__(self, gallery: LanceGallery) -> None:
        self.gallery = gallery
        self.stored = StoredFeatures(gallery)
        self._lock = threading.Lock()
        self._background: Background | None = None
        self._neutral: Neutral | None = None
        self._masks: OrderedDict[Filters, NDArray[np.bool_]] = OrderedDict()

    def __len__(self) -> int:
        return len(self.gallery)

    @property
    def background(self) -> Background:
        """What the gallery is like."""
        with self._lock:
            if self._background is None:
                self._background = background(self.stored)
            return self._background

    def neutral(self, model: RetrievalModel) -> Neutral:
        """What neutral sentences reach here by the index's model."""
        sample = self.background
        with self._lock:
            if self._neutral is None:
                self._neutral = neutral(model, sample)
            return self._neutral

    def allowed(self, filters: Filters) -> NDArray[np.bool_]:
        """Which rows the filters let through, ``[row]``; not to be written to."""
        with self._lock:
            mask = self._masks.pop(filters, None)
            if mask is None and filters == Filters():
                mask = np.ones(len(self.gallery), dtype=bool)
            elif mask is None:
                mask = allowed(filters, self.gallery.catalogue)
            self._masks[filters] = mask
            while len(self._masks) > MOST_MASKS:
                self._masks.popitem(last=False)
            return mask

    def rows_of(self, video_id: str) -> NDArray[np.int64]:
        """The rows of a video in the order of time; none if it is not there."""
        return self.gallery.rows_of_id(video_id)

    def rows_of_videos(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """All rows of the videos of those rows, video by video, in the order of time."""
        numbers = np.unique(self.gallery.video[rows])
        parts = [self.gallery.rows_of_number(n) for n in numbers.tolist()]
        return np.concatenate([np.zeros(0, np.int64), *parts])

    def overlapping(self, video_id: str, start_s: float, end_s: float) -> NDArray[np.int64]:
        """The rows of a video that lie in ``[start_s, end_s)`` at least in part, in the order of time."""
        rows = self.rows_of(video_id)
        begin, end = self.gallery.start_s[rows], self.gallery.end_s[rows]
        return rows[(begin < end_s) & (end > start_s)]

    def video_id(self, uri: str) -> str | None:
        """The index's own name of a video file; None if it has no moments."""
        rows = self.gallery.rows_of(uri)
        return self.gallery.moment(rows[0]).video_id if rows else None


def _bytes_of(gallery: LanceGallery) -> int:
    return len(gallery) * gallery.num_frames * gallery.dim * 4
