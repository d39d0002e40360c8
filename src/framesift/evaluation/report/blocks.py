"""What a report is made of: sections of tables, charts, facts, notes and pictures. The template knows these alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

__all__ = [
    "Block",
    "Cell",
    "Chart",
    "Column",
    "Facts",
    "Folded",
    "Frame",
    "FrameRow",
    "Heading",
    "Key",
    "Note",
    "Pictures",
    "Preformatted",
    "Section",
    "Table",
    "WordGrid",
    "anchor",
]

# All strings below are plain text: the template escapes them.


@dataclass(frozen=True, kw_only=True)
class Column:
    """Head of a table's column; neighbours of the same ``group`` get one head above theirs."""

    label: str
    group: str = ""
    number: bool = True


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What a table shows at one place.

    Attributes:
        note: smaller, below the text: an interval, a deviation.
        sort: the value to sort by; None: by the text, or last where the column holds numbers.
        best: the best of its column, beyond doubt.
        target: id of the section that the text leads to.
    """

    text: str
    note: str = ""
    sort: float | None = None
    best: bool = False
    target: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under a caption; the first column names the row."""

    kind: ClassVar[str] = "table"
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    sortable: bool = True

    @property
    def groups(self) -> list[tuple[str, int, int]]:
        """Heads above the heads: label, number of columns, number of the first; empty where no column has one."""
        spans: list[tuple[str, int, int]] = []
        if not any(column.group for column in self.columns):
            return spans
        for number, column in enumerate(self.columns):
            if spans and spans[-1][0] == column.group:
                label, width, first = spans[-1]
                spans[-1] = (label, width + 1, first)
            else:
                spans.append((column.group, 1, number))
        return spans

    @property
    def starts(self) -> set[int]:
        """Columns at which a group begins."""
        return {first for label, _, first in self.groups if label}


@dataclass(frozen=True, kw_only=True)
class Key:
    """A series in a chart's legend.

    Attributes:
        swatch: finished markup of how it is drawn, in a field of 26 x 12 pixels.
    """

    name: str
    swatch: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A drawing, with the numbers in it as a table for those who cannot see it.

    Attributes:
        svg: finished markup, whose text is escaped already.
        legend: how each series is drawn.
    """

    kind: ClassVar[str] = "chart"
    title: str
    svg: str
    legend: Sequence[Key]
    table: Table


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Names and values."""

    kind: ClassVar[str] = "facts"
    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Note:
    """A paragraph, or a warning."""

    kind: ClassVar[str] = "note"
    text: str
    tone: Literal["plain", "warning"] = "plain"


@dataclass(frozen=True, kw_only=True)
class Heading:
    """A heading inside a section, below the section's own."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True, kw_only=True)
class Preformatted:
    """A file's text."""

    kind: ClassVar[str] = "preformatted"
    text: str


@dataclass(frozen=True, kw_only=True)
class Folded:
    """Blocks that are shown when asked for."""

    kind: ClassVar[str] = "folded"
    title: str
    blocks: Sequence[Block]
    open: bool = False


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A picture of a video.

    Attributes:
        source: a data URI.
        true: whether the caption speaks of it; None: not known.
    """

    source: str
    time_s: float
    true: bool | None = None


@dataclass(frozen=True, kw_only=True)
class FrameRow:
    """What one system gives to the frames of a picture row.

    Attributes:
        weights: a share for each frame, 0 to 1.
        pictures: data URIs of maps over the frames; instead of bars.
        note: what ``pictures`` are.
    """

    system: str
    scores: Sequence[tuple[str, str]]
    weights: Sequence[float] | None = None
    pictures: Sequence[str] | None = None
    note: str = ""

    @property
    def top(self) -> float:
        """The largest weight; never zero."""
        return max((*(self.weights or ()), 1e-12))

    @property
    def heaviest(self) -> int | None:
        """Number of the frame with the largest weight; None where no frame stands out."""
        weights = self.weights or (0.0,)
        if max(weights) - min(weights) < 0.01:
            return None
        return max(range(len(weights)), key=lambda number: weights[number])


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Frames of one video in a row, and below them what each system makes of them for a caption."""

    kind: ClassVar[str] = "pictures"
    caption: str
    video: str
    frames: Sequence[Frame]
    rows: Sequence[FrameRow]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class WordGrid:
    """Similarity of words and frames: a number and its place between the lowest (0) and the highest (1)."""

    kind: ClassVar[str] = "words"
    caption: str
    times_s: Sequence[float]
    words: Sequence[str]
    cells: Sequence[Sequence[tuple[str, float]]]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading of the page and what stands below it; its ``id`` is where links lead."""

    id: str
    title: str
    blocks: Sequence[Block] = ()
    children: Sequence[Section] = field(default_factory=tuple)
    badge: str = ""


Block: TypeAlias = Table | Chart | Facts | Note | Heading | Preformatted | Folded | Pictures | WordGrid


def anchor(*words: str) -> str:
    """An id for a link out of words, ASCII letters and digits only."""
    raw = "-".join(words).lower()
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in raw)
    return "-".join(part for part in kept.split("-") if part) or "section"
