"""MSR-VTT (Xu et al. 2016): 10,000 videos with 20 captions each; three splits are in use.

*Full* is the official one, all captions of a video being queries. *1K-A* (Yu et al. 2018, JSFusion) asks one caption
of each of 1,000 official test videos; it is trained on the other 9,000 videos, or on the official 7,010 alone. Read
are the two original ``*_videodatainfo.json``, or ``MSRVTT_data.json``, which is both in one; captions stay as they
are written there, spaces included. Four sentences of 1K-A occur more than once, so that exact ties between queries
are part of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DatasetError
from .annotations import Annotations, every_caption, only_text
from .files import AnnotationFiles, csv_rows, read_ids, read_json
from .records import Caption

__all__ = ["read_full", "read_test_1ka", "read_train_7k", "read_train_9k"]

MERGED = "MSRVTT_data.json"
PARTS = ("train_val_videodatainfo.json", "test_videodatainfo.json")
SPLIT_NAMES = {"train": "train", "val": "validate", "test": "test"}  # ours: the file's


@dataclass(frozen=True, kw_only=True)
class _VideoData:
    paths: list[Path]
    split_of: dict[str, str]
    captions: dict[str, list[str]]

    @property
    def place(self) -> str:
        return " and ".join(str(path) for path in self.paths)


def _read_video_data(files: AnnotationFiles) -> _VideoData:
    merged = files.find(MERGED)
    paths = [merged] if merged else [path for name in PARTS if (path := files.find(name))]
    if not paths:
        raise files.missing(MERGED, *PARTS)
    data = _VideoData(paths=paths, split_of={}, captions={})
    for path in paths:
        document = read_json(path, dict)
        for number, entry in enumerate(_entries(document, "videos", path)):
            where = f"videos[{number}]"
            video = _field(entry, "video_id", path, where)
            if video in data.split_of:
                raise DatasetError(f"{str(path)!r}, {where}: video {video!r} is there twice")
            data.split_of[video] = str(entry.get("split", ""))
        for number, entry in enumerate(_entries(document, "sentences", path)):
            where = f"sentences[{number}]"
            video = _field(entry, "video_id", path, where)
            if video not in data.split_of:
                raise DatasetError(f"{str(path)!r}, {where}: video {video!r} is not among the file's videos")
            data.captions.setdefault(video, []).append(_field(entry, "caption", path, where))
    return data


def _entries(document: dict[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    entries = document.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DatasetError(f"{str(path)!r}: expected a list of objects under {key!r}; is it an MSR-VTT file?")
    return entries


def _field(entry: dict[str, Any], key: str, path: Path, where: str) -> str:
    if key not in entry:
        raise DatasetError(f"{str(path)!r}, {where}, has no {key!r}")
    return only_text(entry[key], path=path, where=where)


def read_full(files: AnnotationFiles, split: str) -> Annotations:
    """The official split, as the files themselves name it."""
    data = _read_video_data(files)
    videos = [video for video, its in data.split_of.items() if its == SPLIT_NAMES[split]]
    if not videos:
        raise DatasetError(f"no video of the split {SPLIT_NAMES[split]!r} in {data.place}")
    return every_caption(videos, data.captions, path=data.place)


def read_train_9k(files: AnnotationFiles, split: str) -> Annotations:
    """All videos outside 1K-A, with all their captions."""
    return _read_listed(files, "MSRVTT_train.9k.csv")


def read_train_7k(files: AnnotationFiles, split: str) -> Annotations:
    """The official training and validation videos, with all their captions."""
    return _read_listed(files, "MSRVTT_train.7k.csv")


def _read_listed(files: AnnotationFiles, name: str) -> Annotations:
    listed = read_ids(files.need(name))
    data = _read_video_data(files)
    return every_caption(listed, data.captions, path=data.place)


def read_test_1ka(files: AnnotationFiles, split: str) -> Annotations:
    """One sentence of each of 1,000 videos, in the order of the file."""
    path = files.need("MSRVTT_JSFUSION_test.csv")
    captions = tuple(
        Caption(text=row["sentence"], video=row["video_id"].strip())
        for _, row in csv_rows(path, columns=["video_id", "sentence"])
        if any(row.values())
    )
    return Annotations(videos=tuple(caption.video for caption in captions), captions=captions)
