"""The rows of an index with what it does not store: features of frames that are decoded again when asked for."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DecodeError, NotRerankedWarning
from ..features import TextFeatures, VideoFeatures
from ..ranking import Gallery
from ..video import Transform, available_cores, decode
from .gallery import LanceGallery
from .schema import VideoRecord

if TYPE_CHECKING:
    from ..reranking import RerankEncoder  # imports transformers

__all__ = ["DecodedGallery"]

NAMED_FILES = 3  # in a warning


@dataclass(frozen=True)
class _Exactly:
    """A sampler of given times."""

    seconds: Sequence[float]

    def times(self, start_s: float, end_s: float) -> NDArray[np.float64]:
        return np.array(self.seconds, dtype=np.float64)


@dataclass(frozen=True)
class _Pixels:
    pixels: np.ndarray


class DecodedGallery(Gallery):
    """The rows of ``stored``, as the reranker of ``encoder`` reads them.

    :meth:`features` decodes the very frames that the rows were made of, so ask it for few rows. A row whose file is
    gone, has changed since it was indexed, or cannot be read has no real frame, and ``tell`` is given a sentence about
    it; by default it is a :class:`.NotRerankedWarning`.
    """

    def __init__(
        self, stored: LanceGallery, encoder: RerankEncoder, *, tell: Callable[[str], None] | None = None
    ) -> None:
        self._stored, self._encoder, self._tell = stored, encoder, tell or _warn

    def __len__(self) -> int:
        return len(self._stored)

    def __repr__(self) -> str:
        return f"<DecodedGallery of {self._stored!r}>"

    def candidates(self, text: TextFeatures, depth: int | None) -> Int64[Tensor, "text candidate"]:
        return self._stored.candidates(text, depth)

    def features(self, rows: Int64[Tensor, " row"]) -> VideoFeatures:
        _, times = self._stored.features_and_times(rows)
        records = self._stored.records(rows) if len(rows) else []
        shrink = self._encoder.preprocessing.resize_crop
        with ThreadPoolExecutor(available_cores()) as threads:
            found = list(threads.map(_read, records, times, repeat(shrink)))
        failed = {str(error.path): error.reason for error in found if isinstance(error, DecodeError)}
        if failed:
            self._tell(_said(failed))
        nothing = np.zeros((0, 1, 1, 3), np.uint8)
        frames = [_Pixels(nothing if isinstance(x, DecodeError) else x) for x in found]
        return self._encoder.encode_video(frames).to("cpu")


def _read(
    record: VideoRecord | None, times_s: Sequence[float], shrink: Transform
) -> NDArray[np.uint8] | DecodeError:
    """The frames at those times, uint8 ``[frame, height, width, 3]``, or why there are none."""
    if record is None:
        return DecodeError("a video", "it was removed from the index a moment ago")
    try:
        facts = os.stat(record.uri)
    except OSError as error:
        return DecodeError(record.uri, error.strerror or str(error))
    if (facts.st_size, facts.st_mtime_ns) != (record.size_bytes, record.mtime_ns):
        return DecodeError(record.uri, "it has changed since it was indexed")
    try:
        frames = decode(record.uri, _Exactly(times_s), transform=lambda pixels: shrink(pixels[None])[0])
    except DecodeError as error:
        return error
    if len(frames) != len(times_s):
        return DecodeError(record.uri, "it has other frames than those that were indexed")
    return frames.pixels


def _said(failed: dict[str, str]) -> str:
    named = [f"{PurePath(path).name!r} ({reason})" for path, reason in list(failed.items())[:NAMED_FILES]]
    more = f" and {len(failed) - len(named)} more" if len(failed) > len(named) else ""
    return (
        f"not reranked, and left in the matcher's order: {', '.join(named)}{more}; index them again, or drop what is"
        " gone with: framesift index --prune"
    )


def _warn(what: str) -> None:
    warnings.warn(what, NotRerankedWarning, stacklevel=3)
