"""LSMDC (Rohrbach et al. 2015): clips of films with one sentence of audio description, names masked as SOMEONE.

Tab separated, no header, six columns: clip id, four times ``HH.MM.SS.mmm`` (aligned and extracted, start and end),
and the sentence. The clips are cut already, so the times are not used. A clip has one caption: of several, the last
counts, as in X-Pool. X-Pool passes over clip ``1012_Unbreakable_00.05.16.065-00.05.21.941``, whose video is broken;
here it is listed as every other, and reported where it does not decode.
"""

from __future__ import annotations

from ..errors import DatasetError
from .annotations import Annotations
from .files import AnnotationFiles, read_text
from .records import Caption

__all__ = ["read_lsmdc"]

FILES = {
    "train": "LSMDC16_annos_training.csv",
    "val": "LSMDC16_annos_val.csv",
    "test": "LSMDC16_challenge_1000_publictect.csv",  # so spelled by its authors
}
COLUMNS = 6


def read_lsmdc(files: AnnotationFiles, split: str) -> Annotations:
    """One caption a clip."""
    path = files.need(FILES[split])
    sentence_of: dict[str, str] = {}
    empty = repeated = 0
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        fields = line.split("\t")
        if len(fields) != COLUMNS:
            raise DatasetError(
                f"{str(path)!r}, line {number}: expected {COLUMNS} fields between tabs (clip, four times, sentence), "
                f"got {len(fields)}"
            )
        clip, sentence = fields[0].strip(), fields[-1].strip()
        if not clip:
            raise DatasetError(f"{str(path)!r}, line {number}, names no clip")
        if not sentence:
            empty += 1
            continue
        repeated += clip in sentence_of
        sentence_of[clip] = sentence
    notes: list[str] = []
    if repeated:
        notes.append(f"{repeated:,} lines are of a clip that a later line has too: the last one counts")
    if empty:
        notes.append(f"{empty:,} lines without a sentence were left out")
    captions = tuple(Caption(text=text, video=clip) for clip, text in sentence_of.items())
    return Annotations(videos=tuple(sentence_of), captions=captions, notes=tuple(notes))
