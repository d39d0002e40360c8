"""How the verbs speak: data on stdout, talk on stderr, progress with an estimate of the time left."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import typer

from ..clock import format_time
from ..index.location import located

if TYPE_CHECKING:
    from ..ranking import Hit

__all__ = [
    "DEFAULT_INDEX",
    "HIT_HEADER",
    "INDEX_OPTION",
    "JSON_OPTION",
    "TAG_OPTION",
    "ProgressLine",
    "as_given",
    "attention_bar",
    "emit_json",
    "format_bytes",
    "format_hit",
    "format_time",
    "one_line",
    "say",
    "talk",
]

DEFAULT_INDEX = Path("framesift.index")

INDEX_OPTION = typer.Option(
    DEFAULT_INDEX,
    "--index",
    "-i",
    envvar="FRAMESIFT_INDEX",
    help="Directory of the index, or its URI in an object store, such as s3://bucket/films.",
)
TAG_OPTION = typer.Option(
    None,
    "--tag",
    metavar="TAG",
    help="Use the state that framesift publish named so, not what was indexed last.",
)
JSON_OPTION = typer.Option(False, "--json", help="Print JSON on stdout and nothing else.")

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII_BLOCKS = "_.-=+*%#"
PLAIN_INTERVAL_S = 5.0


def say(line: str = "") -> None:
    """Data: a line on stdout. File names that are not valid text are shown with escapes."""
    sys.stdout.write(_printable(line, sys.stdout.encoding) + "\n")


def talk(line: str) -> None:
    """Talk: a line on stderr."""
    sys.stderr.write(_printable(line, sys.stderr.encoding) + "\n")
    sys.stderr.flush()


def emit_json(value: Any) -> None:
    """One JSON document on stdout. Bytes of file names that are not UTF-8 appear as lone surrogates, escaped."""
    say(json.dumps(value, indent=2, default=str))


def format_bytes(size: float) -> str:
    """``1.3 GB``."""
    for suffix in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {suffix}" if suffix == "B" else f"{size:.1f} {suffix}"
        size /= 1000
    return f"{size:.1f} TB"


def as_given(index: Path) -> str:
    """An index as its user wrote it: the ``Path`` that a URI was made into has lost a slash."""
    place = located(index)
    return str(index) if isinstance(place, Path) else str(place)


def one_line(name: str) -> str:
    """A file name as part of a line: its line breaks are shown as escapes."""
    return name.replace("\n", "\\n")


def attention_bar(weights: Sequence[float]) -> str:
    """One character a frame, as tall as the share of the largest weight."""
    blocks = BLOCKS if _encodable(BLOCKS, sys.stdout.encoding) else ASCII_BLOCKS
    top = max(weights, default=0.0)
    if top <= 0.0:
        return blocks[0] * len(weights)
    return "".join(blocks[min(len(blocks) - 1, int(weight / top * len(blocks)))] for weight in weights)


def format_hit(hit: Hit, *, name: str | None = None) -> str:
    """One line of a search result: place, score, time span, where the text looked, attention, file (or ``name``)."""
    span = f"{format_time(hit.start_s)}-{format_time(hit.end_s)}"
    looked = "-".join(map(format_time, hit.focus_s))
    bar = attention_bar(hit.attention)
    shown = one_line(name or hit.video)
    return f"{hit.rank:3d}  {hit.score:6.3f}  {span:>17}  {looked:>15}  {bar}  {shown}"


HIT_HEADER = f"{'':3}  {'score':>6}  {'moment':>17}  {'text attends':>15}  frames, and video"


class ProgressLine:
    """Progress of a long job on stderr: a bar that is redrawn on a terminal, a line every few seconds elsewhere."""

    def __init__(self, title: str, *, quiet: bool = False) -> None:
        self._title = title
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._shown = time.monotonic()
        self._open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Leave the line as it is; what comes next stands below it."""
        if self._open:
            sys.stderr.write("\n")
            sys.stderr.flush()
            self._open = False

    def note(self, what: str) -> None:
        """A line of its own about the job."""
        if not self._quiet:
            self.end()
            talk(f"{self._title}: {what}")

    def update(self, done: int, total: int, *, eta_s: float | None, note: str = "") -> None:
        """Show ``done`` of ``total``, and the time left if it is known."""
        now = time.monotonic()
        interval = 0.1 if self._terminal else PLAIN_INTERVAL_S
        if self._quiet or (now - self._shown < interval and (done < total or not self._terminal)):
            return
        self._shown = now
        left = f", {_rough_time(eta_s)} left" if eta_s is not None and done < total else ""
        line = f"{self._title}: {done} of {total}{left}{note}"
        if self._terminal:
            filled = round(20 * done / total) if total else 20
            width = os.get_terminal_size(sys.stderr.fileno()).columns or 80  # 0: it does not say
            bar = f"[{'#' * filled}{'.' * (20 - filled)}] {line}"
            sys.stderr.write("\r\x1b[K" + _printable(bar, sys.stderr.encoding)[: max(20, width - 1)])
            sys.stderr.flush()
            self._open = True
        else:
            talk(line)


def _rough_time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _encodable(text: str, encoding: str | None) -> bool:
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _printable(line: str, encoding: str | None) -> str:
    """Control characters and what the stream cannot encode, as escapes: a file name never moves the cursor."""
    shown = "".join(
        character
        if character.isprintable() or character == "\n"
        else character.encode("unicode_escape").decode()
        for character in line
    )
    encoding = encoding or "ascii"
    return shown.encode(encoding, "backslashreplace").decode(encoding)
