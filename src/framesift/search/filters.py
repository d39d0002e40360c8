"""Filters -> the rows of a gallery that are searched.

They act before candidates are proposed, so that a filter which leaves three moments of a million still finds them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, time
from fnmatch import translate
from pathlib import Path, PurePath

import numpy as np
import torch
from jaxtyping import Int64
from numpy.typing import NDArray
from torch import Tensor

from ..features import TextFeatures, VideoFeatures
from ..index.gallery import Catalogue, LanceGallery
from ..ranking import Gallery
from .query import Filters

__all__ = ["Rows", "allowed"]

NS = 1_000_000_000


def allowed(filters: Filters, catalogue: Catalogue) -> NDArray[np.bool_]:
    """Which rows of a gallery ``filters`` let through, ``[row]``.

    A relative folder matches wherever its names follow one another in a video's folder: ``holiday`` is ``/a/holiday/b``
    as well as ``/holiday``. Days are those of this machine's time zone. A video of unknown length is neither longer nor
    shorter than anything.
    """
    videos = np.ones(len(catalogue.uris), dtype=bool)
    if filters.folders:
        videos &= _any_of([_in_folder(folder) for folder in filters.folders], catalogue.uris)
    if filters.names:
        videos &= _any_of([_named(pattern) for pattern in filters.names], catalogue.uris)
    if filters.tags:
        wanted = {tag.casefold() for tag in filters.tags}
        videos &= np.array(
            [wanted <= {tag.casefold() for tag in tags} for tags in catalogue.tags], dtype=bool
        )
    if filters.after is not None:
        videos &= catalogue.mtime_ns >= _begins_ns(filters.after)
    if filters.before is not None:
        videos &= catalogue.mtime_ns < _begins_ns(filters.before)
    if filters.longer_s is not None:
        videos &= catalogue.duration_s >= filters.longer_s  # never true of NaN
    if filters.shorter_s is not None:
        videos &= catalogue.duration_s <= filters.shorter_s
    return videos[catalogue.video]


class Rows(Gallery):
    """Some rows of a gallery, numbered from 0 in their order.

    Args:
        stored: where they lie, and what proposes candidates.
        rows: ascending.
        features: what their features are read from, by the rows of ``stored``; default: ``stored``.
    """

    def __init__(
        self, stored: LanceGallery, rows: Int64[Tensor, " row"], *, features: Gallery | None = None
    ) -> None:
        self.rows = rows
        self._stored, self._features = stored, features or stored

    def __len__(self) -> int:
        return len(self.rows)

    def candidates(self, text: TextFeatures, depth: int | None) -> Int64[Tensor, "text candidate"]:
        if depth is None or depth >= len(self):
            return torch.arange(len(self)).expand(len(text), len(self))
        allowed = None
        if len(self.rows) < len(self._stored):
            allowed = np.zeros(len(self._stored), dtype=bool)
            allowed[self.rows.numpy()] = True
        found = self._stored.candidates(text, depth, allowed=allowed)
        return torch.searchsorted(self.rows, found)

    def features(self, rows: Int64[Tensor, " row"]) -> VideoFeatures:
        return self._features.features(self.rows[rows])


def _any_of(tests: Iterable[Callable[[str], bool]], uris: Sequence[str]) -> NDArray[np.bool_]:
    several = list(tests)
    return np.array([any(test(uri) for test in several) for uri in uris], dtype=bool)


def _in_folder(folder: Path) -> Callable[[str], bool]:
    given = os.path.expanduser(folder)
    if os.path.isabs(given):
        top = os.path.join(os.path.normpath(given), "")
        return lambda uri: uri.startswith(top)
    wanted = os.path.normpath(given)
    if wanted == os.curdir:
        return lambda uri: True
    inside = f"{os.sep}{wanted}{os.sep}"
    return lambda uri: inside in os.path.join(os.path.dirname(uri), "")


def _named(pattern: str) -> Callable[[str], bool]:
    name = re.compile(translate(pattern.casefold()))
    return lambda uri: name.match(PurePath(uri).name.casefold()) is not None


def _begins_ns(day: date) -> float:
    """When a day begins here, in nanoseconds since 1970; infinite where the calendar ends."""
    try:
        return datetime.combine(day, time()).timestamp() * NS
    except (OverflowError, OSError, ValueError):
        return -np.inf if day.year < 1970 else np.inf
