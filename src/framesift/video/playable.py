"""Whether a browser can play a file, and what to give it where it cannot.

Conservative: a file plays as it is only where the current Chromium, Firefox and Safari all play it (MDN, "Web video
codec guide" and "Media container formats"); what some of them refuse is named. A page should still listen to its
player's error event, and ask for a copy then: a file may be damaged, and builds differ.
"""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from av.stream import Disposition

from ..errors import InputError
from .container import MATROSKA, VideoFile, path_text
from .copying import CannotCopy, codec_name, copy_stretch, keyframe_start_s
from .cutting import MAX_EARLY_S, Cut, CutResult, finished
from .decode import probe
from .encoding import Quality, encode_stretch, encoders

__all__ = ["MAX_COPY_BYTES", "MAX_COPY_S", "Playability", "playability", "playable_copy"]

Verdict = Literal["as_is", "remux", "transcode", "frames"]

MAX_COPY_S = 600.0  # ten minutes take about two to encode on two cores
MAX_COPY_BYTES = 400_000_000
COPY_HEIGHT_PX = 720  # of a transcoded copy, which is for looking, not for keeping
_COPY = Quality(crf=23, bits_per_s=4_000_000, height_px=COPY_HEIGHT_PX, bytes=MAX_COPY_BYTES)

_MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
_MP4_BRANDS = frozenset(
    {"isom", "iso2", "iso4", "iso5", "iso6", "mp41", "mp42", "avc1", "dash", "M4V ", "M4VH", "MSNV"}
)
_H264_PROFILES = frozenset(
    {"Baseline", "Constrained Baseline", "Main", "High", "Constrained High", "Progressive High"}
)
_PIXELS = frozenset({"yuv420p", "yuvj420p"})  # 8 bits, 4:2:0
_MP4_SOUND = frozenset({"aac", "mp3"})
_WEBM_SOUND = frozenset({"opus", "vorbis"})
_EBML_HEAD_BYTES = 64  # the document type of Matroska and WebM is among the first


@dataclass(frozen=True, kw_only=True)
class Playability:
    """What a browser can do with a video file.

    Attributes:
        verdict: ``as_is``: plays. ``remux``: its streams play once they are copied into an MP4, which takes no time to
            speak of. ``transcode``: they must be encoded anew. ``frames``: neither is possible here; show pictures.
        reason: why, in words for the person who looks.
        media_type: what to serve it as, where it plays as it is.
        unless: browsers in which it does not play all the same, or None.
    """

    verdict: Verdict
    reason: str
    media_type: str | None = None
    unless: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def playability(path: str | os.PathLike[str]) -> Playability:
    """Whether a browser can play the file as it is, by its container, codecs and pixel format; and if not, what helps.

    Reads the beginning of the file only. Raises DecodeError for a file without a frame to decode.
    """
    with VideoFile(path) as video:
        container = _container(video)
        picture = codec_name(video.stream) or "unknown"
        pixels = video.codec.pix_fmt
        profile = video.stream.profile
        sound = [
            codec_name(stream) or "unknown"
            for stream in video.container.streams.audio
            if not stream.disposition & Disposition.attached_pic
        ]
    if pixels is None:  # nothing could be decoded on opening it; raises if nothing can be
        probe(path)
    problem = _problem_of_streams(picture, pixels, profile, sound)
    if problem is None:
        if container == "mp4" and picture in ("h264", "av1"):
            return _plays(f"{picture} in MP4", "video/mp4", picture)
        if container == "webm" and picture in ("vp8", "vp9", "av1"):
            return _plays(f"{picture} in WebM", "video/webm", picture)
        if picture == "h264":
            return Playability(
                verdict="remux", reason=f"browsers play its h264 video, but not in the container {container}"
            )
        problem = f"browsers do not play {picture} in the container {container}"
    if encoders("mp4")[0] is None:
        return Playability(verdict="frames", reason=f"{problem}, and PyAV has no H.264 encoder here")
    return Playability(verdict="transcode", reason=problem)


def _plays(what: str, media_type: str, picture: str) -> Playability:
    unless = "Safari on machines that do not decode AV1 in hardware" if picture == "av1" else None
    return Playability(verdict="as_is", reason=what, media_type=media_type, unless=unless)


def _container(video: VideoFile) -> str:
    """``mp4``, ``webm``, or what else it is; FFmpeg has one name for MP4, QuickTime and 3GP, and one for Matroska and
    WebM."""
    name = video.container.format.name
    if name == _MP4:
        brand = video.container.metadata.get("major_brand", "")
        if brand in _MP4_BRANDS:
            return "mp4"
        return "QuickTime" if brand in ("", "qt  ") else brand.strip()
    if name == MATROSKA:
        with Path(video.path).open("rb") as file:
            return "webm" if b"webm" in file.read(_EBML_HEAD_BYTES) else "Matroska"
    return name


def _problem_of_streams(
    picture: str, pixels: str | None, profile: str | None, sound: list[str]
) -> str | None:
    """Why no container would make these streams playable, None if one does."""
    if picture not in ("h264", "vp8", "vp9", "av1"):
        return f"browsers do not play {picture} video" + (" everywhere" if picture == "hevc" else "")
    if pixels not in _PIXELS:
        return f"browsers play pictures of 8 bits with 4:2:0 colours, this has {pixels or 'unknown ones'}"
    if picture == "h264" and profile is not None and profile not in _H264_PROFILES:
        return f"browsers do not play the profile {profile} of h264"
    playable = (
        _MP4_SOUND if picture == "h264" else _WEBM_SOUND | (_MP4_SOUND if picture == "av1" else frozenset())
    )
    for codec in sound:
        if codec not in playable:
            return f"browsers do not play {codec} sound beside {picture} video"
    return None


def playable_copy(
    path: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
    max_s: float = MAX_COPY_S,
    overwrite: bool = False,
) -> CutResult:
    """Make an MP4 of a stretch that every browser plays, its index in front.

    Streams that play are copied from the keyframe before ``start_s``, if less than ``cutting.MAX_EARLY_S`` before;
    others become H.264 (8 bits, 4:2:0, at most ``COPY_HEIGHT_PX`` on the shorter side) and AAC. Such a copy ends early
    rather than grow beyond ``MAX_COPY_BYTES``; ``end_s`` of the result tells.

    Args:
        path: a video file.
        target: the new file, whose name should end in ``.mp4``.
        start_s, end_s: the stretch; by default from the start, as much as ``max_s`` allows.
        max_s: the longest stretch, in seconds.
        overwrite: whether an existing target is replaced.

    Raises:
        DecodeError: the video cannot be read.
        InputError: times that make no stretch of the video, one longer than ``max_s``, or a target that exists or
            cannot be written.
    """
    stop_s = start_s + max_s if end_s is None else end_s
    if not 0 <= start_s < stop_s < math.inf:
        raise InputError(f"need 0 <= start_s < end_s, got {start_s}, {stop_s}")
    if stop_s - start_s > max_s:
        raise InputError(f"a copy of {stop_s - start_s:g} s was asked for; the longest is {max_s:g} s")
    source = path_text(path)
    judged = playability(source)

    def write(draft: Path) -> Cut:
        reason = judged.reason
        if judged.verdict == "remux" or judged.media_type == "video/mp4":
            try:
                if start_s - keyframe_start_s(source, start_s) > MAX_EARLY_S:
                    raise CannotCopy("the keyframe before the start is far away")
                written = copy_stretch(source, start_s, stop_s, draft, "mp4", max_bytes=MAX_COPY_BYTES)
                return Cut("copy", written)
            except CannotCopy as error:
                reason = str(error)
                draft.unlink(missing_ok=True)
        return Cut("encode", encode_stretch(source, start_s, stop_s, draft, "mp4", _COPY), reason)

    return finished(source, target, write, overwrite=overwrite)
