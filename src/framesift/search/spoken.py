"""What is said in the videos: subtitle lines that match, as rows of a gallery."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..index import Index
from ..index.subtitles import SubtitleHit
from .answer import Source
from .snapshot import Snapshot

__all__ = ["Line", "lines_of"]


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row of the gallery and the best line that is shown in it; ``rank``: 1-based among the rows."""

    row: int
    rank: int
    hit: SubtitleHit

    def source(self) -> Source:
        """The line as the source of a result."""
        return Source(
            name="subtitles",
            rank=self.rank,
            score=self.hit.score,
            text=self.hit.text,
            start_s=self.hit.start_s,
            end_s=self.hit.end_s,
        )


def lines_of(
    index: Index, snapshot: Snapshot, text: str, *, allowed: NDArray[np.bool_], limit: int
) -> list[Line]:
    """The rows in which a line with all words of ``text`` is shown, the best line first, each row once.

    A line that runs over a cut belongs to the row that shows most of it.

    Args:
        allowed: rows that may be found, ``[row]``.
        limit: lines at most.
    """
    if not index.subtitles.path.exists():
        return []
    gallery = snapshot.gallery
    everything = bool(allowed.all())
    videos = (
        None if everything else [gallery.catalogue.video_ids[n] for n in np.unique(gallery.video[allowed])]
    )
    found: dict[int, SubtitleHit] = {}
    for hit in index.subtitles.search(text, limit=limit, video_ids=videos):
        rows = snapshot.overlapping(
            hit.video_id, hit.start_s, max(hit.end_s, np.nextafter(hit.start_s, np.inf))
        )
        rows = rows[allowed[rows]]
        if len(rows):  # none: the gallery does not have this video yet, or no longer
            shown_s = np.minimum(snapshot.gallery.end_s[rows], hit.end_s) - np.maximum(
                snapshot.gallery.start_s[rows], hit.start_s
            )
            found.setdefault(int(rows[shown_s.argmax()]), hit)
    return [Line(row=row, rank=rank, hit=hit) for rank, (row, hit) in enumerate(found.items(), start=1)]
