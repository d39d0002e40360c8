"""The cache of an index: what is in it, and what was found to be damaged.

Reading it needs no lock. Whoever finds a damaged segment moves it out of the way where it can, and reads the table
instead; the next refresh, under the writer's lock, builds it again. So a reader never depends on the cache, and
deleting all of it at any time is safe.
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...errors import IndexCacheWarning
from .codes import KINDS, By, Codebook, read_codebook, read_codes
from .packed import PackedCodes, deny_packed, open_packed
from .scenes import SegmentScenes, deny_scenes, open_scenes
from .sealed import Damaged, read_sealed, write_sealed
from .segment import Segment, fragment_files, inode_of, segment_name

__all__ = ["DAMAGED", "CacheFolder", "CacheSettings"]

SEGMENTS, SETTINGS = "segments", "settings.json"
DAMAGED = ".damaged-"  # what the names of segments begin with that were moved out of the way


@dataclass(frozen=True, kw_only=True)
class CacheSettings:
    """What an index's cache holds besides segments.

    Attributes:
        codes: whether rows and scenes have codes; None: once there are so many of either that the ``faiss`` engine is
            worth it.
        frame_codes: whether frames have codes, too, for candidates by frame.
        scenes: whether it holds scenes, for candidates by these; None: if the model of the index calls for them.
    """

    codes: bool | None = None
    frame_codes: bool = False
    scenes: bool | None = None


class CacheFolder:
    """A cache, which need not be there.

    Args:
        path: its folder.
        dim: width of the index's embeddings.
    """

    def __init__(self, path: Path, dim: int) -> None:
        self.path = path
        self.segments = path / SEGMENTS
        self.dim = dim
        self._told: set[str] = set()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<CacheFolder {self.path}>"

    def settings(self) -> CacheSettings:
        """What was asked for last; where that cannot be read, what is there."""
        path = self.path / SETTINGS
        if not path.exists():
            return CacheSettings()
        try:
            values = read_sealed(path)
            return CacheSettings(
                codes=values["codes"],
                frame_codes=values["frame_codes"],
                scenes=values.get("scenes"),  # first versions had none
            )
        except (Damaged, KeyError) as error:
            has_codes, has_frame_codes = (
                (self.path / f"codebook-{by}.json").exists() for by in ("mean", "frame")
            )
            self.tell(f"its settings cannot be read ({error}); it goes on with the codes that it has")
            return CacheSettings(codes=True if has_codes else None, frame_codes=has_frame_codes)

    def mend_settings(self) -> None:
        """Write them again where they cannot be read. Raises OSError."""
        if (self.path / SETTINGS).exists():
            try:
                read_sealed(self.path / SETTINGS)
            except Damaged:
                self.write_settings(self.settings())

    def write_settings(self, settings: CacheSettings) -> None:
        """Keep them. Raises OSError."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_sealed(self.path / SETTINGS, asdict(settings))

    def segment_of(self, fragment: Any, *, thorough: bool = False) -> Segment | None:
        """The segment of a Lance fragment; None if there is none that can be read, ``thorough``: to its last byte."""
        path = self.segments / segment_name(fragment_files(fragment))
        if not path.is_dir():
            return None
        before = inode_of(path)
        try:
            segment = Segment.open(path, self.dim)
            if thorough:
                segment.check_vectors()
                segment.check_payload()
                segment.moment_ids()
            return segment
        except Damaged as error:
            if path.is_dir() and inode_of(path) == before:  # not moved or replaced by a refresh just now
                self.set_aside(path, str(error))
            return None

    def scenes_of(self, segment: Segment, *, thorough: bool = False) -> SegmentScenes | None:
        """The scenes of a segment's rows; None if it has none that can be read, ``thorough``: to their last byte."""
        try:
            scenes = open_scenes(segment)
            if thorough and scenes is not None:
                scenes.check_vectors()
            return scenes
        except Damaged as error:
            if segment.in_place():  # not deleted or replaced by a refresh just now
                self.forget_scenes(segment.path, str(error))
            return None

    def forget_scenes(self, segment: Path, reason: str) -> None:
        """Let nobody use a segment's scenes any more, as far as this process may, and say so."""
        self.tell(
            f"the scenes in the segment {segment.name} are damaged: {reason}. They are computed from frames instead, "
            "with the same results; the next change of the index builds them again, as does: framesift index "
            "--refresh-cache",
            once=f"scenes: {reason}",
        )
        with suppress(OSError):
            deny_scenes(segment)

    def has_segment_of(self, fragment: Any) -> bool:
        """Whether there is one, readable or not."""
        return (self.segments / segment_name(fragment_files(fragment))).is_dir()

    def codebook(self, by: By) -> Codebook | None:
        """The codebook in use; None if there is none that can be read."""
        try:
            try:
                found = read_codebook(self.path, by)
            except Damaged:  # perhaps another one took its place just now
                found = read_codebook(self.path, by)
        except Damaged as error:
            self.tell(
                f"{error}; rows are compared one by one instead, which is slower, until it is built again"
            )
            self._remove(self.path / f"codebook-{by}.json")
            return None
        return found if found is None or found.quantizer.dim == self.dim else None

    def codes_of(self, segment: Segment, by: By, codebook: Codebook) -> Any:
        """A segment's codes, ``[row, scene or frame, code_bytes]``; None if it has none that can be read."""
        try:
            return read_codes(segment, by, codebook.quantizer)
        except Damaged as error:
            head = segment.path / f"codes-{codebook.quantizer.digest}.json"
            if head.exists() and segment.in_place():  # not deleted or replaced by a refresh just now
                self.tell(f"codes in the segment {segment.path.name}: {error}; they will be built again")
                self._remove(head)
            return None

    def packed(self, codebook: Codebook) -> PackedCodes | None:
        """The packed codes of a codebook; None if there are none that can be read."""
        try:
            try:
                return open_packed(self.path, codebook.quantizer)
            except Damaged:  # perhaps others took their place just now
                return open_packed(self.path, codebook.quantizer)
        except Damaged as error:
            self.forget_packed(codebook, str(error))
            return None

    def forget_packed(self, codebook: Codebook, reason: str) -> None:
        """Let nobody open packed codes any more, as far as this process may, and say so."""
        self.tell(
            f"packed codes are damaged: {reason}. They are packed again in memory, with the same results, whenever the "
            "index is opened, until the next change of the index does it, or: framesift index --refresh-cache",
            once=f"packed: {reason}",
        )
        with suppress(OSError):
            deny_packed(self.path, codebook.quantizer.digest)

    def set_aside(self, segment: Path, reason: str) -> None:
        """Move a damaged segment out of the way, as far as this process may, and say so."""
        self.tell(
            f"the segment {segment.name} is damaged: {reason}. The table is read instead, with the same results; the "
            "next change of the index builds it again, as does: framesift index --refresh-cache",
            once=reason,
        )
        with suppress(OSError):
            segment.rename(segment.with_name(f"{DAMAGED}{segment.name}-{time.time_ns()}"))

    def tell(self, what: str, *, once: str | None = None) -> None:
        """Warn of something, once; or of the first of all that have the same ``once``."""
        with self._lock:
            if (once or what) in self._told:
                return
            self._told.add(once or what)
        warnings.warn(f"the cache {str(self.path)!r}: {what}", IndexCacheWarning, stacklevel=2)

    def _remove(self, path: Path) -> None:
        with suppress(OSError):
            path.unlink()

    def names(self) -> list[str]:
        """Of the segments that are there."""
        try:
            return sorted(name for name in os.listdir(self.segments) if not name.startswith("."))
        except OSError:
            return []

    def problems(self, fragments: Iterable[Any], *, beat: Callable[[], None] = lambda: None) -> list[str]:
        """Read all of it that belongs to some fragments, and tell what is not as it was written; changes nothing."""
        found: list[str] = []
        codebooks: list[tuple[By, Codebook]] = []
        for by in KINDS:
            try:
                if (codebook := read_codebook(self.path, by)) is not None:
                    codebooks.append((by, codebook))
            except Damaged as error:
                found.append(str(error))
        for _, codebook in codebooks:
            try:
                packed = open_packed(self.path, codebook.quantizer)
                if packed is not None and not packed.all_whole():
                    found.append("packed codes have changed since they were written")
            except Damaged as error:
                found.append(str(error))
        for fragment in fragments:
            path = self.segments / segment_name(fragment_files(fragment))
            if not path.is_dir():
                continue
            try:
                segment = Segment.open(path, self.dim)
                segment.check_vectors()
                segment.check_payload()
                segment.moment_ids()
                if (scenes := open_scenes(segment)) is not None:
                    scenes.check_vectors()
                for by, codebook in codebooks:
                    read_codes(segment, by, codebook.quantizer)
            except Damaged as error:
                found.append(f"segment {path.name}: {error}")
            beat()
        return found
