"""Small files of the cache that tell whether they are whole, and large ones that are told about in them.

Nothing in a cache is changed after it was written: a file is made under another name, synced and renamed, and a folder
likewise. So what bears its final name was once whole, and what is not whole now was damaged since.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..durable import write_whole

__all__ = ["Damaged", "map_array", "map_bytes", "read_checked", "read_sealed", "write_sealed"]

FORMAT = 1
"""Of the whole cache: one of another format is thrown away and built again."""


class Damaged(Exception):
    """A file of the cache is not what was written; the reason in words. Never leaves this package."""


def write_sealed(path: Path, values: dict[str, Any]) -> None:
    """Write a JSON document with its checksum, whole or not at all. Raises OSError."""
    body = json.dumps({"format": FORMAT, **values}, sort_keys=True).encode()
    write_whole(path, b"%s\n%08x\n" % (body, zlib.crc32(body)))


def read_sealed(path: Path) -> dict[str, Any]:
    """The document again.

    Raises:
        Damaged: there is none, or not as it was written, or of another format.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Damaged(f"{path.name} cannot be read ({error.strerror})") from error
    body, _, rest = content.partition(b"\n")
    if rest != b"%08x\n" % zlib.crc32(body):
        raise Damaged(f"{path.name} has changed since it was written")
    values: dict[str, Any] = json.loads(body)
    if values.get("format") != FORMAT:
        raise Damaged(f"{path.name} has format {values.get('format')}, not {FORMAT}")
    return values


def map_bytes(path: Path, size: int) -> pa.Buffer:
    """A file's content, mapped; the map outlives the file's name, and no file stays open.

    Raises:
        Damaged: it is not there, or not of that size: reading behind a file's end would kill the process.
    """
    try:
        found = os.stat(path).st_size
        if found != size:
            raise Damaged(f"{path.name} has {found:,} bytes, not {size:,}")
        if not size:
            return pa.py_buffer(b"")
        with pa.memory_map(str(path)) as file:
            return file.read_buffer()
    except (OSError, pa.ArrowException) as error:
        raise Damaged(f"{path.name} cannot be read ({getattr(error, 'strerror', None) or error})") from error


def read_checked(path: Path, size: int, crc32: int) -> bytes:
    """A file's content, in memory. Raises Damaged where it is not that of the size and the checksum."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Damaged(f"{path.name} cannot be read ({error.strerror})") from error
    if (len(content), zlib.crc32(content)) != (size, crc32):
        raise Damaged(f"{path.name} has changed since it was written")
    return content


def map_array(path: Path, dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """A file of numbers, mapped. Raises Damaged."""
    kind = np.dtype(dtype)
    size = kind.itemsize * int(np.prod(shape, dtype=np.int64))
    return np.frombuffer(map_bytes(path, size), kind).reshape(shape)
