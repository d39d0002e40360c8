"""How well moments and frames fit one step of a query: its terms encoded, scored and made one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from ..features import TextFeatures, VideoFeatures, masked_mean, unit
from ..index.hits import attention
from ..matchers import SoftmaxPool
from ..model import RetrievalModel
from .calibration import Luck, luck_of
from .snapshot import Snapshot
from .terms import TermKind, combine, score_term

__all__ = ["EncodedTerm", "StepScorer", "single_frames"]

BACKGROUND_FRAMES = 512  # of the background's moments: enough for a mean and a deviation


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedTerm:
    """A term as the model sees it; ``text``: its words, None for pictures."""

    kind: TermKind
    weight: float
    features: TextFeatures
    text: str | None = None


class StepScorer:
    """Scores of one step for rows of a gallery.

    A step of one positive term has the matcher's similarity; any other the standardised scores of its terms combined
    (:func:`.terms.combine`).

    Args:
        standardise: have one term's scores standardised, too, so that those of several steps can be added.
    """

    def __init__(
        self,
        model: RetrievalModel,
        snapshot: Snapshot,
        terms: Sequence[EncodedTerm],
        *,
        standardise: bool = False,
    ) -> None:
        self.terms = tuple(terms)
        self._model, self._snapshot = model, snapshot
        self._weights = [term.weight for term in terms]
        self._alone = len(terms) == 1 and not standardise

    @property
    def tokens_per_frame(self) -> int:
        """Rows that a frame takes in features."""
        return self._model.temporal.tokens_per_frame

    def coarse(self) -> NDArray[np.float64]:
        """For every row of the gallery by its coarse vector, ``[row]``: all terms together, where one would not do."""
        sentences = torch.cat([unit(term.features.sentence.to("cpu", torch.float32)) for term in self.terms])
        queries = sentences.detach().numpy()
        scores = np.empty((len(self.terms), len(self._snapshot)))
        for first, block in self._snapshot.gallery.vector_blocks():
            scores[:, first : first + len(block)] = queries @ block.T
        if self._alone:
            return scores[0]
        return combine(self._weights, scores, scores[:, self._snapshot.background.rows.numpy()])

    def moments(self, video: VideoFeatures) -> NDArray[np.float64]:
        """For rows of features, ``[row]``."""
        scores = self._each(video)
        return scores[0] if self._alone else combine(self._weights, scores, self._background_of_each)

    @cached_property
    def background(self) -> NDArray[np.float64]:
        """For the gallery's background, ``[sample]``."""
        found = self._background_of_each
        return found[0] if self._alone else combine(self._weights, found, found)

    def luck(self, n: int) -> Luck:
        """What the best of ``n`` moments reaches for this step without being what was asked for."""
        parts: list[tuple[float, Luck]] = []
        for term, own in zip(self.terms, self._background_of_each, strict=True):
            if term.weight > 0:
                told = self._snapshot.neutral(self._model) if term.kind == "text" else None
                parts.append((term.weight, luck_of(n) if told is None else told.luck(own, n)))
        return luck_of(n, parts)

    def frames(self, video: VideoFeatures) -> list[NDArray[np.float64]]:
        """For every real frame of rows of features, as if it were a video by itself: of every row ``[frame]``."""
        apart, counts = single_frames(video, tokens=self.tokens_per_frame)
        scores = self._each(apart)
        found = scores[0] if self._alone else combine(self._weights, scores, self._background_frames)
        return np.split(found, np.cumsum(counts)[:-1])

    def attention(self, video: VideoFeatures) -> list[list[float]]:
        """What the real frames of every row contribute; sums to 1 in each. The mean over the positive terms."""
        wanted = [term for term in self.terms if term.weight > 0]
        total = sum(term.weight for term in wanted)
        several = [self._attention(term, video) for term in wanted]
        if len(several) == 1:
            return several[0]
        shares = [term.weight / total for term in wanted]
        return [
            [
                sum(share * w for share, w in zip(shares, frame, strict=True))
                for frame in zip(*row, strict=True)
            ]
            for row in zip(*several, strict=True)
        ]

    def _attention(self, term: EncodedTerm, video: VideoFeatures) -> list[list[float]]:
        # a picture has no words that a matcher could compare; softmax over cosines serves any encoder
        matcher = None if term.kind == "text" else SoftmaxPool()
        return attention(term.features, video, self._model, matcher=matcher)

    def _each(self, video: VideoFeatures) -> NDArray[np.float64]:
        return np.stack([score_term(self._model, term.features, term.kind, video) for term in self.terms])

    @cached_property
    def _background_of_each(self) -> NDArray[np.float64]:
        return self._each(self._snapshot.background.features)

    @cached_property
    def _background_frames(self) -> NDArray[np.float64]:
        apart, _ = single_frames(
            self._snapshot.background.features, tokens=self._model.temporal.tokens_per_frame
        )
        chosen = torch.linspace(0, len(apart) - 1, min(len(apart), BACKGROUND_FRAMES)).round().long()
        return self._each(apart[chosen])


def single_frames(video: VideoFeatures, *, tokens: int = 1) -> tuple[VideoFeatures, NDArray[np.int64]]:
    """Every real frame as a video of its own, and how many each row had.

    Args:
        tokens: entries of ``frame`` that belong to one frame.
    """
    frame = video.frame[video.frame_mask].reshape(-1, tokens, video.frame.shape[2])
    real = torch.ones(frame.shape[:2], dtype=torch.bool)
    apart = VideoFeatures(frame=frame, frame_mask=real)
    if video.video is not None:  # of a temporal module, for matchers that read it
        apart = replace(apart, video=masked_mean(frame, real))
    return apart, (video.frame_mask.sum(dim=1) // tokens).numpy()
