"""Search for moments: long videos are cut into shots as an index cuts them, and every shot is ranked for every text.

The cuts come from the colours of rendered frames alone, so that all models rank the same moments. Two scenes may be
taken for one: the ``ceiling`` is what can be reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ...ranking import rerank_similarity
from ...similarity import similarity_matrix
from ...storyboard import IOU_THRESHOLDS, MomentSlice, Storyboard, temporal_iou
from ...video import Frames, Rate
from ...video.moments import shots
from ..storyboard import frames_of
from .features import Features
from .runs import Run

__all__ = ["CUT_FPS", "Windows", "cut_video"]

CUT_FPS = 4.0  # scenes last 1 to 4 s; twice as many frames find no more cuts


def cut_video(video: Storyboard) -> list[tuple[float, float]]:
    """The shots of a video, ``[start_s, end_s)``, which follow one another from 0 to its end."""
    frames = frames_of(video, len(Rate(fps=CUT_FPS).times(0.0, video.duration_s)))
    found = [(moment.start_s, moment.end_s) for moment, _ in shots(frames)]
    return [*found[:-1], (found[-1][0], video.duration_s)]


class Windows:
    """The moments of the long videos, and what models make of them.

    Args:
        gallery: the slice of moments.
        runs: the models that will be asked.
        cuts: for every video its moments; default: :func:`cut_video`.
    """

    def __init__(
        self,
        gallery: MomentSlice,
        runs: Sequence[Run],
        cuts: Sequence[Sequence[tuple[float, float]]] | None = None,
    ) -> None:
        self.gallery = gallery
        self.cuts = [cut_video(video) for video in gallery.videos] if cuts is None else cuts
        self._spans = np.array([span for own in self.cuts for span in own], dtype=np.float64)
        self._video = np.repeat(np.arange(len(self.cuts)), [len(own) for own in self.cuts])
        self._owner = np.asarray(gallery.owners)
        self._features = Features(runs, gallery.texts, self._clips)

    def __len__(self) -> int:
        return len(self._spans)

    def ceiling(self) -> dict[str, float]:
        """R@1 in percent, by threshold of IoU, of whoever always chooses the best of the moments."""
        best = [
            temporal_iou(self._spans[self._video == owner], span).max()
            for owner, span in zip(self._owner, self.gallery.spans, strict=True)
        ]
        return {f"{least:g}": 100 * float(np.mean(np.array(best) >= least)) for least in IOU_THRESHOLDS}

    def overlaps(self, run: Run, *, depth: int | None = None) -> dict[str, NDArray[np.float64]]:
        """IoU of the first moment with the true one, ``[text]``: of those of its ``video``, and of the ``gallery``."""
        model = run.model
        text, video = self._features.text(run), self._features.video(run)
        similarity = similarity_matrix(model.matcher, text, video).float().cpu()
        everywhere, inside = similarity, similarity
        if model.reranker is not None:
            words, tokens = self._features.reranked(run)
            everywhere = rerank_similarity(
                similarity, model.reranker, words, tokens, depth=depth or len(self)
            )
            inside = everywhere.clone()
            for owner in range(len(self.cuts)):
                asked = torch.from_numpy(np.flatnonzero(self._owner == owner))
                own = torch.from_numpy(np.flatnonzero(self._video == owner))
                if not len(asked):
                    continue
                block = rerank_similarity(
                    similarity[asked][:, own],
                    model.reranker,
                    words[asked],
                    tokens[own],
                    depth=depth or len(own),
                )
                inside[asked[:, None], own] = block
        known = torch.from_numpy(self._owner[:, None] == self._video[None])
        return {
            "video": self._best(inside.masked_fill(~known, -torch.inf)),
            "gallery": self._best(everywhere),
        }

    def _best(self, similarity: torch.Tensor) -> NDArray[np.float64]:
        first = similarity.argmax(dim=1).numpy()
        iou = temporal_iou(self._spans[first], self.gallery.spans)
        return np.where(self._video[first] == self._owner, iou, 0.0)

    def _clips(self, num_frames: int) -> Iterable[Frames]:
        for video, own in zip(self.gallery.videos, self.cuts, strict=True):
            for start_s, end_s in own:
                yield frames_of(video, num_frames, start_s=start_s, end_s=end_s)
