"""A then B over a gallery: which videos to look at, and the best chain of moments in each.

A video that was kept whole has a single moment, which cannot follow itself: it is followed from window to window of a
few frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ..features import VideoFeatures
from .answer import Part
from .calibration import relevance
from .scoring import StepScorer
from .sequence import follow, windows
from .snapshot import Snapshot

__all__ = ["FoundChain", "chained", "parts_of", "relevance_of"]

ROW_BLOCK = 2048  # rows whose features are held at once

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class FoundChain:
    """A place for every step in one video.

    Attributes:
        rows: of the gallery, one for each step.
        spans: for each step the stretch inside its row, in seconds; None where whole moments follow one another.
        scores: how well each place fits its step.
        score: their mean.
    """

    rows: tuple[int, ...]
    spans: tuple[tuple[float, float], ...] | None
    scores: tuple[float, ...]
    score: float


def chained(
    scorers: Sequence[StepScorer],
    within_s: Sequence[float | None],
    snapshot: Snapshot,
    *,
    rows: Rows,
    candidates: Rows,
) -> list[FoundChain]:
    """The best chain of every video that has one, best first.

    Args:
        scorers: of the steps, standardised, so that their scores can be added.
        within_s: as for :func:`.sequence.follow`.
        rows: that are searched, ascending.
        candidates: some of them, each once; all rows of their videos are looked at.
    """
    searched = np.zeros(len(snapshot), dtype=bool)
    searched[rows] = True
    looked_at = snapshot.rows_of_videos(candidates)
    looked_at = looked_at[searched[looked_at]]
    owner = snapshot.gallery.video
    alone = np.bincount(owner, minlength=snapshot.gallery.num_videos)[owner[looked_at]] == 1
    found = [
        *_of_moments(scorers, within_s, snapshot, looked_at[~alone]),
        *_of_windows(scorers, within_s, snapshot, looked_at[alone]),
    ]
    return sorted(found, key=lambda chain: -chain.score)


def parts_of(chain: FoundChain, scorers: Sequence[StepScorer], snapshot: Snapshot) -> tuple[Part, ...]:
    """The places of a chain, with their frames and what these contribute."""
    features, times = snapshot.stored.features_and_times(torch.tensor(chain.rows))
    parts: list[Part] = []
    for step, (row, score) in enumerate(zip(chain.rows, chain.scores, strict=True)):
        place, own, shown = snapshot.gallery.moment(row), features[[step]], times[step]
        start_s, end_s = place.start_s, place.end_s
        if chain.spans is not None:
            start_s, end_s = chain.spans[step]
            inside = [start_s <= time < end_s for time in shown]
            own = _only(own, inside)
            shown = [time for time, kept in zip(shown, inside, strict=True) if kept]
        parts.append(
            Part(
                start_s=start_s,
                end_s=end_s,
                score=score,
                frame_times_s=tuple(shown),
                attention=tuple(scorers[step].attention(own)[0]),
            )
        )
    return tuple(parts)


def relevance_of(chain: FoundChain, scorers: Sequence[StepScorer], *, n: int) -> float | None:
    """That of the step that fits least: a chain is as sure as its weakest link. None where it cannot be told.

    Args:
        n: moments that were searched.
    """
    links: list[float] = []
    for scorer, score in zip(scorers, chain.scores, strict=True):
        found = relevance([score], scorer.background, n, scorer.luck(n))
        if found is None:
            return None
        links.append(float(found[0]))
    return min(links)


def _of_moments(
    scorers: Sequence[StepScorer], within_s: Sequence[float | None], snapshot: Snapshot, rows: Rows
) -> list[FoundChain]:
    if not len(rows):
        return []
    blocks = [rows[first : first + ROW_BLOCK] for first in range(0, len(rows), ROW_BLOCK)]
    features = (snapshot.stored.features(torch.from_numpy(block)) for block in blocks)
    scores = np.concatenate([np.stack([s.moments(video) for s in scorers]) for video in features], axis=1)
    gallery = snapshot.gallery
    owner = gallery.video[rows].tolist()
    return [
        FoundChain(
            rows=tuple(int(rows[place]) for place in chain.rows),
            spans=None,
            scores=tuple(float(scores[step, place]) for step, place in enumerate(chain.rows)),
            score=chain.score,
        )
        for chain in follow(owner, gallery.start_s[rows], gallery.end_s[rows], scores, within_s)
    ]


def _of_windows(
    scorers: Sequence[StepScorer], within_s: Sequence[float | None], snapshot: Snapshot, rows: Rows
) -> list[FoundChain]:
    found: list[FoundChain] = []
    for first in range(0, len(rows), ROW_BLOCK):
        block = rows[first : first + ROW_BLOCK]
        features, times = snapshot.stored.features_and_times(torch.from_numpy(block))
        inside = windows(
            features,
            times,
            snapshot.gallery.end_s[block].tolist(),
            steps=len(scorers),
            tokens_per_frame=scorers[0].tokens_per_frame,
        )
        if not len(inside):
            continue
        scores = np.stack([scorer.moments(inside.features) for scorer in scorers])
        for chain in follow(inside.owner, inside.start_s, inside.end_s, scores, within_s):
            row = int(block[inside.owner[chain.rows[0]]])
            found.append(
                FoundChain(
                    rows=(row,) * len(scorers),
                    spans=tuple((float(inside.start_s[w]), float(inside.end_s[w])) for w in chain.rows),
                    scores=tuple(float(scores[step, w]) for step, w in enumerate(chain.rows)),
                    score=chain.score,
                )
            )
    return found


def _only(video: VideoFeatures, kept: Sequence[bool]) -> VideoFeatures:
    """One row of features with some of its real frames."""
    mask = video.frame_mask.clone()
    real = int(mask.sum())
    mask[0, :real] &= torch.tensor(kept).repeat_interleave(real // len(kept))
    return replace(video, frame_mask=mask)
