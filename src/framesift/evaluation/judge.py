"""Judge anybody's similarity matrix: read it, and make sure that its rows and columns are the benchmark's.

A matrix in another order than its ground truth, or of another split of the same size, gives numbers that look like
numbers. What the shape cannot tell, lists of video ids and sentences can.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data import Caption, Split
from ..errors import DatasetError, InputError, ShapeError, suggest

__all__ = ["Aligned", "align", "by_chance", "read_list", "read_matrix", "upright", "which_split"]

SUFFIXES = (".npy", ".npz", ".safetensors", ".pt", ".pth")
NAMED = 3  # ids in a message
SEEN = 0.5  # of a list of ids that belong to another split, for its name to be told
CHANCE = 0.9  # of the mean rank of a shuffled list, above which a matrix knows nothing of its diagonal


@dataclass(frozen=True, kw_only=True, eq=False)
class Aligned:
    """A matrix whose rows are the split's captions and whose columns are its videos.

    Attributes:
        similarity: ``[text, video]``.
        split: of the benchmark, or the part of it that the matrix has.
        notes: what had to be done, and what a reader must know.
    """

    similarity: Tensor
    split: Split
    notes: tuple[str, ...]


def read_matrix(path: str | Path) -> Tensor:
    """A similarity matrix from a file: ``.npy``, or ``.npz``, ``.safetensors``, ``.pt`` or ``.pth`` with one matrix.

    No pickled object is ever loaded.

    Raises:
        InputError: the file cannot be read, holds no single matrix, or a score is NaN or infinite.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise InputError(
            f"cannot read {str(path)!r} as a matrix: expected a file that ends in {', '.join(SUFFIXES)}"
        )
    try:
        held = _read(path)
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror or error}") from None
    except Exception as error:  # a damaged file, or one that holds objects, fails in any way
        said = str(error).strip().partition("\n")[0]
        raise InputError(f"{str(path)!r} holds no plain matrix: {type(error).__name__}: {said}") from None
    if len(held) != 1:
        names = ", ".join(sorted(held)) or "none"
        raise InputError(
            f"{str(path)!r} holds {len(held)} arrays ({names}); expected one matrix [text, video]"
        )
    (matrix,) = held.values()
    if not isinstance(matrix, Tensor) or matrix.ndim != 2 or 0 in matrix.shape or matrix.is_complex():
        got = f"{matrix.dtype} {list(matrix.shape)}" if isinstance(matrix, Tensor) else type(matrix).__name__
        raise ShapeError(f"{str(path)!r}", expected="numbers [text, video], at least one of each", got=got)
    matrix = matrix.detach() if matrix.is_floating_point() else matrix.double()
    bad = (~matrix.isfinite()).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        raise InputError(
            f"{str(path)!r}: the score of text {row} and video {column} is {float(matrix[row, column])}, and so are"
            f" {len(bad) - 1} others not finite; such a score has no rank"
        )
    return matrix


def _read(path: Path) -> dict[str, Any]:
    if path.suffix == ".npy":
        return {"": torch.from_numpy(_native(np.load(path, allow_pickle=False)))}
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(_native(arrays[name])) for name in arrays.files}
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return dict(load_file(path))
    held = torch.load(path, map_location="cpu", weights_only=True)
    return dict(held) if isinstance(held, dict) else {"": held}


def _native(array: np.ndarray) -> np.ndarray:
    """The same numbers in this machine's order of bytes, as a type that torch has."""
    if array.dtype.kind not in "fiub":
        raise TypeError(f"an array of {array.dtype}")
    if array.dtype.kind == "f" and array.dtype.itemsize in (4, 8):
        return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    return array.astype(np.float32 if array.dtype == np.float16 else np.float64)


def read_list(path: str | Path) -> list[str] | list[int]:
    """Ids, sentences or row numbers: a JSON list, or a text file with one a line (empty lines do not count).

    Raises:
        InputError: the file cannot be read, is empty, or holds something else.
    """
    path = Path(path)
    try:
        content = path.read_text(encoding="utf-8-sig")
        if path.suffix != ".json":
            lines = [line.strip() for line in content.splitlines() if line.strip()]
            if not lines:
                raise InputError(f"{str(path)!r} is empty; expected one id or sentence a line")
            return lines
        held = json.loads(content)
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{str(path)!r} is no UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{str(path)!r} is no JSON: {error}") from None
    if isinstance(held, list) and held:
        if all(isinstance(one, str) for one in held):
            return [str(one) for one in held]
        if all(isinstance(one, int) and not isinstance(one, bool) for one in held):
            return [int(one) for one in held]
    raise InputError(f"{str(path)!r}: expected a JSON list of strings, or of row numbers from 0")


def upright(similarity: Tensor, *, texts: int, videos: int, name: str) -> tuple[Tensor, tuple[str, ...]]:
    """The matrix as ``[text, video]``, turned where its shape says so, with a note of that.

    Raises:
        ShapeError: it has neither shape.
    """
    shape = tuple(similarity.shape)
    if shape == (texts, videos):
        return similarity, ()
    if shape == (videos, texts):
        return similarity.T, (f"the matrix was [video, text], {videos:,} x {texts:,}, and was transposed",)
    raise ShapeError(
        f"the matrix does not fit {name}",
        expected=f"{texts:,} texts x {videos:,} videos",
        got=f"{shape[0]:,} x {shape[1]:,}",
    )


def align(
    similarity: Tensor,
    split: Split,
    *,
    videos: Sequence[str] | Sequence[int] | None = None,
    texts: Sequence[str] | Sequence[int] | None = None,
    others: Callable[[], Iterable[Split]] | None = None,
) -> Aligned:
    """Put a matrix in the order of a split.

    Args:
        videos: the id of every column, if it is known, or its row in the split; file names do too.
        texts: the sentence of every row, or its row in the split. Fewer than the split has are a part of it.
        others: gives other splits, to say which one a foreign list belongs to; called only then.

    Raises:
        DatasetError: an id or sentence is not of this split, or comes too often.
        ShapeError: the matrix has another shape than the lists, or the split.
    """
    name = f"{split.benchmark} {split.split}"
    notes: list[str] = []
    columns = None if videos is None else _columns(videos, split, others)
    rows = None if texts is None else _rows(texts, split)
    part = split if columns is None else split.subset(sorted(columns))
    queries = len(split.captions) if rows is None else len(rows)
    trimmed = rows is None and len(part.captions) in similarity.shape and queries not in similarity.shape
    similarity, turned = upright(
        similarity,
        texts=len(part.captions) if trimmed else queries,
        videos=len(part.videos),
        name=name if rows is None and columns is None else f"{name}, as listed",
    )
    notes += turned
    if columns is None or len(columns) == len(split.videos):
        part = split
    if columns is not None:
        notes += _moved(columns, "column", "videos", len(split.videos))
        similarity = similarity[:, np.argsort(columns).tolist()]
    if rows is None and part is not split and not trimmed:
        kept = [row for row, caption in enumerate(split.captions) if caption.video in part.rows]
        similarity = similarity[kept]
    if rows is not None:
        notes += _moved(rows, "row", "texts", len(split.captions))
        similarity = similarity[np.argsort(rows).tolist()]
        chosen = [split.captions[row] for row in sorted(rows)]
        answerable = [place for place, caption in enumerate(chosen) if caption.video in part.rows]
        if len(answerable) < len(chosen):
            notes.append(
                f"{len(chosen) - len(answerable)} of {len(chosen)} texts are of videos that the matrix lacks, and were"
                " left out"
            )
            similarity = similarity[answerable]
        part = _asking(part, [chosen[place] for place in answerable])
    return Aligned(similarity=similarity, split=part, notes=tuple(notes))


def _asking(split: Split, captions: list[Caption]) -> Split:
    """The gallery of a split with some of its queries."""
    if not captions:
        raise DatasetError(f"{split.benchmark} {split.split}: no listed text is of a listed video")
    return split if len(captions) == len(split.captions) else replace(split, captions=tuple(captions))


def _columns(
    videos: Sequence[str] | Sequence[int], split: Split, others: Callable[[], Iterable[Split]] | None
) -> list[int]:
    """Row in the split of every column."""
    name = f"{split.benchmark} {split.split}"
    ids = [
        str(video) if isinstance(video, str) else _at(split.videos, video, "video", name) for video in videos
    ]
    places = [split.rows.get(one, split.rows.get(PurePath(one).stem)) for one in ids]
    unknown = [one for one, place in zip(ids, places, strict=True) if place is None]
    if unknown:
        hint = which_split(ids, others()) if others is not None else ""
        raise DatasetError(
            f"{len(unknown):,} of {len(ids):,} listed videos are not in {name} (first: {_first(unknown)})"
            f"{hint or suggest(unknown[0], split.videos)}"
        )
    found = [place for place in places if place is not None]
    if len(set(found)) < len(found):
        twice = next(one for number, one in enumerate(ids) if found[number] in found[:number])
        raise DatasetError(f"video {twice!r} is listed twice; every column is another video")
    return found


def _rows(texts: Sequence[str] | Sequence[int], split: Split) -> list[int]:
    """Row in the split of every text; equal sentences are taken in the split's order."""
    name = f"{split.benchmark} {split.split}"
    free: defaultdict[str, deque[int]] = defaultdict(deque)
    for row, caption in enumerate(split.captions):
        free[_plain(caption.text)].append(row)
    known = set(free)
    found: list[int] = []
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            _at(split.captions, text, "text", name)
            found.append(text)
        elif free[_plain(text)]:
            found.append(free[_plain(text)].popleft())
        elif _plain(text) in known:
            raise DatasetError(f"text {number}, {text!r}, is listed more often than {name} has it")
        else:
            raise DatasetError(
                f"text {number}, {text!r}, is no query of {name}; check the benchmark and the split"
            )
    if len(set(found)) < len(found):
        twice = next(row for number, row in enumerate(found) if row in found[:number])
        raise DatasetError(f"text {twice} is listed twice; every row is another query")
    return found


def _at(rows: Sequence[Any], row: int, what: str, name: str) -> Any:
    if not 0 <= row < len(rows):
        raise DatasetError(f"{what} {row} is listed, but {name} has {what}s 0 to {len(rows) - 1}")
    return rows[row]


def _moved(places: list[int], what: str, things: str, total: int) -> list[str]:
    """What is to be said of a list that is no copy of the benchmark's."""
    said: list[str] = []
    if len(places) < total:
        said.append(
            f"the matrix has {len(places):,} of the {total:,} {things}; its split has a hash of its own"
        )
    order = np.argsort(np.argsort(places))
    moved = np.flatnonzero(order != np.arange(len(places)))
    if len(moved):
        first = int(moved[0])
        said.append(
            f"the {things} are in another order than the benchmark's: {len(moved):,} of {len(places):,} stand elsewhere"
            f" (your {what} {first} is the benchmark's {what} {places[first]}); they were put in its order"
        )
    return said


def which_split(ids: Iterable[str], splits: Iterable[Split]) -> str:
    """``"; 1,000 of them are in msrvtt-miech test"`` for the split that has most of ``ids``, if it has half of them."""
    given = {PurePath(one).stem for one in ids} | set(ids)
    best = max(
        splits, key=lambda split: (len(given.intersection(split.videos)), -len(split.videos)), default=None
    )
    shared = 0 if best is None else len(given.intersection(best.videos))
    if best is None or shared < SEEN * len(best.videos):
        return ""
    return (
        f"; {shared:,} of the {len(best.videos):,} videos of {best.benchmark} {best.split} are among them: is the"
        " matrix of that split?"
    )


def by_chance(mean_rank: float, candidates: int) -> str:
    """A sentence where a mean rank is that of a shuffled list, which a wrong order gives; else ""."""
    chance = (candidates + 1) / 2
    if candidates < 10 or mean_rank < CHANCE * chance:
        return ""
    return (
        f"the mean rank of {mean_rank:.0f} among {candidates:,} is no better than chance ({chance:.0f}): the rows or"
        " columns may be in another order than the benchmark's; give the lists of ids and sentences (--videos, --texts)"
    )


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().casefold()


def _first(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:NAMED]))
    return f"{shown}, ..." if len(names) > NAMED else shown
