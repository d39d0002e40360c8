"""One's own videos and captions: a table (.csv, .tsv) or a .jsonl file with ``video`` and ``caption``.

Optional are ``start`` and ``end`` in seconds, which make the moment the unit that is ranked, and ``split``. A video
may have several captions. Without ``split``, every video is put into train, val or test by the hash of its name.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from ..errors import DatasetError, InputError, suggest
from .files import csv_rows, jsonl_rows
from .holdout import place_of
from .records import Caption, Protocol, Source, Split

__all__ = ["EVERYTHING", "OWN_SUFFIXES", "read_own", "read_own_splits"]

OWN_SUFFIXES = (".csv", ".tsv", ".jsonl")
EVERYTHING = "all"  # as split: every row, whatever its split
NEEDED = ("video", "caption")
TRAIN_BELOW, VAL_BELOW = 0.8, 0.9  # 80 / 10 / 10
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True, kw_only=True)
class _Row:
    line: int
    file: str  # the name of the video as it is written first
    unit: str
    caption: Caption
    split: str
    source: Source


def read_own(path: str | Path, *, split: str, root: str | Path | None = None) -> Split:
    """One split of a file of captions.

    Args:
        split: ``train``, ``val``, ``test``, or ``all`` for every row.
        root: folder that relative names of videos start from; default: the folder of ``path``.

    Raises:
        InputError: no such split.
        DatasetError: the file is missing or malformed, or the split is empty.
    """
    known = ("train", "val", "test", EVERYTHING)
    if split not in known:
        raise InputError(f"unknown split {split!r}{suggest(split, known)} ({', '.join(known)})")
    splits = read_own_splits(path, root=root)
    if split not in splits:
        filled = ", ".join(f"{name} ({len(one.videos)} videos)" for name, one in splits.items())
        raise DatasetError(
            f"{str(path)!r} has no video in its split {split!r}; it has {filled}. Give some videos that split in "
            "a column 'split', or add videos: three are enough to fill all splits where there is no such column"
        )
    return splits[split]


def read_own_splits(path: str | Path, *, root: str | Path | None = None) -> dict[str, Split]:
    """All splits of a file of captions that have a video, and ``all``: every row.

    Rows that are blank or lack a caption are left out and counted, as is a caption that a video has twice. The
    protocol is ``one-caption`` where no video (or moment) of the file has a second caption, else ``all-captions``.

    Raises:
        DatasetError: the file is missing or malformed, holds no caption, or puts a video into two splits.
    """
    path = Path(path)
    base = Path(root) if root is not None else path.parent
    rows, notes = _read_rows(path, base)
    several = max(Counter(row.unit for row in rows).values()) > 1
    protocol: Protocol = "all-captions" if several else "one-caption"
    split_of = _split_of_files(path, rows)
    parts = {EVERYTHING: rows}
    for name in ("train", "val", "test"):
        parts[name] = [row for row in rows if split_of[row.file] == name]
    return {
        name: Split(
            benchmark=path.name,
            split=name,
            protocol=protocol,
            videos=tuple(dict.fromkeys(row.unit for row in chosen)),
            captions=tuple(row.caption for row in chosen),
            notes=(*notes, *_shared_captions(chosen)),
            sources={row.unit: row.source for row in chosen},
        )
        for name, chosen in parts.items()
        if chosen
    }


def _raw_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    kind = suffixes[-1] if suffixes else ""
    if kind not in OWN_SUFFIXES:
        raise DatasetError(f"{str(path)!r}: expected a file of captions that ends with .csv, .tsv or .jsonl")
    if kind == ".jsonl":
        yield from jsonl_rows(path)
    else:
        yield from csv_rows(path, columns=NEEDED, delimiters="\t" if kind == ".tsv" else ",;\t")


def _read_rows(path: Path, base: Path) -> tuple[list[_Row], list[str]]:
    rows: list[_Row] = []
    first_name: dict[str, str] = {}  # absolute path: as written first
    seen: set[tuple[str, str]] = set()
    blank = twice = 0
    uncaptioned: list[int] = []
    for line, raw in _raw_rows(path):
        where = f"{str(path)!r}, line {line}"
        if not any(value not in (None, "") and str(value).strip() for value in raw.values()):
            blank += 1
            continue
        name, text = (_text(raw, key, where) for key in NEEDED)
        if not name:
            raise DatasetError(f"{where}: a row without a video; name its file under 'video'")
        if not text:
            uncaptioned.append(line)
            continue
        if "\0" in name:
            raise DatasetError(f"{where}: the name of the video holds a zero byte")
        start_s, end_s = _moment(raw, where)
        file = os.path.abspath(base / name)
        name = first_name.setdefault(file, name)
        unit = name if start_s is None or end_s is None else f"{name}#t={_plain(start_s)},{_plain(end_s)}"
        if (unit, text) in seen:
            twice += 1
            continue
        seen.add((unit, text))
        rows.append(
            _Row(
                line=line,
                file=name,
                unit=unit,
                caption=Caption(text=text, video=unit, start_s=start_s, end_s=end_s),
                split=_split_word(raw, where),
                source=Source(path=Path(file), start_s=start_s, end_s=end_s),
            )
        )
    if not rows:
        raise DatasetError(f"{str(path)!r} holds no row with a video and a caption")
    notes: list[str] = []
    if blank:
        notes.append(f"{blank:,} blank rows were left out")
    if uncaptioned:
        notes.append(
            f"{len(uncaptioned):,} rows without a caption were left out (first: line {uncaptioned[0]})"
        )
    if twice:
        notes.append(f"{twice:,} rows repeat a caption of the same video and were left out")
    return rows, notes


def _text(raw: dict[str, Any], key: str, where: str) -> str:
    if key not in raw:
        raise DatasetError(
            f"{where}: no {key!r}{suggest(key, raw)}; it has: {', '.join(map(repr, list(raw)[:12]))}"
        )
    value = raw[key]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DatasetError(f"{where}: expected text under {key!r}, got {type(value).__name__} {value!r:.60}")
    return value.strip()


def _moment(raw: dict[str, Any], where: str) -> tuple[float | None, float | None]:
    start_s, end_s = (_seconds(raw.get(key), key, where) for key in ("start", "end"))
    if (start_s is None) != (end_s is None):
        raise DatasetError(f"{where}: 'start' and 'end' go together; give both in seconds, or none")
    if start_s is not None and end_s is not None and end_s <= start_s:
        raise DatasetError(f"{where}: the end ({end_s:g} s) has to be after the start ({start_s:g} s)")
    return start_s, end_s


def _seconds(value: Any, key: str, where: str) -> float | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise DatasetError(f"{where}: {key} {value!r:.40} is not a time in seconds, such as 12.5")
    return number


def _plain(seconds: float) -> str:
    """Seconds as media fragments write them: no exponent, no needless zeros."""
    text = format(Decimal(repr(seconds)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _split_word(raw: dict[str, Any], where: str) -> str:
    """``train``, ``val``, ``test``, or empty where the file has no splits."""
    if "split" not in raw:
        return ""
    word = raw["split"]
    if not isinstance(word, str) or word.strip().lower() not in SPLIT_WORDS:
        raise DatasetError(
            f"{where}: split {word!r:.40}{suggest(str(word), SPLIT_WORDS)}; expected train, val or test"
        )
    return SPLIT_WORDS[word.strip().lower()]


def _split_of_files(path: Path, rows: list[_Row]) -> dict[str, str]:
    given = {row.split for row in rows}
    if given == {""}:
        return _split_by_hash([row.file for row in rows])
    found: dict[str, str] = {}
    for row in rows:
        if not row.split:
            raise DatasetError(f"{str(path)!r}, line {row.line}: no 'split', which other rows have")
        if found.setdefault(row.file, row.split) != row.split:
            raise DatasetError(
                f"{str(path)!r}, line {row.line}: video {row.file!r} is in {row.split!r} here and in "
                f"{found[row.file]!r} above; all captions of a video have to be in one split"
            )
    return found


def _split_by_hash(files: list[str]) -> dict[str, str]:
    """80 / 10 / 10 by the hash of the name; three videos and more fill all splits."""
    in_order = sorted(dict.fromkeys(files), key=lambda file: (place_of(file), file))
    places = [place_of(file) for file in in_order]
    val_from = sum(place < TRAIN_BELOW for place in places)
    test_from = sum(place < VAL_BELOW for place in places)
    if len(in_order) >= 3:
        val_from = min(max(val_from, 1), len(in_order) - 2)
        test_from = min(max(test_from, val_from + 1), len(in_order) - 1)
    return {
        file: "train" if row < val_from else "val" if row < test_from else "test"
        for row, file in enumerate(in_order)
    }


def _shared_captions(rows: list[_Row]) -> list[str]:
    counted = Counter(row.caption.text for row in rows)
    shared = [text for text, count in counted.items() if count > 1]
    if not shared:
        return []
    return [
        f"{len(shared):,} captions are of several videos each, so exact ties between queries: {shared[0]!r:.80}"
    ]
