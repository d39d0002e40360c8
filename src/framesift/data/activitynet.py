"""ActivityNet Captions (Krishna et al. 2017): long videos whose sentences describe moments in order.

For retrieval, the sentences of a video are joined to one paragraph; the field tests on ``val_1`` ("val1"), whose ids
keep their ``v_`` here, as in TS2-Net and in the files (CLIP4Clip strips it); video files are found with and without
it. ``val_2`` annotates the same videos once more, so it is no validation split.
"""

from __future__ import annotations

from ..errors import DatasetError
from .annotations import Annotations, every_caption, one_paragraph, only_text
from .files import AnnotationFiles, read_ids, read_json

__all__ = ["PREFIX", "read_activitynet"]

PREFIX = "v_"
FILES = {
    "train": ("train.json", "train_ids.json"),
    "test": ("val_1.json", "val_ids.json"),
}


def read_activitynet(files: AnnotationFiles, split: str) -> Annotations:
    """One paragraph a video, of the videos that ``*_ids.json`` lists, or of all where it is not there."""
    name, list_name = FILES[split]
    path = files.need(name)
    paragraphs: dict[str, list[str]] = {}
    for video, entry in read_json(path, dict).items():
        sentences = entry.get("sentences") if isinstance(entry, dict) else None
        if not isinstance(sentences, list):
            raise DatasetError(f"{str(path)!r}, video {video!r}: expected a list under 'sentences'")
        texts = [only_text(sentence, path=path, where=f"video {video!r}") for sentence in sentences]
        paragraphs[_with_prefix(video)] = [one_paragraph(texts)]
    listed = files.find(list_name)
    videos = [_with_prefix(video) for video in read_ids(listed)] if listed else list(paragraphs)
    return every_caption(videos, paragraphs, path=path)


def _with_prefix(video: str) -> str:
    return video if video.startswith(PREFIX) else PREFIX + video
