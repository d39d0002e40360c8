"""Captions that lie beside the videos of an index: what the page about a benchmark shows.

Either ``captions.jsonl`` (or ``.csv``, ``.tsv``) as ``framesift evaluate`` reads it, or the ``captions.json`` that
Storyboard's videos come with.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..data.own import EVERYTHING, read_own
from ..errors import DatasetError, FramesiftError
from .library import Catalogue

__all__ = ["KnownCaption", "captions_beside"]

OWN_NAMES = ("captions.jsonl", "captions.csv", "captions.tsv")
STORYBOARD_NAME = "captions.json"
MOST_BYTES = 64 * 2**20  # of all files together
MOST_FOLDERS = 100


@dataclass(frozen=True, kw_only=True)
class KnownCaption:
    """A sentence, and the indexed video that it was written for."""

    text: str
    video_id: str
    start_s: float | None
    end_s: float | None


def captions_beside(catalogue: Catalogue) -> list[KnownCaption]:
    """The captions of indexed videos, from the folders that hold them; files that cannot be read are passed over."""
    found: list[KnownCaption] = []
    budget = MOST_BYTES
    for folder in catalogue.folders[:MOST_FOLDERS]:
        for name in (*OWN_NAMES, STORYBOARD_NAME):
            path = Path(folder) / name
            try:
                facts = path.lstat()
                if not stat.S_ISREG(facts.st_mode) or facts.st_size > budget:
                    continue  # a link may lead out of the folder, and a pipe would be waited for
                budget -= facts.st_size
                read = _storyboard(path) if name == STORYBOARD_NAME else _own(path)
                found += _known(read, catalogue)
                break
            except (OSError, FramesiftError, ValueError, KeyError, TypeError, AttributeError):
                continue  # not there, or none of ours
    return found


_Row = tuple[str, str, float | None, float | None]


def _own(path: Path) -> list[_Row]:
    split = read_own(path, split=EVERYTHING)
    return [
        (caption.text, os.path.abspath(split.sources[caption.video].path), caption.start_s, caption.end_s)
        for caption in split.captions
    ]


def _storyboard(path: Path) -> list[_Row]:
    document = json.loads(path.read_text(encoding="utf-8"))
    rows: list[_Row] = []
    for name, truth in document["videos"].items():
        for caption in truth["captions"]:
            place = str(path.parent / Path(name).name)
            rows.append((str(caption["text"]), place, float(caption["start_s"]), float(caption["end_s"])))
    if not rows:
        raise DatasetError(f"{str(path)!r} holds no captions")
    return rows


def _known(rows: Iterable[_Row], catalogue: Catalogue) -> Iterable[KnownCaption]:
    for text, place, start_s, end_s in rows:
        video_id = catalogue.ids.get(place)
        if video_id is not None and catalogue.by_id[video_id].status == "ok":
            yield KnownCaption(text=text, video_id=video_id, start_s=start_s, end_s=end_s)
