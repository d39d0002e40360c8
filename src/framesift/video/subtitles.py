"""Subtitles of a video: files that lie beside it, as cues with times.

SubRip (``.srt``) and WebVTT (``.vtt``) are read by one tolerant parser, because files found in the wild mix the two:
decimal points in SubRip, missing hours, missing blank lines, numbers that are no numbers. What is no cue is skipped and
counted. Files come from anywhere, so size, number of cues and length of a cue are bounded. Streams inside a video are
read by :mod:`.text_streams`.
"""

from __future__ import annotations

import codecs
import html
import io
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ..errors import InputError

__all__ = [
    "SIDECAR_SUFFIXES",
    "Cue",
    "Track",
    "is_sidecar_name",
    "match_sidecars",
    "parse_subtitles",
    "plain_text",
    "read_sidecar",
    "tidy",
]

SIDECAR_SUFFIXES = frozenset({".srt", ".vtt"})

MAX_BYTES = 16 * 2**20  # ten hours of automatic captions with a time for every word take about six million
MAX_CUES = 200_000  # of a track: a day of cues of half a second
MAX_CUE_CHARS = 4000  # with its tags; a screen shows about a hundred
MAX_FILES = 64  # beside one video
MAX_NAME_PARTS = 4  # name, language and two kinds

_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,9}))?"
_TIMING = re.compile(rf"^\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?$")
_NUMBER = re.compile(r"^\s*\d{1,9}\s*$")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<[\d:.]+>")  # <i>, <v Anna>, <00:01.500>; "a < b" is text
_OVERRIDE = re.compile(r"\{\\[^{}]*\}")  # SubStation's {\an8}, which SubRip files use, too
_DRAWING = re.compile(r"\{\\[^{}]*p[1-9][^{}]*\}[^{}]*")  # vector graphics, until the next override
_KINDS = frozenset({"forced", "sdh", "cc", "hi", "default", "full", "signs", "orig", "auto"})
_LANGUAGE = re.compile(rf"^(?:[a-z]{{2,3}}(?:[-_][a-z0-9]{{2,8}}){{0,3}}|{'|'.join(_KINDS)})$", re.IGNORECASE)
_SAME_S = 0.2  # cues this close to one another follow one another without a pause

# Byte order marks, the longer ones first: UTF-32's begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True, kw_only=True)
class Cue:
    """A text and when it is shown, in seconds from the video's first frame; on one line, without markup."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Track:
    """All cues of one file or stream, in order of their start.

    Attributes:
        source: name of the file beside the video, or ``stream N``.
        language: as the file name or the stream says it (``en``, ``pt-BR``, ``eng``); None if neither does.
        cues: what could be read.
        skipped: cues that could not.
        problem: why there are no cues, or not all; None if nothing is wrong.
    """

    source: str
    language: str | None = None
    cues: tuple[Cue, ...] = ()
    skipped: int = 0
    problem: str | None = None


def is_sidecar_name(name: str) -> bool:
    """Whether a file, by its name or path, may hold subtitles."""
    return os.path.splitext(name)[1].lower() in SIDECAR_SUFFIXES


def match_sidecars(names: Iterable[str], videos: Iterable[str]) -> dict[str, list[tuple[str, str | None]]]:
    """Which names of a folder are subtitles of which of its videos, each with its language, sorted.

    ``film.srt``, ``film.en.vtt``, ``film.pt-BR.forced.srt`` and ``film.mp4.srt`` belong to ``film.mp4``. A file that
    fits several videos belongs to the one with the longest name: ``film.raw.srt`` to ``film.raw.mp4``.

    Args:
        names: all names in the folder.
        videos: file names of the videos in it.
    """
    owners: dict[str, list[str]] = {}
    for video in videos:
        for stem in {video, os.path.splitext(video)[0]}:
            owners.setdefault(stem, []).append(video)
    found: dict[str, list[tuple[str, str | None]]] = {}
    for name in sorted(names):
        if not is_sidecar_name(name):
            continue
        stem, _ = os.path.splitext(name)
        language: str | None = None
        for _ in range(MAX_NAME_PARTS):
            if stem in owners:
                for video in owners[stem]:
                    found.setdefault(video, []).append((name, language))
                break
            stem, dot, part = stem.rpartition(".")
            if not dot or not _LANGUAGE.match(part):
                break
            if part.lower() not in _KINDS:
                language = part.replace("_", "-")
    return {video: pairs[:MAX_FILES] for video, pairs in found.items()}


def read_sidecar(path: str | os.PathLike[str], *, language: str | None = None) -> Track:
    """The cues of a subtitle file. Never raises for what is in it: ``problem`` says what is wrong."""
    name = os.path.basename(os.fspath(path))
    try:
        content = _content(os.fspath(path))
        cues, skipped = parse_subtitles(_decoded(content), webvtt=name.lower().endswith(".vtt"))
    except OSError as error:
        return Track(source=name, language=language, problem=error.strerror or str(error))
    except InputError as error:
        return Track(source=name, language=language, problem=str(error))
    problem = None
    if not cues:
        problem = "there is no cue in it" if content.strip() else "it is empty"
    elif len(cues) > MAX_CUES:
        problem = f"only its first {MAX_CUES} cues are kept"
    return Track(source=name, language=language, cues=tidy(cues), skipped=skipped, problem=problem)


def _content(path: str) -> bytes:
    # what has become a pipe meanwhile would block
    with open(
        path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    ) as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise InputError("it is not a regular file")
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        size = max(facts.st_size, len(content))
        raise InputError(f"it has {size} bytes; more than {MAX_BYTES} are not read as subtitles")
    return content


def _decoded(content: bytes) -> str:
    """Text by its byte order mark, else UTF-16 where every other byte is 0, UTF-8, Windows-1252, Latin-1."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, "replace")
    head = content[:4096]
    if head.count(0) > len(head) // 4:
        even, odd = head[::2].count(0), head[1::2].count(0)
        if min(even, odd) * 8 < max(even, odd):
            return content.decode("utf-16-be" if even > odd else "utf-16-le", "replace")
    if 0 in head:
        raise InputError("it is not text")
    for encoding in ("utf-8", "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1")


def parse_subtitles(text: str, *, webvtt: bool = False) -> tuple[list[Cue], int]:
    """The cues of SubRip or WebVTT text in the order of the file, and how many could not be read.

    Args:
        webvtt: take it for WebVTT, where a blank line ends a cue and blocks without times are comments, style sheets
            and regions; text that begins with ``WEBVTT`` is taken for it in any case.
    """
    webvtt = webvtt or text.lstrip("\ufeff").startswith("WEBVTT")
    cues: list[Cue] = []
    skipped = 0
    times: tuple[float, float] | None = None
    for block in _blocks(text):
        if "-->" not in "".join(block):
            if not webvtt:
                if _NUMBER.match(block[0]):
                    skipped += len(block) > 1  # a cue without its times
                    times = None
                elif times is not None and len(cues[-1].text) < MAX_CUE_CHARS:
                    # a blank line inside a cue, which players of SubRip put up with
                    cues[-1] = _longer(cues[-1], plain_text("\n".join(block)))
            continue
        for timing, lines in _split(block):
            times = _times(timing)
            if times is None:
                skipped += 1
            elif (shown := plain_text("\n".join(lines))) or not webvtt:
                # an empty SubRip cue may go on behind its blank line; one that does not is dropped below
                cues.append(Cue(start_s=times[0], end_s=times[1], text=shown))
            if len(cues) > 2 * MAX_CUES:
                break
        if len(cues) > 2 * MAX_CUES:
            break
    return [cue for cue in cues if cue.text], skipped


def _blocks(text: str) -> Iterator[list[str]]:
    """Lines between blank lines."""
    block: list[str] = []
    for line in io.StringIO(text, newline=None):  # one at a time: millions of empty ones would fill a list
        if line.strip("\ufeff \t\n"):
            block.append(line.rstrip("\n"))
        elif block:
            yield block
            block = []
    if block:
        yield block


def _split(block: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """The cues of a block, each its line of times and its text: there may be several, with no blank line between."""
    starts = [i for i, line in enumerate(block) if "-->" in line]
    for start, following in zip(starts, [*starts[1:], len(block)], strict=True):
        lines = list(block[start + 1 : following])
        if following < len(block) and lines and _NUMBER.match(lines[-1]):
            lines.pop()  # the number of the next cue
        yield block[start], lines


def _times(line: str) -> tuple[float, float] | None:
    if len(line) > 1000 or (match := _TIMING.match(line)) is None:
        return None
    parts = match.groups()
    start_s, end_s = _seconds(parts[:4]), _seconds(parts[4:])
    return None if start_s is None or end_s is None or end_s < start_s else (start_s, end_s)


def _seconds(parts: Sequence[str | None]) -> float | None:
    hours, minutes, seconds = (int(part or 0) for part in parts[:3])
    if minutes >= 60 or seconds >= 60:
        return None
    return hours * 3600 + minutes * 60 + seconds + float(f"0.{parts[3] or 0}")


def _longer(cue: Cue, text: str) -> Cue:
    return replace(cue, text=f"{cue.text} {text}".strip()[:MAX_CUE_CHARS])


def plain_text(text: str) -> str:
    """Text of a cue on one line, without tags, SubStation's overrides and drawings, entities, control characters."""
    text = text[:MAX_CUE_CHARS]
    if "{" in text:
        text = _OVERRIDE.sub("", _DRAWING.sub("", text))
    text = text.replace("\\N", " ").replace("\\h", " ")  # SubStation's line break and hard space
    if "<" in text:
        text = _TAG.sub("", text)
    if "&" in text:
        text = html.unescape(text)
    return " ".join("".join(" " if _is_control(letter) else letter for letter in text).split())


def _is_control(letter: str) -> bool:
    """Control characters, direction marks and halves of surrogate pairs: none of them is shown, some mislead."""
    code = ord(letter)
    return (
        code < 0x20
        or 0x7F <= code < 0xA0
        or 0x200B <= code <= 0x200F
        or 0x202A <= code <= 0x202E
        or 0x2060 <= code <= 0x206F
        or 0xD800 <= code < 0xE000
        or code == 0xFEFF
    )


def tidy(cues: Iterable[Cue]) -> tuple[Cue, ...]:
    """Cues by their start, each text once.

    A cue that repeats the one before without a pause prolongs it: styled SubStation files draw a line several
    times over, and automatic captions roll, every line of theirs standing in the next cue, too.
    """
    kept: list[Cue] = []
    for cue in sorted(cues, key=lambda cue: (cue.start_s, cue.end_s))[:MAX_CUES]:
        if kept and cue.start_s <= kept[-1].end_s + _SAME_S:
            before = kept[-1]
            if cue.text == before.text:
                kept[-1] = replace(before, end_s=max(before.end_s, cue.end_s))
                continue
            if cue.start_s >= before.end_s - _SAME_S and cue.text.startswith(before.text + " "):
                cue = replace(cue, text=cue.text[len(before.text) + 1 :])
        kept.append(cue)
    return tuple(kept)
