"""How a build runs, how far it is, and what it did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..errors import DecodeError
from ..video.loader import MEMORY_BYTES
from .subtitle_refresh import SubtitleReport

__all__ = ["BuildConfig", "BuildReport", "Progress"]


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """How a build runs; none of it changes what is stored.

    Attributes:
        workers: decoding processes; None for one a core, 0 decodes in this process without any protection.
        timeout_s: a file that takes longer to decode has failed.
        memory_bytes: a file that takes more memory to decode has failed.
        batch_frames: frames encoded at once, from as many videos as it takes.
        commit_videos: videos after which a batch is committed.
        commit_s: seconds after which it is committed, if that comes first.
        retry_failed: try files again that failed before and have not changed since.
    """

    workers: int | None = None
    timeout_s: float = 300.0
    memory_bytes: int = MEMORY_BYTES
    batch_frames: int = 96  # eight videos of 12 frames: larger batches gain nothing on a CPU
    commit_videos: int = 256
    commit_s: float = 30.0
    retry_failed: bool = False


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a build is.

    Attributes:
        done: files finished, failed ones included.
        total: files to read; known ones are not among them.
        known: files that are in the index already, from earlier builds or from one that was interrupted.
        failed: files that could not be read so far.
        done_bytes: their sizes, summed.
        total_bytes: sizes of all files to read.
        elapsed_s: time since reading began.
        path: the file that was finished last.
    """

    done: int
    total: int
    failed: int
    done_bytes: int
    total_bytes: int
    elapsed_s: float
    path: str = ""
    known: int = 0

    @property
    def fraction(self) -> float:
        """Part of the work that is done, 0 to 1. A file costs a fixed part (its frames are encoded) and a
        part that grows with its size (it is decoded), so that this is the mean of both shares."""
        if self.done == self.total:
            return 1.0
        return (self.done / self.total + self.done_bytes / max(self.total_bytes, 1)) / 2

    @property
    def eta_s(self) -> float | None:
        """Seconds that are left for the files to read, at the pace so far; None before the first one."""
        return self.elapsed_s * (1 - self.fraction) / self.fraction if self.done else None


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """What a build did.

    Attributes:
        added: videos that are new in the index.
        replaced: videos whose file had changed.
        moved: videos whose file was found at another place; their rows were kept.
        skipped: files that were known and unchanged.
        known_failures: those of ``skipped`` that failed in an earlier build.
        moments: moments written.
        failed: one error for every file that could not be read.
        subtitles: what was done for them.
        elapsed_s: seconds that it took.
        waiting_s: seconds of these in which nothing could be encoded, because no video was decoded.
        encoding_s: seconds of these in which frames were encoded.
        writing_s: seconds in which rows were written, mostly at the same time as the others.
    """

    added: int
    replaced: int
    moved: int
    skipped: int
    known_failures: int
    moments: int
    failed: list[DecodeError] = field(default_factory=list)
    subtitles: SubtitleReport = field(default_factory=SubtitleReport)
    elapsed_s: float = 0.0
    waiting_s: float = 0.0
    encoding_s: float = 0.0
    writing_s: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        failed = [{"path": str(error.path), "reason": error.reason} for error in self.failed]
        return {**vars(self), "failed": failed, "subtitles": self.subtitles.to_dict()}
