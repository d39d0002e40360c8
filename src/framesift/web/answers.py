"""JSON answers: written by orjson, and never failing on a file name.

A file name that is not UTF-8 holds lone surrogates, which no JSON document for the network may: such bytes are shown as
U+FFFD. A path that is sent back to the server later travels as the index's own tables have it (``file:`` URI).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import orjson
from starlette.responses import Response

__all__ = ["Json", "shown", "shown_folder", "shown_name"]


class Json(Response):
    """A JSON document; numbers that are not finite become null."""

    media_type = "application/json"

    def __init__(
        self, document: object, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(_dumped(document), status, headers)


def _dumped(document: object) -> bytes:
    try:
        return orjson.dumps(document, default=_plain)
    except orjson.JSONEncodeError:  # a lone surrogate somewhere; looked for only where there is one
        return orjson.dumps(_showable(document), default=_plain)


def _plain(value: object) -> Any:
    return list(value) if isinstance(value, set | frozenset) else str(value)


def _showable(value: Any) -> Any:
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, Mapping):
        return {shown(str(key)): _showable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_showable(entry) for entry in value]
    return value


def shown(text: str) -> str:
    """Text as it can be shown: bytes of a file's name that are no UTF-8 appear as U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape" if _from_bytes(text) else "replace").decode(
            "utf-8", "replace"
        )
    return text


def _from_bytes(text: str) -> bool:
    """Whether the surrogates in ``text`` stand for bytes (PEP 383)."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def shown_name(path: str) -> str:
    """The file's name of a path, to be shown."""
    return shown(PurePath(path).name)


def shown_folder(path: str) -> str:
    """The folder of a path, to be shown."""
    return shown(str(PurePath(path).parent))
