"""Scenes of a segment's moments and pairs of them (:func:`.scenes_of`), in files beside its frames.

They can be missing: segments are readable without them, and whoever needs them computes them from frames then. ::

    scenes.json        sizes, a checksum, and the rule that they were made by; written last
    scene-counts.u16   of every row: how many vectors it has; read and checked when they are opened
    scene-checks.u64   of every vector: its check
    scenes.f16         [vector, dim], those of a row one after another
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...candidates.scenes import ALIKE, PAIRED, RULE_VERSION, scenes_of
from ..durable import fsync_path
from .checks import row_checks
from .sealed import Damaged, map_array, read_checked, read_sealed, write_sealed
from .segment import CHECKED_ROWS, PAYLOADS, SCENE, Segment

__all__ = [
    "SegmentScenes",
    "deny_scenes",
    "drop_scenes",
    "has_scenes",
    "number_of_scenes",
    "open_scenes",
    "rounded_scenes",
    "write_scenes",
]

HEAD_NAME, COUNTS_NAME, CHECKS_NAME = "scenes.json", "scene-counts.u16", "scene-checks.u64"
VECTORS_NAME = "scenes.f16"
RULE = f"cosine {ALIKE}, pairs {PAIRED}"
"""What :func:`.scenes_of` does: scenes by another rule are made again."""

FIRST_VERSION = 1  # of the rule, which nobody wrote down


@dataclass(frozen=True, eq=False, repr=False)
class SegmentScenes:
    """The scenes and pairs of a segment's rows, opened; made by :func:`open_scenes`.

    Attributes:
        path: the segment's folder.
        counts: of every row, ``[row]``.
        vectors: ``[vector, dim]``, those of a row one after another.
        check: :func:`.row_checks` of the vectors, ``[vector]``. Mapped: where one is not what was written, its vector
            seems damaged, which costs time and nothing else.
    """

    path: Path
    counts: NDArray[np.int64]
    vectors: NDArray[np.float16]
    check: NDArray[np.uint64]

    def check_vectors(self) -> None:
        """Compare all vectors with their checks. Raises Damaged."""
        for first in range(0, len(self.vectors), CHECKED_ROWS):
            chosen = slice(first, first + CHECKED_ROWS)
            if (row_checks(self.vectors[chosen], of=SCENE) != self.check[chosen]).any():
                raise Damaged(f"{VECTORS_NAME} or {CHECKS_NAME} has changed since it was written")


def has_scenes(segment: Path) -> bool:
    """Whether a segment has scenes, readable or not."""
    return (segment / HEAD_NAME).exists()


def number_of_scenes(segment: Segment) -> int:
    """How many vectors a segment's scenes are. Raises Damaged, also where it has none."""
    head = read_sealed(segment.path / HEAD_NAME)
    try:
        return int(head["scenes"])
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(f"{HEAD_NAME} is of another kind ({error})") from error


def open_scenes(segment: Segment) -> SegmentScenes | None:
    """A segment's scenes; None if it has none, or those of another rule.

    Raises:
        Damaged: one of the files is not what was written.
    """
    if not has_scenes(segment.path):
        return None
    head = read_sealed(segment.path / HEAD_NAME)
    try:
        if (head["rule"], head.get("rule_version", FIRST_VERSION)) != (RULE, RULE_VERSION):
            return None
        number, dim = int(head["scenes"]), segment.vectors.shape[1]
        content = read_checked(segment.path / COUNTS_NAME, 2 * len(segment), head["counts_crc32"])
        return SegmentScenes(
            path=segment.path,
            counts=np.frombuffer(content, "<u2").astype(np.int64),
            vectors=map_array(segment.path / VECTORS_NAME, np.float16, (number, dim)),
            check=map_array(segment.path / CHECKS_NAME, np.uint64, (number,)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(f"{HEAD_NAME} is of another kind ({error})") from error


def write_scenes(segment: Segment) -> None:
    """Make a segment's scenes from its frames, which must have been checked.

    Raises:
        OSError: they cannot be written; the segment has none then.
    """
    counts: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    names = (VECTORS_NAME, CHECKS_NAME, COUNTS_NAME)
    drafts = [segment.path / f".{name}.draft" for name in names]
    deny_scenes(segment.path)  # those of another rule
    try:
        with ExitStack() as stack:
            vectors, checks, numbers = (stack.enter_context(draft.open("wb")) for draft in drafts)
            for flat, own in _of_segment(segment):
                vectors.write(flat.tobytes())
                checks.write(row_checks(flat, of=SCENE).tobytes())
                counts.append(own)
            counted = np.concatenate(counts).astype("<u2").tobytes()
            numbers.write(counted)
            for file in (vectors, checks, numbers):
                file.flush()
                os.fsync(file.fileno())
        for draft, name in zip(drafts, names, strict=True):
            draft.replace(segment.path / name)
        fsync_path(segment.path)
    except OSError:
        for draft in drafts:
            draft.unlink(missing_ok=True)
        raise
    told = {
        "rule": RULE,
        "rule_version": RULE_VERSION,
        "scenes": int(np.concatenate(counts).sum()),
        "counts_crc32": zlib.crc32(counted),
    }
    write_sealed(segment.path / HEAD_NAME, told)


def deny_scenes(segment: Path) -> None:
    """Let a segment have none from now on; the next refresh makes them. Raises OSError."""
    (segment / HEAD_NAME).unlink(missing_ok=True)


def drop_scenes(segment: Path, *, drafts_only: bool) -> None:
    """Delete a segment's scenes, and drafts of them; what names the others goes first."""
    names = (HEAD_NAME, VECTORS_NAME, CHECKS_NAME, COUNTS_NAME)
    with suppress(OSError):
        for name in names:
            (segment / f".{name}.draft").unlink(missing_ok=True)
            if not drafts_only:
                (segment / name).unlink(missing_ok=True)


def rounded_scenes(
    frames: NDArray[np.float16], num_frames: NDArray[np.int64], num_times: NDArray[np.int64]
) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Scenes and pairs of rows as they are stored, ``[vector, dim]``, and how many every row has.

    Args:
        frames: those of a row one after another, ``[frame, dim]``; several of them a frame where frames have tokens.
        num_frames: of every row, ``[row]``.
        num_times: of every row, ``[row]``: real frames.
    """
    tokens = int(num_frames.sum()) // max(int(num_times.sum()), 1)
    if (num_frames != tokens * num_times).any():  # rows of an index that is not whole
        tokens = 1
    vectors, owner = scenes_of(frames, num_frames, tokens=max(tokens, 1))
    return vectors.astype(np.float16), np.bincount(owner, minlength=len(num_frames))


def _of_segment(segment: Segment) -> Iterator[tuple[NDArray[np.float16], NDArray[np.int64]]]:
    frame_ends = np.cumsum(segment.num_frames)
    for first in range(0, len(segment), PAYLOADS):
        rows = slice(first, min(first + PAYLOADS, len(segment)))
        frames = segment.frames[segment.first_frame[first] : frame_ends[rows.stop - 1]]
        yield rounded_scenes(frames, segment.num_frames[rows], segment.num_times[rows])
