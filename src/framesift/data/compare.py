"""Whether two results are of the same data, and whether training saw what it is tested on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from ..errors import DatasetError
from .files import first_few
from .records import Split

__all__ = ["Overlap", "overlap", "require_same"]

DESCRIBING = ("benchmark", "split", "protocol", "videos", "captions", "content_hash")


def require_same(one: Split | Mapping[str, Any], other: Split | Mapping[str, Any]) -> None:
    """Refuse to compare results of different data: the hashes of their splits have to be equal.

    Args:
        one, other: splits, or what :meth:`.Split.to_dict` said of them in a result file.

    Raises:
        DatasetError: the hashes differ, or one is not given; the message says in what the splits differ.
    """
    first, second = (split.to_dict() if isinstance(split, Split) else split for split in (one, other))
    for document in (first, second):
        if not document.get("content_hash"):
            raise DatasetError(
                "a result does not say which data it is of (no 'content_hash'), so it cannot be compared; "
                "measure it again"
            )
    if first["content_hash"] == second["content_hash"]:
        return
    differing = [
        f"{key} {first.get(key)!r} and {second.get(key)!r}"
        for key in DESCRIBING
        if first.get(key) != second.get(key)
    ]
    detail = ""
    if isinstance(one, Split) and isinstance(other, Split):
        detail = _first_difference(one, other)
    raise DatasetError(
        f"these results are of different data and cannot be compared: {'; '.join(differing)}{detail}"
    )


def _first_difference(one: Split, other: Split) -> str:
    for row, (mine, its) in enumerate(zip_longest(one.videos, other.videos)):
        if mine != its:
            return f"; they differ first at video {row}: {_shown(mine)} and {_shown(its)}"
    for row, (mine, its) in enumerate(zip_longest(one.captions, other.captions)):
        if mine != its:
            mine_text, its_text = (
                caption and f"{caption.text:.80} ({caption.video})" for caption in (mine, its)
            )
            return f"; they differ first at caption {row}: {_shown(mine_text)} and {_shown(its_text)}"
    return ""


def _shown(value: str | None) -> str:
    return "nothing" if value is None else repr(value)


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """What two splits have in common; true when they share a video.

    Attributes:
        videos: ids in the second split whose video is in the first one, in the order of the second.
        captions: number of captions of the second split whose sentence is also a caption in the first one. Short
            sentences recur in every benchmark, so this alone is no fault.
    """

    train: str
    test: str
    videos: tuple[str, ...]
    captions: int

    def __bool__(self) -> bool:
        return bool(self.videos)

    def __str__(self) -> str:
        if not self.videos:
            return f"no video of {self.test} is in {self.train}"
        return (
            f"{len(self.videos):,} videos of {self.test} are also in {self.train}: {first_few(self.videos)}"
        )


def overlap(train: Split, test: Split) -> Overlap:
    """The videos and sentences that two splits share. Moments of one file count as that file.

    A few hundred shared videos are the sign of lists from different splits of one benchmark: 453 videos that the
    Miech split of MSR-VTT trains on are tested in 1K-A.
    """
    seen = {_file_of(train, video) for video in train.videos}
    sentences = {_folded(text) for text in train.texts}
    return Overlap(
        train=f"{train.benchmark} {train.split}",
        test=f"{test.benchmark} {test.split}",
        videos=tuple(video for video in test.videos if _file_of(test, video) in seen),
        captions=sum(_folded(text) in sentences for text in test.texts),
    )


def _file_of(split: Split, video: str) -> str:
    source = split.sources.get(video)
    return video if source is None else str(source.path)


def _folded(text: str) -> str:
    return " ".join(text.lower().split())
