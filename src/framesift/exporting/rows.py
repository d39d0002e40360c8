"""Results as rows of a table: CSV for spreadsheets, JSON for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Row", "csv_text", "json_text", "one_line", "rows_of"]

# What spreadsheets take for the beginning of a formula (OWASP, "CSV Injection"), the full-width forms included.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_COLUMNS = (
    "rank",
    "score",
    "video",
    "start_s",
    "end_s",
    "start",
    "end",
    "focus_start_s",
    "focus_end_s",
    "text",
    "query",
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One result as it is exported; times in seconds from the video's first frame."""

    rank: int
    video: str
    start_s: float
    end_s: float
    score: float
    focus_s: tuple[float, float]
    text: str | None = None


def rows_of(results: Iterable[Any]) -> list[Row]:
    """Rows of results: :class:`framesift.Hit`, :class:`framesift.search.Result` (which has one), or any objects with
    ``video``, ``start_s``, ``end_s`` and ``score``; ``rank``, ``focus_s`` and ``text`` are used if they are there.
    """
    rows: list[Row] = []
    for number, result in enumerate(results, start=1):
        hit = getattr(result, "hit", result)
        sources: Iterable[Any] = getattr(result, "sources", None) or ()
        texts = [getattr(one, "text", None) for one in (result, *sources)]
        focus = getattr(hit, "focus_s", None) or (hit.start_s, hit.end_s)
        rows.append(
            Row(
                rank=getattr(hit, "rank", number),
                video=hit.video,
                start_s=float(hit.start_s),
                end_s=float(hit.end_s),
                score=float(hit.score),
                focus_s=(float(focus[0]), float(focus[1])),
                text=next((text for text in texts if text), None),
            )
        )
    return rows


def csv_text(rows: Sequence[Row], query: str) -> str:
    """A table with a header, as RFC 4180 has it.

    A text that a spreadsheet would take for a formula gets an apostrophe in front, and is then shown as it is.
    """
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(_COLUMNS)
    for row in rows:
        writer.writerow(
            [
                row.rank,
                f"{row.score:.6g}",
                _inert(row.video),
                f"{row.start_s:.3f}",
                f"{row.end_s:.3f}",
                _clock(row.start_s),
                _clock(row.end_s),
                f"{row.focus_s[0]:.3f}",
                f"{row.focus_s[1]:.3f}",
                _inert(row.text or ""),
                _inert(query),
            ]
        )
    return file.getvalue()


def json_text(rows: Sequence[Row], query: str) -> str:
    """One document; names that are not valid text appear as lone surrogates, escaped."""
    hits = [
        {
            "rank": row.rank,
            "video": row.video,
            "start_s": row.start_s,
            "end_s": row.end_s,
            "focus_s": list(row.focus_s),
            "score": row.score,
            "text": row.text,
        }
        for row in rows
    ]
    return json.dumps({"query": query, "hits": hits}, indent=2) + "\n"


def one_line(text: str) -> str:
    """Text without control characters and lone surrogates, in one line: safe in line formats and in XML."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(shown.split())


def _inert(text: str) -> str:
    """The text in a form that is no formula; bytes that are not UTF-8 as escapes."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "'" + text if text.lstrip(" ").startswith(_FORMULA_STARTS) else text


def _clock(seconds: float) -> str:
    """``0:01:02.500``: what spreadsheets take for a time."""
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest / 1000:06.3f}"
