"""One call for all formats: the suffix of the file decides."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import DecodeError, InputError, suggest
from ..unfinished import unfinished
from .fcpxml import fcpxml_text
from .media import Media, main_rate, media_of
from .rows import Row, csv_text, json_text, rows_of
from .timeline import edl_text, load_otio, otio_text

__all__ = ["FORMATS", "Exported", "export", "export_format"]

FORMATS = {
    ".csv": "a table for spreadsheets",
    ".json": "one JSON document",
    ".edl": "an edit decision list (CMX 3600)",
    ".fcpxml": "a project for Final Cut Pro and DaVinci Resolve",
    ".otio": "an OpenTimelineIO timeline",
}
"""File name suffixes, with what each stands for. The last three need the extra ``framesift[export]``."""

_TABLES = frozenset({".csv", ".json"})


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A file that was written.

    Attributes:
        path: the file.
        format: its suffix, a key of ``FORMATS``.
        count: results in it.
        rate: frames per second in which times are counted; None where every video keeps its own, and in tables.
        notes: sentences for the user: results that were left out, rates that were converted.
    """

    path: str
    format: str
    count: int
    rate: float | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def export_format(path: str | os.PathLike[str]) -> str:
    """The format that a file name stands for, before anything is searched. Raises InputError for an unknown one, and
    MissingExtraError if it needs a package that is not installed."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        choices = ", ".join(FORMATS)
        raise InputError(
            f"cannot tell the format of {os.fspath(path)!r}; its name must end in {choices}{suggest(suffix, FORMATS)}"
        )
    if suffix not in _TABLES:
        load_otio()
    return suffix


def export(
    results: Iterable[Any], path: str | os.PathLike[str], *, query: str = "", overwrite: bool = False
) -> Exported:
    """Write results to a file whose suffix, one of ``FORMATS``, decides what it is.

    Args:
        results: in the order in which they shall appear; see :func:`rows_of`.
        path: the file.
        query: what was searched for; it becomes a column, the title of a timeline and its markers.
        overwrite: whether an existing file is replaced.

    In a timeline, results of a file that cannot be read are left out, and a note says so. An EDL or FCPXML sequence has
    one rate, that of most of the videos; an EDL counts the frames of all videos in it.

    Raises:
        InputError: an unknown suffix, a file that exists or cannot be written, no result that a timeline could hold, or
            too many for an EDL.
        MissingExtraError: ``.edl``, ``.fcpxml`` or ``.otio`` without ``framesift[export]``.
    """
    format = export_format(path)
    rows = rows_of(results)
    if format in _TABLES:
        text = (csv_text if format == ".csv" else json_text)(rows, query)
        exported = Exported(path=os.fsdecode(path), format=format, count=len(rows))
    else:
        text, exported = _timeline(rows, os.fsdecode(path), format, query)
    with unfinished(path, overwrite=overwrite) as draft:
        draft.write_text(text, encoding="utf-8", newline="")
    return exported


def _timeline(rows: Sequence[Row], path: str, format: str, query: str) -> tuple[str, Exported]:
    files, failures = _media(rows)
    kept = [row for row in rows if row.video in files]
    if not kept:
        why = f": {next(iter(failures.values()))}" if failures else ""
        raise InputError(f"there is nothing to put into a timeline{why}")
    media = [files[row.video] for row in kept]
    notes = [f"left out: {error}" for error in failures.values()]
    rate = None if format == ".otio" else main_rate(media)
    if rate is None:
        text = otio_text(kept, media, query)
    else:
        text = (edl_text if format == ".edl" else fcpxml_text)(kept, media, query, rate)
        others = sorted({one.rate for one in media} - {rate})
        if others:
            words = ", ".join(f"{float(one):.5g}" for one in others)
            notes.append(f"the sequence has {float(rate):.5g} frames/s; other videos have {words}")
    return text, Exported(
        path=path,
        format=format,
        count=len(kept),
        rate=None if rate is None else float(rate),
        notes=tuple(notes),
    )


def _media(rows: Sequence[Row]) -> tuple[dict[str, Media], dict[str, DecodeError]]:
    files: dict[str, Media] = {}
    failures: dict[str, DecodeError] = {}
    for video in dict.fromkeys(row.video for row in rows):
        try:
            files[video] = media_of(video)
        except DecodeError as error:
            failures[video] = error
    return files, failures
