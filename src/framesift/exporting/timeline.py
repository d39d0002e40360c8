"""Results as an OpenTimelineIO timeline, one clip after another, and as an edit decision list (CMX 3600).

A timeline keeps every video's own rate. An edit decision list has one rate for everything, and eight characters for the
name of a reel: it is written from a timeline in which every time was converted before, frame by frame, so that source
and record durations agree.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..errors import InputError, MissingExtraError
from .media import Media, frames_between
from .rows import Row, one_line

__all__ = ["MAX_EVENTS", "edl_text", "first_frame", "load_otio", "otio_text", "timeline_of"]

MAX_EVENTS = 999  # an event's number has three digits
_REEL_LENGTH = 8
_DROP_FRAME = frozenset({Fraction(30000, 1001), Fraction(60000, 1001)})
_MARKER_COLOUR = "GREEN"


def load_otio() -> Any:
    """The opentimelineio package. Raises MissingExtraError."""
    try:
        import opentimelineio
    except ImportError:
        raise MissingExtraError("opentimelineio", "export") from None
    return opentimelineio


def first_frame(media: Media, rate: Fraction) -> int:
    """The number of the first frame at ``rate``: 0, or what its timecode says, where that can be read."""
    if media.timecode is None:
        return 0
    otio = load_otio()
    try:
        return round(
            otio.opentime.from_timecode(media.timecode, float(media.rate)).rescaled_to(float(rate)).value
        )
    except ValueError:  # a rate without timecode, or a stamp that is none
        return 0


def timeline_of(
    rows: Sequence[Row], media: Sequence[Media], query: str, *, rate: Fraction | None = None
) -> Any:
    """An ``opentimelineio`` timeline of the rows, whose files are ``media``; all times at ``rate`` if it is given."""
    otio = load_otio()
    timeline = otio.schema.Timeline(name=one_line(query) or "framesift")
    track = otio.schema.Track(name="results", kind=otio.schema.TrackKind.Video)
    timeline.tracks.append(track)
    timeline.metadata["framesift"] = {"query": one_line(query)}

    def span(first: int, count: int, fps: Fraction) -> Any:
        start = otio.opentime.RationalTime(first, float(fps))
        return otio.opentime.TimeRange(start, otio.opentime.RationalTime(count, float(fps)))

    for row, one in zip(rows, media, strict=True):
        fps = rate or one.rate
        num_frames = max(1, round(one.num_frames / one.rate * fps))
        zero = first_frame(one, fps)
        first, count = frames_between(row.start_s, row.end_s, fps, num_frames)
        reference = otio.schema.ExternalReference(
            target_url=one.url, available_range=span(zero, num_frames, fps)
        )
        reference.name = one_line(one.name)
        clip = otio.schema.Clip(
            name=one_line(one.name), media_reference=reference, source_range=span(zero + first, count, fps)
        )
        focus, focus_count = frames_between(*row.focus_s, fps, num_frames)
        focus = min(max(focus, first), first + count - 1)
        focus_count = min(focus_count, first + count - focus)
        clip.markers.append(
            otio.schema.Marker(
                name=marker_text(row, query),
                marked_range=span(zero + focus, focus_count, fps),
                color=_MARKER_COLOUR,
            )
        )
        clip.metadata["framesift"] = {
            "rank": row.rank,
            "score": row.score,
            "start_s": row.start_s,
            "end_s": row.end_s,
            "focus_s": list(row.focus_s),
            "text": one_line(row.text or ""),
        }
        track.append(clip)
    return timeline


def marker_text(row: Row, query: str) -> str:
    """What a marker says: the query and the score."""
    return f"{one_line(query)} ({row.score:.3f})"


def otio_text(rows: Sequence[Row], media: Sequence[Media], query: str) -> str:
    """OpenTimelineIO's own JSON."""
    return str(load_otio().adapters.write_to_string(timeline_of(rows, media, query), "otio_json"))


def edl_text(rows: Sequence[Row], media: Sequence[Media], query: str, rate: Fraction) -> str:
    """An edit decision list at ``rate``. Raises InputError for more than ``MAX_EVENTS`` rows."""
    otio = load_otio()
    if len(rows) > MAX_EVENTS:
        raise InputError(
            f"an EDL holds {MAX_EVENTS} results, not {len(rows)}; write .fcpxml, or export fewer"
        )
    timeline = timeline_of(rows, media, query, rate=rate)
    reels = _reels([one.url for one in media])
    for clip, row, one in zip(timeline.tracks[0], rows, media, strict=True):
        comments = [f"SCORE: {row.score:.4f}", f"QUERY: {one_line(query)}"]
        if row.text:
            comments.append(f"TEXT: {one_line(row.text)}")
        if one.rate != rate:
            comments.append(f"SOURCE RATE: {float(one.rate):.3f} FPS, COUNTED AT {float(rate):.3f}")
        clip.metadata["cmx_3600"] = {"reel": reels[one.url], "comments": comments}
    try:
        text = otio.adapters.write_to_string(timeline, "cmx_3600", rate=float(rate))
    except otio.exceptions.NoKnownAdapterForExtensionError:
        raise MissingExtraError("otio-cmx3600-adapter", "export") from None
    except otio.exceptions.NotSupportedError as error:
        raise InputError(f"these results cannot be written as an EDL ({error})") from error
    title, _, events = str(text).partition("\n")
    count = "DROP FRAME" if rate in _DROP_FRAME else "NON-DROP FRAME"
    return f"{title}\nFCM: {count}\n{events}"


def _reels(urls: Sequence[str]) -> dict[str, str]:
    """A name of eight letters and digits for each file, different ones for different files."""
    reels: dict[str, str] = {}
    taken: set[str] = set()
    for url in urls:
        if url in reels:
            continue
        stem = re.sub(r"[^A-Z0-9]", "", Path(url).stem.upper()) or "REEL"
        reel, number = stem[:_REEL_LENGTH], 1
        while reel in taken or reel in ("AX", "BL"):  # which mean: no reel, and black
            number += 1
            reel = stem[: _REEL_LENGTH - len(str(number))] + str(number)
        taken.add(reel)
        reels[url] = reel.ljust(_REEL_LENGTH)
    return reels
