"""VATEX (Wang et al. 2019): clips of ten seconds with ten English captions each; every caption is a query.

The lists (Chen et al. 2020, HGR) hold ids ``<youtube>_<start>_<end>``. Captions come from ``ref_captions.json``, as
TS2-Net reads them, or from the official ``vatex_training_v1.0.json`` and ``vatex_validation_v1.0.json`` (their
``enCap``).
"""

from __future__ import annotations

from pathlib import Path

from ..errors import DatasetError
from .annotations import Annotations, captions_by_video, every_caption, only_text
from .files import AnnotationFiles, read_ids, read_json

__all__ = ["read_vatex"]

REFERENCE = "ref_captions.json"
OFFICIAL = ("vatex_training_v1.0.json", "vatex_validation_v1.0.json")


def read_vatex(files: AnnotationFiles, split: str) -> Annotations:
    """All English captions of the listed videos."""
    listed = read_ids(files.need(f"{split}_list.txt"))
    reference = files.find(REFERENCE)
    if reference:
        by_video = captions_by_video(read_json(reference, dict), path=reference)
        return every_caption(listed, by_video, path=reference)
    paths = [path for name in OFFICIAL if (path := files.find(name))]
    if not paths:
        raise files.missing(REFERENCE, *OFFICIAL)
    by_video: dict[str, list[str]] = {}
    for path in paths:
        by_video |= _official(path)
    return every_caption(listed, by_video, path=" and ".join(map(str, paths)))


def _official(path: Path) -> dict[str, list[str]]:
    found: dict[str, object] = {}
    for number, entry in enumerate(read_json(path, list)):
        if not isinstance(entry, dict):
            raise DatasetError(
                f"{str(path)!r}, entry {number}: expected an object, got {type(entry).__name__}"
            )
        video = only_text(entry.get("videoID"), path=path, where=f"entry {number}, 'videoID'")
        found[video] = entry.get("enCap")
    return captions_by_video(found, path=path)
