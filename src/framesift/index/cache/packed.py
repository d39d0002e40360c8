"""Codes of all segments in the order of the fast scan: a file that is mapped when an index is opened, and not read.

To bring millions of codes into that order takes seconds, which nobody who opens an index should wait for. So a refresh
does it, once for all processes, and again when the codes that it lacks, or has and should not have, become many. ::

    packed-DIGEST.json      of the codebook with that digest: whose codes, and a checksum; written last
    packed-DIGEST-NAME.bin  lists of codes (:mod:`framesift.candidates.inverted`), the check of every block of these,
                            and the list of every code

Codes are numbered as they stand in segments, one segment after another. Which list each is in is read and checked when
the file is opened, and a list when it is scanned for the first time.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...candidates import Quantizer
from ...candidates.inverted import BLOCK_ROWS, NUMBER_BYTES, list_places, lists_of
from ..durable import fsync_path
from .checks import row_checks
from .sealed import Damaged, map_bytes, read_sealed, write_sealed

__all__ = ["PackedCodes", "Source", "deny_packed", "drop_packed", "open_packed", "write_packed"]

CODES, NUMBERS = 6, 7  # what a check is of; others are in segment.py

Source: TypeAlias = tuple[str, int]
"""A segment's name, and the CRC-32 of its codes: codes that were made anew are others."""


@dataclass(frozen=True, eq=False, repr=False)
class PackedCodes:
    """Packed codes, opened; made by :func:`open_packed`.

    Attributes:
        sources: first number and end of every segment's codes.
        memory: the lists, mapped, ``[byte]``.
        list_of: the list of every code, ``[number]``.
    """

    sources: dict[Source, tuple[int, int]]
    memory: NDArray[np.uint8]
    list_of: NDArray[np.uint16]
    _check: NDArray[np.uint64]
    _width: int
    _offsets: NDArray[np.int64]
    _num_blocks: NDArray[np.int64]
    _seen: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_seen", self._num_blocks == 0)

    def __len__(self) -> int:
        return len(self.list_of)

    def __repr__(self) -> str:
        return f"<PackedCodes {len(self)} codes of {len(self.sources)} segments>"

    def whole(self, lists: NDArray[np.int64]) -> bool:
        """Whether lists are as they were written; each is read for it when it is asked about for the first time."""
        for number in lists[~self._seen[lists]].tolist():
            start, count = int(self._offsets[number]), int(self._num_blocks[number])
            codes_end = start + count * BLOCK_ROWS * self._width
            end = codes_end + count * BLOCK_ROWS * NUMBER_BYTES
            found = _checks(
                self.memory[start:codes_end].reshape(count, -1), self.memory[codes_end:end].reshape(count, -1)
            )
            first = start // (BLOCK_ROWS * (self._width + NUMBER_BYTES))
            if (found != self._check[first : first + count]).any():
                return False
            self._seen[number] = True
        return True

    def all_whole(self) -> bool:
        """The same of all lists, whether they were read before or not."""
        self._seen[:] = self._num_blocks == 0
        return self.whole(np.arange(len(self._num_blocks)))


def open_packed(cache: Path, quantizer: Quantizer) -> PackedCodes | None:
    """The packed codes of a quantizer; None if there are none.

    Raises:
        Damaged: they are not what was written, as far as that is read at once.
    """
    head_path = _head_path(cache, quantizer.digest)
    if not head_path.exists():
        return None
    head = read_sealed(head_path)
    try:
        sources: dict[Source, tuple[int, int]] = {}
        total = 0
        for name, crc32, count in head["sources"]:
            sources[name, crc32] = total, total + count
            total += count
        blocks, width = int(head["blocks"]), quantizer.parts // 2
        lists_bytes = blocks * BLOCK_ROWS * (width + NUMBER_BYTES)
        path = cache / head["file"]
        content = np.frombuffer(map_bytes(path, lists_bytes + 8 * blocks + 2 * total), np.uint8)
        list_of = content[lists_bytes + 8 * blocks :].copy()
        if zlib.crc32(list_of.data) != head["crc32"]:
            raise Damaged(f"{path.name} has changed since it was written")
        list_of = list_of.view("<u2").astype(np.uint16, copy=False)
        sizes = np.bincount(list_of, minlength=quantizer.num_lists)
        offsets, num_blocks = list_places(sizes, width)
        if (len(sizes), num_blocks.sum()) != (quantizer.num_lists, blocks):
            raise Damaged(f"{path.name} has other lists than its codebook")
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(f"{head_path.name} is of another kind ({error})") from error
    return PackedCodes(
        sources=sources,
        memory=content[:lists_bytes],
        list_of=list_of,
        _check=content[lists_bytes : lists_bytes + 8 * blocks].view("<u8"),
        _width=width,
        _offsets=offsets,
        _num_blocks=num_blocks,
    )


def write_packed(
    cache: Path, quantizer: Quantizer, sources: Sequence[tuple[Source, NDArray[np.uint8]]]
) -> None:
    """Pack the codes of segments, ``[code, code_bytes]`` each, and take the place of what was packed before.

    Raises:
        OSError: they cannot be written; what was there before stays.
    """
    told = [[*source, len(codes)] for source, codes in sources]
    name = hashlib.blake2b(repr(told).encode(), digest_size=8).hexdigest()
    target = cache / f"packed-{quantizer.digest}-{name}.bin"
    draft = cache / f".{target.name}.draft"
    codes = np.concatenate([np.zeros((0, quantizer.code_bytes), np.uint8), *(codes for _, codes in sources)])
    list_of = quantizer.list_of(codes).astype("<u2").tobytes()
    blocks = 0
    checks: list[NDArray[np.uint64]] = [np.zeros(0, np.uint64)]
    try:
        with draft.open("wb") as file:
            for _, numbers, packed in lists_of(quantizer, codes, np.arange(len(codes))):
                filled = np.zeros((len(packed), BLOCK_ROWS), "<i8")
                filled.reshape(-1)[: len(numbers)] = numbers
                file.write(packed.tobytes())
                file.write(filled.tobytes())
                checks.append(_checks(packed.reshape(len(packed), -1), filled.view(np.uint8)))
                blocks += len(packed)
            file.write(np.concatenate(checks).astype("<u8").tobytes())
            file.write(list_of)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
        fsync_path(cache)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    facts: dict[str, Any] = {"sources": told, "blocks": blocks, "crc32": zlib.crc32(list_of)}
    write_sealed(_head_path(cache, quantizer.digest), {"file": target.name, **facts})
    for path in cache.glob(f"packed-{quantizer.digest}-*.bin"):
        if path != target:
            path.unlink(missing_ok=True)


def drop_packed(cache: Path, keep: Iterable[str]) -> None:
    """Delete packed codes of codebooks that are not in use; what names a file goes before the file."""
    kept = set(keep)
    for path in [*cache.glob("packed-*.json"), *cache.glob("packed-*.bin")]:
        if path.stem.split("-")[1] not in kept:
            path.unlink(missing_ok=True)


def deny_packed(cache: Path, digest: str) -> None:
    """Let nobody open packed codes from now on; the next refresh makes them. Raises OSError."""
    _head_path(cache, digest).unlink(missing_ok=True)


def _head_path(cache: Path, digest: str) -> Path:
    return cache / f"packed-{digest}.json"


def _checks(codes: NDArray[np.uint8], numbers: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Of blocks, ``[block, byte]`` of each."""
    return row_checks(codes, of=CODES) + row_checks(numbers, of=NUMBERS)
