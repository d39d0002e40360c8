"""Rows of a gallery, best first, as far as they are asked for; and pages of results made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from ..ranking import merge_adjacent
from .grouping import duplicates
from .snapshot import Snapshot

__all__ = ["Folded", "Order", "RankedRows", "fold", "page"]

Rows: TypeAlias = NDArray[np.int64]
Order: TypeAlias = Callable[[Rows, bool], tuple[Rows, NDArray[np.float64]]]
"""Candidates and whether they are the first -> the same, best first, with their scores."""

FOLDED = 128  # best rows among which near-duplicates are looked for: what a person looks through
ALIKE = 0.95  # cosine of coarse vectors below which frames need not be compared: copies have nearly 1


class RankedRows:
    """All rows that are searched, in order; the first ``depth`` candidates, then the next ones, and so on.

    So every page of an answer belongs to the same order, however deep it is, and what lies deep costs nothing before
    it is asked for. Scores fall inside a block of ``depth`` rows, not from one block to the next.

    Args:
        propose: the ``n`` most promising rows, in ascending order.
        order: see :data:`Order`.
        total: how many rows there are in all.
        depth: rows of a block.
    """

    def __init__(self, propose: Callable[[int], Rows], order: Order, *, total: int, depth: int) -> None:
        self._propose, self._order, self.total, self._depth = propose, order, total, depth
        self._blocks = 0
        self._seen: set[int] = set()
        self.rows: list[int] = []
        self.scores: dict[int, float] = {}

    def grow(self) -> bool:
        """Put the next block in order; False if there is none."""
        if len(self.rows) >= self.total:
            return False
        self._blocks += 1
        proposed = self._propose(min(self._depth * self._blocks, self.total))
        fresh = np.array([row for row in proposed.tolist() if row not in self._seen], dtype=np.int64)
        rows, scores = self._order(fresh, self._blocks == 1)
        self._take(rows.tolist(), scores.tolist())
        return True

    def reorder(self, rows: Sequence[int], scores: Sequence[float]) -> None:
        """Put what is there into another order, with rows that later blocks leave out then."""
        self.rows = []
        self._take(rows, scores)

    def _take(self, rows: Sequence[int], scores: Sequence[float]) -> None:
        self.rows += rows
        self._seen.update(rows)
        self.scores |= dict(zip(rows, scores, strict=True))


@dataclass(frozen=True)
class Folded:
    """Ranked rows without near-duplicates; ``copies``: those that were left out, by the row that stands for them."""

    rows: list[int]
    copies: dict[int, list[int]] = field(default_factory=dict)


def fold(rows: Sequence[int], snapshot: Snapshot) -> Folded:
    """Leave out moments of other videos that look the same as a better one.

    Moments of one video are left alone: those that follow one another become one result anyway.
    """
    first = torch.tensor(rows[:FOLDED], dtype=torch.long)
    vectors = snapshot.gallery.vectors_of(first)
    owner = snapshot.gallery.video
    video = torch.from_numpy(owner[first.numpy()])
    alike = (vectors @ vectors.T >= ALIKE) & (video[:, None] != video)
    places = alike.any(dim=1).nonzero().squeeze(1)
    copies: dict[int, list[int]] = {}
    for group in duplicates(snapshot.stored.features(first[places])) if len(places) else []:
        head, *others = (rows[int(places[i])] for i in group)
        if found := [row for row in others if owner[row] != owner[head]]:
            copies[head] = found
    gone = {row for found in copies.values() for row in found}
    return Folded([row for row in rows if row not in gone], copies)


def page(
    ranked: RankedRows,
    snapshot: Snapshot,
    *,
    unit: Literal["moment", "video"],
    k: int,
    offset: int,
    group_duplicates: bool,
) -> tuple[list[list[int]], Folded, bool]:
    """The rows that each result of a page consists of, in the order of time, and whether there are results after it.

    Results are formed page by page, each from where the one before ended: as long as ``k`` is the same, none comes
    twice and none is lost. The first page is that of :func:`.merge_adjacent`.
    """
    by = _videos if unit == "video" else _merged
    sizes = [*([offset % k] if offset % k else []), *[k] * (offset // k), k]
    while True:
        folded = fold(ranked.rows, snapshot) if group_duplicates else Folded(list(ranked.rows))
        groups, rest, full = _walk(folded.rows, snapshot, by, sizes)
        if (full and rest) or not ranked.grow():
            return groups, folded, bool(rest)


def _walk(
    rows: list[int], snapshot: Snapshot, by: _Former, sizes: Sequence[int]
) -> tuple[list[list[int]], list[int], bool]:
    """The groups of the last of several pages, the rows behind it, and whether there were enough for all of them."""
    groups: list[list[int]] = []
    for number, size in enumerate(sizes, start=1):
        groups, rows = by(rows, snapshot, size)
        if len(groups) < size:
            return (groups if number == len(sizes) else []), [], False
    return groups, rows, True


_Former: TypeAlias = Callable[[list[int], Snapshot, int], tuple[list[list[int]], list[int]]]


def _merged(rows: list[int], snapshot: Snapshot, size: int) -> tuple[list[list[int]], list[int]]:
    gallery = snapshot.gallery
    order = np.array(rows, dtype=np.int64)
    owner, start, end = gallery.video[order], gallery.start_s[order], gallery.end_s[order]
    merged = merge_adjacent(owner.tolist(), start.tolist(), end.tolist(), k=size)
    used = sum(map(len, merged))  # a beginning of the list
    return [[rows[place] for place in group] for group in merged], rows[used:]


def _videos(rows: list[int], snapshot: Snapshot, size: int) -> tuple[list[list[int]], list[int]]:
    owner = snapshot.gallery.video
    best: dict[int, int] = {}
    for row in rows:
        if len(best) == size:
            break
        best.setdefault(int(owner[row]), row)
    return [[row] for row in best.values()], [row for row in rows if int(owner[row]) not in best]
