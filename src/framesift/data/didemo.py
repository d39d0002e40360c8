"""DiDeMo (Hendricks et al. 2017): personal videos of half a minute, each described by several sentences.

For retrieval, the descriptions of a video are joined to one paragraph, in the order of the file. An id is the file
name without its extension, since files were converted by many. Three forms are read, the first that is there:

- ``{split}_data.json`` of LocalizingMoments, with ``{split}_list.txt`` (the lists in use leave out videos that are
  gone);
- ``didemo_{split}_label.csv``, also with ``tmass_`` in front: a paragraph and a path a row (T-MASS);
- ``pe2lr_{split}.jsonl``: one video a line, with ``clip_id`` and a list ``text``.

The three differ by some videos; what was read is in the notes.

Videos that are longer than the half minute which was annotated are seen up to :data:`WINDOW_S` only.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from ..errors import DatasetError
from .annotations import Annotations, every_caption, one_paragraph, only_text
from .files import AnnotationFiles, csv_rows, jsonl_rows, read_ids, read_json

__all__ = ["WINDOW_S", "read_didemo", "stem"]

WINDOW_S = (0.0, 31.0)
"""The part of every video that is seen, whatever its length: CLIP4Clip's loader of DiDeMo, which the field follows.

The annotators saw six pieces of five seconds. A frame a second within it is 31 frames; the released loader also takes
the one at 31 s.
"""

EXTENSIONS = frozenset(
    [".3g2", ".3gp", ".avi", ".m2ts", ".m4v", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".wmv", ".webm"]
)


def stem(name: str) -> str:
    """Id of a file name or path: without folders, extension, and the bare dot that some names end with."""
    name = PurePosixPath(name.strip()).name
    suffix = PurePosixPath(name).suffix
    return name[: -len(suffix)] if suffix.lower() in EXTENSIONS else name.rstrip(".")


def read_didemo(files: AnnotationFiles, split: str) -> Annotations:
    """One paragraph a video."""
    names = (f"{split}_data.json", f"didemo_{split}_label.csv", f"tmass_didemo_{split}_label.csv")
    path = files.need(*names, f"pe2lr_{split}.jsonl")
    if path.name.startswith(f"{split}_data"):
        listed = files.find(f"{split}_list.txt", f"ce_{split}_list.txt")
        return _read_descriptions(path, listed)
    paragraphs: dict[str, list[str]] = {}
    if ".csv" in path.suffixes:
        rows = [
            (number, row["video_path"], row["text"])
            for number, row in csv_rows(path, columns=["video_path", "text"])
        ]
    else:
        rows = [
            (
                number,
                only_text(row.get("clip_id"), path=path, where=f"line {number}"),
                one_paragraph(_sentences(row.get("text"), path, number)),
            )
            for number, row in jsonl_rows(path)
        ]
    for number, name, paragraph in rows:
        video = stem(name)
        if video in paragraphs:
            raise DatasetError(f"{str(path)!r}, line {number}: video {video!r} is there twice")
        paragraphs[video] = [paragraph]
    return every_caption(list(paragraphs), paragraphs, path=path, notes=[f"read from {path.name}"])


def _sentences(value: object, path: Path, number: int) -> list[str]:
    if not isinstance(value, list):
        raise DatasetError(f"{str(path)!r}, line {number}: expected a list of sentences under 'text'")
    return [only_text(sentence, path=path, where=f"line {number}") for sentence in value]


def _read_descriptions(path: Path, listed: Path | None) -> Annotations:
    sentences: dict[str, list[str]] = {}
    for number, entry in enumerate(read_json(path, list)):
        where = f"entry {number}"
        if not isinstance(entry, dict):
            raise DatasetError(f"{str(path)!r}, {where}: expected an object, got {type(entry).__name__}")
        video = stem(only_text(entry.get("video"), path=path, where=f"{where}, 'video'"))
        text = only_text(entry.get("description"), path=path, where=f"{where}, 'description'")
        sentences.setdefault(video, []).append(text)
    paragraphs = {video: [one_paragraph(its)] for video, its in sentences.items()}
    if listed is None:
        note = f"read from {path.name} without a list, so with videos that the lists in use leave out"
        return every_caption(list(paragraphs), paragraphs, path=path, notes=[note])
    videos = [stem(name) for name in read_ids(listed)]
    return every_caption(
        videos, paragraphs, path=path, notes=[f"read from {path.name}, videos of {listed.name}"]
    )
