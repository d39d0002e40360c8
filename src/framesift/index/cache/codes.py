"""Codes of vectors and frames: the codebook that made them, and a file of codes in every segment.

There is one codebook for moments' vectors (``mean``), one for their scenes and pairs of these (``scene``) and, where it
was asked for, one for frames (``frame``). Codes are named by their codebook's digest, so that those of another are
never mistaken for them.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from ...candidates import Quantizer
from ...errors import InputError
from ...features import unit
from ..durable import write_whole
from .scenes import number_of_scenes, open_scenes
from .sealed import Damaged, read_checked, read_sealed, write_sealed
from .segment import Segment

__all__ = [
    "KINDS",
    "By",
    "Codebook",
    "as_coded",
    "codes_crc32",
    "deny_codes",
    "drop_codebook",
    "drop_codes",
    "float_scenes",
    "read_codebook",
    "read_codes",
    "stored_vectors",
    "unit_frames",
    "write_codebook",
    "write_codes",
]

By: TypeAlias = Literal["mean", "scene", "frame"]
"""What a code stands for: a moment's vector, one of its scenes or of the pairs of them, or one of its frames."""

KINDS: tuple[By, ...] = ("mean", "scene", "frame")

ENCODED_AT_ONCE = 8192  # rows: 16 MiB of 512 numbers


@dataclass(frozen=True, kw_only=True)
class Codebook:
    """A quantizer, and how many rows there were when it was trained."""

    quantizer: Quantizer
    trained_rows: int


def read_codebook(cache: Path, by: By) -> Codebook | None:
    """The codebook in use; None if there is none.

    Raises:
        Damaged: it is not what was written.
    """
    head_path = cache / f"codebook-{by}.json"
    if not head_path.exists():
        return None
    head = read_sealed(head_path)
    try:
        path = cache / f"codebook-{by}-{head['digest']}.bin"
        quantizer = Quantizer.from_bytes(path.read_bytes())
        return Codebook(quantizer=quantizer, trained_rows=int(head["trained_rows"]))
    except (OSError, InputError, KeyError, TypeError, ValueError) as error:
        raise Damaged(f"the codebook of {head_path.name} cannot be read ({error})") from error


def write_codebook(cache: Path, by: By, codebook: Codebook) -> None:
    """Make it the one in use, and delete the one before. Raises OSError."""
    digest = codebook.quantizer.digest
    write_whole(cache / f"codebook-{by}-{digest}.bin", codebook.quantizer.to_bytes())
    write_sealed(cache / f"codebook-{by}.json", {"digest": digest, "trained_rows": codebook.trained_rows})
    for path in cache.glob(f"codebook-{by}-*.bin"):
        if digest not in path.name:
            path.unlink(missing_ok=True)


def drop_codebook(cache: Path, by: By) -> None:
    """Delete it, if there is one."""
    (cache / f"codebook-{by}.json").unlink(missing_ok=True)
    for path in cache.glob(f"codebook-{by}-*.bin"):
        path.unlink(missing_ok=True)


def read_codes(segment: Segment, by: By, quantizer: Quantizer) -> NDArray[np.uint8] | None:
    """Codes of a segment's rows, scenes or frames, ``[vector, code_bytes]``; None if that codebook has made none.

    Raises:
        Damaged: they are not what was written, or those of scenes that there are not.
    """
    head_path = segment.path / f"codes-{quantizer.digest}.json"
    if not head_path.exists():
        return None
    head = read_sealed(head_path)
    if by == "scene":
        count = number_of_scenes(segment)
    else:
        count = len(segment) if by == "mean" else len(segment.frames)
    content = read_checked(head_path.with_suffix(".u8"), count * quantizer.code_bytes, head["crc32"])
    return np.frombuffer(content, np.uint8).reshape(count, quantizer.code_bytes)


def codes_crc32(segment: Segment, quantizer: Quantizer) -> int | None:
    """The checksum of the codes that the segment should have, which are not read; None if there are none.

    Raises:
        Damaged: what tells of them is not what was written.
    """
    head_path = segment.path / f"codes-{quantizer.digest}.json"
    return read_sealed(head_path)["crc32"] if head_path.exists() else None


def write_codes(segment: Segment, by: By, quantizer: Quantizer) -> None:
    """Code a segment's rows, scenes or frames.

    Raises:
        OSError: they cannot be written.
        Damaged: the segment's scenes cannot be read.
    """
    stored = stored_vectors(segment, by)
    content = b"".join(
        quantizer.encode(as_coded(stored[first : first + ENCODED_AT_ONCE], by)).tobytes()
        for first in range(0, len(stored), ENCODED_AT_ONCE)
    )
    head_path = segment.path / f"codes-{quantizer.digest}.json"
    write_whole(head_path.with_suffix(".u8"), content)
    write_sealed(head_path, {"crc32": zlib.crc32(content)})


def deny_codes(segment: Segment, quantizer: Quantizer) -> None:
    """Let a segment have no codes of a quantizer from now on; the next refresh makes them. Raises OSError."""
    (segment.path / f"codes-{quantizer.digest}.json").unlink(missing_ok=True)


def drop_codes(segment: Path, keep: Iterable[str]) -> None:
    """Delete a segment's codes of codebooks that are not in use, and drafts of them."""
    kept = {f"codes-{digest}" for digest in keep}
    with suppress(OSError):
        for name in sorted(os.listdir(segment)):  # what names a file goes before the file
            stale = name.startswith("codes-") and name.partition(".")[0] not in kept
            if stale or name.startswith(".codes-"):
                (segment / name).unlink(missing_ok=True)


def stored_vectors(segment: Segment, by: By) -> NDArray[np.floating[Any]]:
    """What the codes of a segment are made of, ``[vector, dim]`` as it is stored; mapped. Raises Damaged."""
    if by != "scene":
        return segment.vectors if by == "mean" else segment.frames
    scenes = open_scenes(segment)
    if scenes is None:
        raise Damaged(f"there are no scenes in the segment {segment.path.name}")
    return scenes.vectors


def as_coded(stored: NDArray[Any], by: By) -> NDArray[np.float32]:
    """Vectors as engines see them, of some that are stored."""
    match by:
        case "mean":
            return stored
        case "scene":
            return float_scenes(stored)
        case "frame":
            return unit_frames(stored)


def float_scenes(scenes: NDArray[np.float16]) -> NDArray[np.float32]:
    """Scenes as float32; a third of the time that numpy takes."""
    return torch.from_numpy(np.array(scenes)).float().numpy()


def unit_frames(frames: NDArray[np.float16]) -> NDArray[np.float32]:
    """Frame embeddings as unit vectors, float32 ``[frame, dim]``; a zero embedding stays zero."""
    return unit(torch.from_numpy(np.array(frames)).float()).numpy()
