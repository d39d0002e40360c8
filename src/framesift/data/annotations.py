"""What a reader of a benchmark's files hands over, and the steps that several of them share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DatasetError
from .files import first_few
from .records import Caption

__all__ = ["Annotations", "captions_by_video", "every_caption", "one_paragraph", "only_text"]


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """The gallery and the queries of a split as its files have them, and what is to be said of the files."""

    videos: tuple[str, ...]
    captions: tuple[Caption, ...]
    notes: tuple[str, ...] = ()


def only_text(value: Any, *, path: str | Path, where: str) -> str:
    """``value`` if it is a string.

    Raises:
        DatasetError: it is none.
    """
    if not isinstance(value, str):
        raise DatasetError(f"{str(path)!r}, {where}: expected text, got {type(value).__name__} {value!r:.60}")
    return value


def captions_by_video(document: Mapping[str, Any], *, path: str | Path) -> dict[str, list[str]]:
    """Captions of a file that has a list of them, as strings or as lists of words, for every video.

    Raises:
        DatasetError: a value is anything else.
    """
    found: dict[str, list[str]] = {}
    for video, values in document.items():
        if not isinstance(values, list | tuple):
            raise DatasetError(
                f"{str(path)!r}, video {video!r}: expected a list of captions, got {type(values).__name__}"
            )
        sentences: list[str] = []
        for value in values:
            words = value if isinstance(value, list | tuple) else [value]
            sentences.append(" ".join(only_text(word, path=path, where=f"video {video!r}") for word in words))
        found[video] = sentences
    return found


def every_caption(
    videos: Sequence[str],
    by_video: Mapping[str, Sequence[str]],
    *,
    path: str | Path,
    notes: Iterable[str] = (),
) -> Annotations:
    """All captions of the listed videos, video by video; empty captions are left out and counted.

    Raises:
        DatasetError: a listed video has no caption in ``by_video``, which was read from ``path``.
    """
    unknown = [video for video in videos if not by_video.get(video)]
    if unknown:
        raise DatasetError(
            f"{len(unknown):,} of {len(videos):,} listed videos have no caption in {str(path)!r}: "
            f"{first_few(unknown)}; the list and the captions must be of the same benchmark"
        )
    captions = [
        Caption(text=text, video=video) for video in videos for text in by_video[video] if text.strip()
    ]
    empty = sum(len(by_video[video]) for video in videos) - len(captions)
    said = [f"{empty:,} empty captions were left out"] if empty else []
    return Annotations(videos=tuple(videos), captions=tuple(captions), notes=(*notes, *said))


def one_paragraph(sentences: Iterable[str]) -> str:
    """Sentences joined by a space, in their order, without the spaces around each."""
    return " ".join(stripped for sentence in sentences if (stripped := sentence.strip()))
