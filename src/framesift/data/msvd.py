"""MSVD (Chen and Dolan 2011): 1,970 short clips with about 40 captions each; every caption is a query.

The lists hold one id a line, which may begin with ``-`` or ``_``. Captions come from ``captions_msvd.json``
(sentences, as X-Pool reads them) or ``raw-captions.pkl`` (lists of words, as CLIP4Clip does).
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any, NoReturn

from ..errors import DatasetError
from .annotations import Annotations, captions_by_video, every_caption
from .files import AnnotationFiles, read_bytes, read_ids, read_json

__all__ = ["read_msvd", "read_plain_pickle"]


def read_msvd(files: AnnotationFiles, split: str) -> Annotations:
    """All captions of the listed videos."""
    listed = read_ids(files.need(f"{split}_list.txt"))
    path = files.need("captions_msvd.json", "raw-captions.pkl")
    document = read_plain_pickle(path) if ".pkl" in path.suffixes else read_json(path, dict)
    return every_caption(listed, captions_by_video(document, path=path), path=path)


class _PlainUnpickler(pickle.Unpickler):
    """Builds containers, strings and numbers; whatever names a class or a function is refused, so no code can run."""

    def find_class(self, module_name: str, global_name: str, /) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}; only plain values are read")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError("it refers to something outside of itself")


def read_plain_pickle(path: str | Path) -> dict[str, Any]:
    """A pickled dict with text keys that holds nothing but containers, strings and numbers.

    Raises:
        DatasetError: it is cut, is not a pickle, or holds anything else; no code of it is ever run.
    """
    try:
        value = _PlainUnpickler(io.BytesIO(read_bytes(path)), encoding="utf-8").load()
    except DatasetError:
        raise
    except Exception as error:  # a malformed pickle may raise anything at all
        raise DatasetError(
            f"{str(path)!r} is not a plain pickle, or is cut: {error or type(error).__name__}"
        ) from None
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise DatasetError(
            f"{str(path)!r}: expected a dict from video id to captions, got {type(value).__name__}"
        )
    return value
