"""Annotation files: where they are looked for, and how they are read. Every one may be gzipped."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ..errors import DatasetError, suggest

__all__ = [
    "AnnotationFiles",
    "csv_rows",
    "first_few",
    "jsonl_rows",
    "read_bytes",
    "read_ids",
    "read_json",
    "read_text",
]

T = TypeVar("T", dict[str, Any], list[Any])

GZIP_MAGIC = b"\x1f\x8b"  # RFC 1952: the content decides, not the name
MAX_FIELD = 10_000_000  # characters of one field of a table; Python's own limit is 131,072
SHOWN = 3


class AnnotationFiles:
    """The folders below ``root`` in which a benchmark's annotation files may lie.

    Looked at are folders named as the benchmark, in ``root``, ``root/annotations`` and ``root/data``, then these
    three themselves; names of folders match in any case.

    Args:
        root: the folder that the user named.
        benchmark: name for error messages.
        folder_names: names, in lower case, that folders of this benchmark have.
        get_it: where the files come from, for error messages.

    Raises:
        DatasetError: ``root`` is not a folder.
    """

    def __init__(self, root: str | Path, *, benchmark: str, folder_names: Sequence[str], get_it: str) -> None:
        self.root = Path(root)
        self.benchmark = benchmark
        self._get_it = get_it
        if not self.root.is_dir():
            raise DatasetError(
                f"{benchmark}: {str(root)!r} is not a folder; name the one that holds its annotation files"
            )
        shared = [self.root, *_folders_named(self.root, ("annotations", "data"))]
        own = [folder for place in shared for folder in _folders_named(place, folder_names)]
        deeper = [folder for place in own for folder in _folders_named(place, ("annotations", "data"))]
        self.places = tuple(dict.fromkeys([*own, *deeper, *shared]))

    def find(self, *names: str) -> Path | None:
        """The first file that is there: an earlier name comes first, then an earlier folder."""
        for name in names:
            for place in self.places:
                for path in (place / name, place / f"{name}.gz"):
                    if path.is_file():
                        return path
        return None

    def need(self, *names: str) -> Path:
        """The first file that is there.

        Raises:
            DatasetError: none is; the message lists every name and every place.
        """
        found = self.find(*names)
        if found is None:
            raise self.missing(*names)
        return found

    def missing(self, *names: str) -> DatasetError:
        """The error that says which names were looked for, in which places."""
        which = " or ".join(names)
        places = ", ".join(str(place) for place in self.places)
        return DatasetError(
            f"{self.benchmark}: no {which} (or the same with .gz) in any of: {places}. {self._get_it}"
        )


def _folders_named(place: Path, names: Sequence[str]) -> list[Path]:
    try:
        found = [entry for entry in place.iterdir() if entry.name.lower() in names and entry.is_dir()]
    except OSError as error:
        raise DatasetError(f"cannot list {str(place)!r}: {error.strerror or error}") from None
    return sorted(found, key=lambda entry: (names.index(entry.name.lower()), entry.name))


def read_bytes(path: str | Path) -> bytes:
    """Content of a file, unpacked where it is gzipped.

    Raises:
        DatasetError: it cannot be read, is empty, or its compressed data is damaged or cut.
    """
    try:
        content = Path(path).read_bytes()
        if content.startswith(GZIP_MAGIC):
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DatasetError(
            f"{str(path)!r}: its compressed data is damaged or cut ({error}); get it again"
        ) from None
    except OSError as error:
        raise DatasetError(f"cannot read {str(path)!r}: {error.strerror or error}") from None
    if not content.strip():
        raise DatasetError(f"{str(path)!r} is empty")
    return content


def read_text(path: str | Path) -> str:
    """Text of a file: UTF-8, or UTF-16 where a byte order mark says so; line ends become LF.

    Raises:
        DatasetError: as :func:`read_bytes`, or it is no such text.
    """
    content = read_bytes(path)
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DatasetError(
            f"{str(path)!r}: line {line} is not UTF-8 (byte 0x{content[error.start]:02x}); save the file as UTF-8"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: str | Path, kind: type[T]) -> T:
    """A JSON document whose outermost value is a ``dict`` or a ``list``.

    Raises:
        DatasetError: as :func:`read_text`, or it is not JSON, or not of that kind.
    """
    try:
        value = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{str(path)!r} is not valid JSON, or is cut: {error}") from None
    if not isinstance(value, kind):
        wanted = {dict: "an object", list: "a list"}[kind]
        raise DatasetError(f"{str(path)!r}: expected {wanted}, got {type(value).__name__}")
    return value


def jsonl_rows(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Objects of a file with one JSON object a line, each with the number of its line; blank lines are passed over.

    Raises:
        DatasetError: as :func:`read_text`, or a line is no JSON object.
    """
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DatasetError(
                f"{str(path)!r}, line {number}, is not valid JSON, or is cut: {error}"
            ) from None
        if not isinstance(row, dict):
            raise DatasetError(f"{str(path)!r}, line {number}: expected an object, got {type(row).__name__}")
        yield number, row


def csv_rows(
    path: str | Path, *, columns: Sequence[str], delimiters: str = ","
) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a table with a header, each with the number of its last line; blank rows have empty values.

    Names of columns match in any case and with spaces around them. Of several ``delimiters``, the first one that
    gives the columns is taken.

    Args:
        columns: those that have to be there.

    Raises:
        DatasetError: as :func:`read_text`, or a column is missing, or a row has more fields than the header.
    """
    text = read_text(path)
    header: list[str] = []
    delimiter = delimiters[0]
    for candidate in delimiters:
        first = next(_records(path, text, candidate), (0, []))[1]
        names = [name.strip().lower() for name in first]
        if candidate == delimiters[0] or set(columns) <= set(names):
            header, delimiter = names, candidate
        if set(columns) <= set(names):
            break
    absent = [name for name in columns if name not in header]
    if absent:
        raise DatasetError(
            f"{str(path)!r} has no column {absent[0]!r}{suggest(absent[0], header)}; its first line names: "
            f"{', '.join(repr(name[:40]) for name in header[:12])}; needed: {', '.join(columns)}"
        )
    if len(set(header)) != len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise DatasetError(f"{str(path)!r} has two columns {twice!r}; remove or rename one")
    records = _records(path, text, delimiter)
    next(records)
    for number, values in records:
        if len(values) > len(header) and any(value.strip() for value in values[len(header) :]):
            raise DatasetError(
                f"{str(path)!r}, line {number}: {len(values)} fields where the header has {len(header)}; "
                "a value with a separator in it has to be in double quotes"
            )
        yield number, dict.fromkeys(header, "") | dict(zip(header, values, strict=False))


def _records(path: str | Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    previous = csv.field_size_limit(MAX_FIELD)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        while True:
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise DatasetError(
                    f"{str(path)!r}, line {reader.line_num}: not a readable table ({error})"
                ) from None
            yield reader.line_num, values
    finally:
        csv.field_size_limit(previous)


def read_ids(path: str | Path) -> list[str]:
    """Ids of a list: one a line, or a JSON list; a table with a column ``video_id`` gives that column.

    Raises:
        DatasetError: as :func:`read_text`, or an id is there twice, or there is none.
    """
    name = str(path).removesuffix(".gz")
    if name.endswith(".json"):
        listed: list[Any] = read_json(path, list)
        strange = next((value for value in listed if not isinstance(value, str)), None)
        if strange is not None:
            raise DatasetError(f"{str(path)!r}: expected a list of ids, found {strange!r} in it")
        ids = [str(value).strip() for value in listed]
    elif name.endswith(".csv"):
        ids = [row["video_id"].strip() for _, row in csv_rows(path, columns=["video_id"])]
    else:
        ids = [line.strip() for line in read_text(path).split("\n")]
    ids = [one for one in ids if one]
    if not ids:
        raise DatasetError(f"{str(path)!r} holds no id")
    if len(set(ids)) != len(ids):
        seen: set[str] = set()
        twice = next(one for one in ids if one in seen or seen.add(one))
        raise DatasetError(f"{str(path)!r} lists {twice!r} twice")
    return ids


def first_few(names: Sequence[str]) -> str:
    """``'a', 'b', 'c' and 4 more``."""
    shown = ", ".join(repr(name) for name in names[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN:,} more"
