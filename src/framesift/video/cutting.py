"""Cutting a stretch of a video to a file of its own, as a copy where that is possible, else encoded anew."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import ConfigError, InputError
from ..unfinished import unfinished
from .container import path_text
from .copying import CannotCopy, Written, copy_stretch, keyframe_start_s
from .encoding import Quality, encode_stretch

__all__ = ["CONTAINERS", "MAX_EARLY_S", "Cut", "CutResult", "Mode", "cut_file", "finished"]

Mode = Literal["auto", "copy", "encode"]

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""File name suffixes that can be written, with FFmpeg's names of the containers."""

MAX_EARLY_S = 10.0  # x264 and most cameras put keyframes at most this far apart


@dataclass(frozen=True, kw_only=True)
class CutResult:
    """A file that was cut out of a video.

    Attributes:
        path: the file.
        video: what it was cut out of.
        mode: ``copy``: the packets are the source's, bit for bit. ``encode``: pictures and sound were encoded anew.
        start_s, end_s: the stretch of the source that it shows, in seconds from the source's first frame. A copy begins
            with the keyframe at or before the wanted start, and may end some frames late.
        codecs: of the streams in the file: formats in a copy, encoders otherwise.
        reason: why it was encoded anew although a copy was allowed, else None.
        notes: what is missing or damaged, in words.
        size_bytes: of the file.
    """

    path: str
    video: str
    mode: Literal["copy", "encode"]
    start_s: float
    end_s: float
    codecs: tuple[str, ...]
    reason: str | None
    notes: tuple[str, ...]
    size_bytes: int

    def __repr__(self) -> str:
        return f"<CutResult {self.path} {self.mode} {self.start_s:.2f}-{self.end_s:.2f} s {'+'.join(self.codecs)}>"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def cut_file(
    video: str | os.PathLike[str],
    start_s: float,
    end_s: float,
    target: str | os.PathLike[str],
    *,
    mode: Mode = "auto",
    overwrite: bool = False,
) -> CutResult:
    """Cut ``[start_s, end_s)``, in seconds from the first frame, to the file ``target``.

    Args:
        video: a video file.
        start_s, end_s: the stretch; what goes beyond the end of the video is left out.
        target: the new file. Its suffix, one of ``CONTAINERS``, decides about the container.
        mode: ``copy`` takes the streams as they are, picture, sound and subtitles, from the keyframe before
            ``start_s``. ``encode`` makes H.264 and AAC (VP9 and Opus in ``.webm``) that begin and end exactly,
            with the main sound and no subtitles. ``auto`` copies where that works and begins less than
            ``MAX_EARLY_S`` too early, and encodes otherwise.
        overwrite: whether an existing target is replaced, by a finished file only.

    Raises:
        DecodeError: the video cannot be read.
        InputError: times that make no stretch of the video, a target that exists, cannot be written or has another
            suffix, or, with ``mode="copy"``, streams that cannot be copied into it.
        ConfigError: an unknown mode.
    """
    if mode not in ("auto", "copy", "encode"):
        raise ConfigError(f"unknown mode {mode!r}; choose auto, copy or encode")
    if not 0 <= start_s < end_s < math.inf:
        raise InputError(f"need 0 <= start_s < end_s, got {start_s}, {end_s}")
    muxer = CONTAINERS.get(Path(target).suffix.lower())
    if muxer is None:
        raise InputError(
            f"cannot tell the container of {str(target)!r}; its name must end in {', '.join(CONTAINERS)}"
        )
    source = path_text(video)
    return finished(
        source,
        target,
        lambda draft: _cut(source, start_s, end_s, draft, muxer, mode),
        overwrite=overwrite,
    )


@dataclass(frozen=True)
class Cut:
    """How a draft was made."""

    mode: Literal["copy", "encode"]
    written: Written
    reason: str | None = None


def _cut(source: str, start_s: float, end_s: float, draft: Path, muxer: str, mode: Mode) -> Cut:
    reason: str | None = None
    if mode != "encode":
        try:
            if mode == "auto" and (early_s := start_s - keyframe_start_s(source, start_s)) > MAX_EARLY_S:
                raise CannotCopy(f"the keyframe before is {early_s:.1f} s early")
            return Cut("copy", copy_stretch(source, start_s, end_s, draft, muxer))
        except CannotCopy as error:
            reason = str(error)
            draft.unlink(missing_ok=True)
        if mode == "copy":
            raise InputError(f"cannot copy from {source!r}: {reason}; cut it with mode 'encode'")
    return Cut("encode", encode_stretch(source, start_s, end_s, draft, muxer, Quality()), reason)


def finished(
    source: str, target: str | os.PathLike[str], write: Callable[[Path], Cut], *, overwrite: bool
) -> CutResult:
    """Have ``write`` fill a draft, put it in the target's place, and say what it is."""
    if os.path.exists(target) and os.path.exists(source) and os.path.samefile(source, target):
        raise InputError(f"{os.fspath(target)!r} is the video itself; choose another name")
    with unfinished(target, overwrite=overwrite) as draft:
        cut = write(draft)
        size_bytes = draft.stat().st_size
    return CutResult(
        path=os.fsdecode(target),
        video=source,
        mode=cut.mode,
        start_s=cut.written.start_s,
        end_s=cut.written.end_s,
        codecs=tuple(cut.written.codecs),
        reason=cut.reason,
        notes=tuple(cut.written.notes),
        size_bytes=size_bytes,
    )
