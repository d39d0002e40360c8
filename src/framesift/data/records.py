"""One record type for every benchmark: a :class:`Split` is a gallery of videos and the captions that ask for them.

Published numbers differ in what is a query, so each split names its protocol, and a hash of its content names the
split: two results are comparable where the hashes are equal, and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np

from ..errors import DatasetError, suggest

__all__ = ["PROTOCOLS", "Caption", "Protocol", "Source", "Split"]

Protocol: TypeAlias = Literal["one-caption", "all-captions", "paragraph"]
"""What a query is.

``one-caption``: one caption a video (MSR-VTT 1K-A, LSMDC). ``all-captions``: every caption of a video is a query of
its own (MSVD, VATEX, MSR-VTT full; all training splits). ``paragraph``: all captions of a video joined (DiDeMo,
ActivityNet).
"""

PROTOCOLS: tuple[str, ...] = get_args(Protocol)

HASH_LENGTH = 16  # hexadecimal digits: 64 bits tell the splits of the world apart


@dataclass(frozen=True, kw_only=True, slots=True)
class Caption:
    """A sentence and the video that it is true of; ``start_s`` and ``end_s`` say of which part, where that is known."""

    text: str
    video: str
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The file of a video, and ``[start_s, end_s)`` where the unit that is ranked is a moment of it."""

    path: Path
    start_s: float | None = None
    end_s: float | None = None

    def __str__(self) -> str:
        """The file, or the media fragment of it that decoding takes: ``talk.mp4#t=12.5,20.0``."""
        if self.end_s is None:
            return str(self.path)
        start, end = (np.format_float_positional(second) for second in (self.start_s or 0.0, self.end_s))
        return f"{self.path}#t={start},{end}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """A gallery of videos and the captions that ask for them.

    Attributes:
        benchmark: key of :data:`.BENCHMARKS`, or a name for one's own data.
        split: ``train``, ``val`` or ``test``.
        protocol: what a query is.
        videos: ids in the order of the gallery, each once.
        captions: in the order of the queries.
        notes: what a report must say of the data: files with fewer videos than the paper has, skipped lines.
        sources: the file of every video, where the data itself names it (one's own data); no part of the hash.
        window_s: start and end of the part of every video that is seen, which :func:`.locate` puts into its sources; a
            shorter video is seen to its end. None: the whole video. No part of the hash.

    Raises:
        DatasetError: no video, no caption, an id twice, an empty caption, a caption of an unknown video, or, except for
            ``all-captions``, several captions of one.
    """

    benchmark: str
    split: str
    protocol: Protocol
    videos: tuple[str, ...]
    captions: tuple[Caption, ...]
    notes: tuple[str, ...] = ()
    sources: Mapping[str, Source] = field(default_factory=dict[str, Source], repr=False)
    window_s: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        name = f"{self.benchmark} {self.split}"
        if self.protocol not in PROTOCOLS:
            raise DatasetError(
                f"{name}: protocol {self.protocol!r}{suggest(self.protocol, PROTOCOLS)} (known: {', '.join(PROTOCOLS)})"
            )
        if not self.videos or not self.captions:
            raise DatasetError(
                f"{name}: {len(self.videos)} videos and {len(self.captions)} captions; at least one of each is needed"
            )
        if len(self.rows) != len(self.videos):
            twice = next(video for row, video in enumerate(self.videos) if self.rows[video] != row)
            raise DatasetError(f"{name}: video {twice!r} is in the gallery twice")
        for number, caption in enumerate(self.captions):
            if caption.video not in self.rows:
                raise DatasetError(
                    f"{name}: caption {number} is of video {caption.video!r}, which the gallery lacks"
                )
            if not caption.text.strip():
                raise DatasetError(f"{name}: caption {number}, of video {caption.video!r}, is empty")
        if self.protocol != "all-captions" and len(self.captions) != len({c.video for c in self.captions}):
            raise DatasetError(f"{name}: protocol {self.protocol!r} allows one caption a video")

    @property
    def texts(self) -> list[str]:
        """The sentences, in the order of the queries."""
        return [caption.text for caption in self.captions]

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row of every video in the gallery, by id."""
        return {video: row for row, video in enumerate(self.videos)}

    @cached_property
    def owner(self) -> np.ndarray:
        """Row of the video of every caption, int64 ``[text]``."""
        return np.array([self.rows[caption.video] for caption in self.captions], dtype=np.int64)

    def relevance(self) -> np.ndarray:
        """Which videos answer which texts, bool ``[text, video]``: every caption its own video."""
        result = np.zeros((len(self.captions), len(self.videos)), dtype=bool)
        result[np.arange(len(self.captions)), self.owner] = True
        return result

    @cached_property
    def content_hash(self) -> str:
        """Hash of protocol, gallery and queries, in their order, which a similarity matrix shares."""
        rows = [[c.text, self.rows[c.video], c.start_s, c.end_s] for c in self.captions]
        document = json.dumps([self.protocol, self.videos, rows], ensure_ascii=False)
        return hashlib.sha256(document.encode("utf-8", "surrogatepass")).hexdigest()[:HASH_LENGTH]

    def without(self, missing: Collection[str]) -> Split:
        """The split without some videos and their captions, with a note of how many; another hash.

        Raises:
            DatasetError: nothing is left.
        """
        gone = set(missing) & set(self.videos)
        if not gone:
            return self
        note = f"{len(gone)} of {len(self.videos)} videos are missing and were left out"
        return replace(
            self,
            videos=tuple(video for video in self.videos if video not in gone),
            captions=tuple(caption for caption in self.captions if caption.video not in gone),
            notes=(*self.notes, note),
        )

    def subset(self, rows: Sequence[int]) -> Split:
        """The videos of some rows, in that order, with their captions; another hash."""
        chosen = {self.videos[row] for row in rows}
        return replace(
            self,
            videos=tuple(self.videos[row] for row in rows),
            captions=tuple(caption for caption in self.captions if caption.video in chosen),
        )

    def to_dict(self) -> dict[str, str | int | list[str]]:
        """What a result says of the data it was measured on."""
        return {
            "benchmark": self.benchmark,
            "split": self.split,
            "protocol": self.protocol,
            "videos": len(self.videos),
            "captions": len(self.captions),
            "content_hash": self.content_hash,
            "notes": list(self.notes),
        }

    def __repr__(self) -> str:
        return (
            f"<Split {self.benchmark} {self.split}: {len(self.captions):,} captions x {len(self.videos):,} videos,"
            f" {self.protocol}, {self.content_hash}>"
        )
