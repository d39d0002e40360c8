"""Video to text: which of given captions or tags fit a video, or a moment of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ..data.files import csv_rows, jsonl_rows, read_text
from ..errors import DatasetError, InputError
from ..features import VideoFeatures
from ..index import Index
from ..index.gallery import LanceGallery
from ..index.hits import attention
from ..model import RetrievalModel
from ..similarity import Scorer
from .examples import read_clip
from .query import ClipTerm

__all__ = ["MOST_CAPTIONS", "TEXT_COLUMNS", "RankedCaption", "describe", "read_captions"]

MOST_CAPTIONS = 100_000  # a quarter of an hour of a CPU
TEXT_COLUMNS = ("text", "caption", "tag", "label")
TEXT_BATCH = 256
EDGE_S = 1e-3  # rounding of a moment's ends where they are passed on as text


@dataclass(frozen=True, kw_only=True)
class RankedCaption:
    """A caption and how well it fits.

    Attributes:
        rank: 1-based.
        text: as it was given, without the template.
        score: similarity by the model's matcher to the moment that it fits best; higher is better.
        start_s, end_s: that moment, in seconds.
        frame_times_s: of its frames.
        attention: what each of them contributed; sums to 1.
    """

    rank: int
    text: str
    score: float
    start_s: float
    end_s: float
    frame_times_s: tuple[float, ...]
    attention: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Moments:
    """What captions are compared with."""

    features: VideoFeatures
    times: Sequence[Sequence[float]]
    spans: Sequence[tuple[float, float]]


def describe(
    model: RetrievalModel,
    index: Index | None,
    video: str | os.PathLike[str],
    captions: Iterable[str],
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    template: str = "{}",
    k: int | None = None,
) -> list[RankedCaption]:
    """Rank captions or tags for a video or a stretch of it, the best first.

    Where ``index`` holds the video and the stretch is all of it or consists of its moments, their stored features are
    used and nothing is decoded; else frames of the stretch are, in a process of their own.

    Args:
        model: whose matcher compares; the index's own, or one with the same features.
        index: None: the file is decoded.
        video: path of a file.
        captions: texts; repeats count once.
        start_s, end_s: the stretch, in seconds; default: from the beginning, to the end.
        template: what is compared, with the caption in place of ``{}``: ``a video of {}`` for tags.
        k: how many captions at most; default: all.

    Raises:
        InputError: there are no captions or too many, the template has no ``{}``, ``k`` is less than 1, or the stretch
            is empty.
        DecodeError: the file cannot be decoded.
    """
    texts = list(dict.fromkeys(text.strip() for text in captions if text.strip()))
    if not texts:
        raise InputError("there are no captions to choose from; give at least one line of text")
    if len(texts) > MOST_CAPTIONS:
        raise InputError(f"there are {len(texts):,} captions; at most {MOST_CAPTIONS:,} are compared at once")
    if "{}" not in template:
        raise InputError(f"the template {template!r} has no {{}}, which stands for the caption")
    if k is not None and k < 1:
        raise InputError(f"k is {k}; it must be at least 1")
    begin, end = start_s or 0.0, end_s
    if begin < 0 or (end is not None and end <= begin):
        raise InputError(f"a stretch from {begin:g} s to {begin if end is None else end:g} s has no length")
    path = os.path.abspath(video)
    moments = None if index is None else _stored(index.gallery(), path, start_s, end_s)
    if moments is None:
        moments = _decoded(model, Path(path), begin, end)
    best, which = _scores(model, moments.features, [template.replace("{}", text) for text in texts])
    order = torch.argsort(best, descending=True, stable=True)[:k].tolist()
    weights = _attention(model, moments, [template.replace("{}", texts[i]) for i in order], which[order])
    return [
        RankedCaption(
            rank=rank,
            text=texts[i],
            score=float(best[i]),
            start_s=moments.spans[int(which[i])][0],
            end_s=moments.spans[int(which[i])][1],
            frame_times_s=tuple(moments.times[int(which[i])]),
            attention=tuple(weights[rank - 1]),
        )
        for rank, i in enumerate(order, start=1)
    ]


def read_captions(path: str | os.PathLike[str]) -> list[str]:
    """Captions of a file: a text file with one a line, or a table or JSON lines file (.csv, .tsv, .jsonl) with a column
    ``text``, ``caption``, ``tag`` or ``label``. Empty ones are left out. Any of them may be gzipped.

    Raises:
        InputError: there is no such file, it cannot be read, or has no such column.
    """
    place = Path(path)
    kind = place.with_suffix("").suffix if place.suffix.lower() == ".gz" else place.suffix
    try:
        if kind.lower() == ".jsonl":
            found = [_text_of(row, place, line) for line, row in jsonl_rows(place)]
        elif kind.lower() in (".csv", ".tsv"):
            rows = _table(place, "\t" if kind.lower() == ".tsv" else ",;\t")
            found = [_text_of(row, place, line) for line, row in rows]
        else:
            found = read_text(place).splitlines()
    except DatasetError as error:  # these files are no data set: it is the input that is wrong
        raise InputError(str(error)) from error
    return [text.strip() for text in found if text.strip()]


def _table(path: Path, delimiters: str) -> list[tuple[int, dict[str, str]]]:
    """The rows of a table that has one of the columns."""
    problem = ""
    for name in TEXT_COLUMNS:
        try:
            return list(csv_rows(path, columns=(name,), delimiters=delimiters))
        except DatasetError as error:
            problem = problem or str(error)
    raise InputError(f"{problem}. A table of captions has a column {', '.join(TEXT_COLUMNS)}")


def _text_of(row: dict[str, Any], path: Path, line: int) -> str:
    for name in TEXT_COLUMNS:
        value = row.get(name)
        if isinstance(value, str):
            return value
    raise InputError(
        f"{str(path)!r}, line {line}: no text under {', '.join(map(repr, TEXT_COLUMNS))}; "
        f"it has: {', '.join(map(repr, list(row)[:12])) or 'nothing'}"
    )


def _stored(gallery: LanceGallery, uri: str, start_s: float | None, end_s: float | None) -> _Moments | None:
    """The indexed moments of which the stretch consists; None if there are none, or it cuts one of them."""
    rows = sorted(gallery.rows_of(uri), key=lambda row: gallery.start_s[row])
    if not rows:
        return None
    begin = gallery.start_s[rows[0]] if start_s is None else start_s
    end = gallery.end_s[rows[-1]] if end_s is None else end_s
    inside = [r for r in rows if gallery.start_s[r] >= begin - EDGE_S and gallery.end_s[r] <= end + EDGE_S]
    if not inside:
        return None
    edges = (float(gallery.start_s[inside[0]]), float(gallery.end_s[inside[-1]]))
    if abs(edges[0] - begin) > EDGE_S or abs(edges[1] - end) > EDGE_S:
        return None
    features, times = gallery.features_and_times(torch.tensor(inside))
    spans = [(float(gallery.start_s[row]), float(gallery.end_s[row])) for row in inside]
    return _Moments(features=features, times=times, spans=spans)


def _decoded(model: RetrievalModel, path: Path, start_s: float, end_s: float | None) -> _Moments:
    frames = read_clip(model, ClipTerm(path=path, start_s=start_s, end_s=end_s))
    features = model.encode_video([frames]).to("cpu", torch.float32)
    last_s = frames.end_s if end_s is None else min(end_s, frames.end_s)
    return _Moments(features=features, times=[frames.times_s.tolist()], spans=[(start_s, last_s)])


@torch.inference_mode()
def _scores(
    model: RetrievalModel, video: VideoFeatures, texts: Sequence[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of every text the score of the moment that it fits best, and which that is."""
    score: Scorer | None = None
    blocks: list[torch.Tensor] = []
    for first in range(0, len(texts), TEXT_BATCH):
        encoded = model.encode_text(texts[first : first + TEXT_BATCH])
        if score is None:
            score = model.matcher.scorer(video.to(encoded.sentence.device, encoded.sentence.dtype))
        blocks.append(score(encoded).float().cpu())
    found = torch.cat(blocks).max(dim=1)
    return found.values, found.indices


def _attention(
    model: RetrievalModel, moments: _Moments, texts: Sequence[str], which: torch.Tensor
) -> list[list[float]]:
    """What the frames of its best moment contribute to every text."""
    weights: list[list[float]] = []
    for first in range(0, len(texts), TEXT_BATCH):
        encoded = model.encode_text(texts[first : first + TEXT_BATCH])
        for i, row in enumerate(which[first : first + TEXT_BATCH].tolist()):
            weights += attention(encoded[i : i + 1], moments.features[[row]], model)
    return weights
