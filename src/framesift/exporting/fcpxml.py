"""Results as FCPXML 1.8, which Final Cut Pro, DaVinci Resolve and Premiere (by converters) read.

Written here rather than by OpenTimelineIO's adapters: those round 30000/1001 frames a second to a decimal number, know
eight rates, and take every file for 1920x1080 or for silent; Final Cut Pro then refuses times that are not on a frame.
Times are fractions of seconds: in the sequence on its own frames, in each file on that file's frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from xml.etree import ElementTree as xml

from .media import Media, frames_between
from .rows import Row, one_line
from .timeline import first_frame, marker_text

__all__ = ["fcpxml_text"]


def fcpxml_text(rows: Sequence[Row], media: Sequence[Media], query: str, rate: Fraction) -> str:
    """A project whose sequence, at ``rate``, holds the rows one after another."""
    root = xml.Element("fcpxml", version="1.8")
    resources = xml.SubElement(root, "resources")
    name = one_line(query) or "framesift"
    event = xml.SubElement(root, "event", name="framesift")
    project = xml.SubElement(event, "project", name=name)
    formats: dict[tuple[Fraction, int, int], str] = {}
    assets: dict[str, str] = {}

    def format_id(fps: Fraction, width: int, height: int) -> str:
        key = (fps, width, height)
        if key not in formats:
            formats[key] = f"r{len(formats) + len(assets) + 1}"
            xml.SubElement(
                resources,
                "format",
                id=formats[key],
                frameDuration=_time(1 / fps, whole=False),
                width=str(width),
                height=str(height),
            )
        return formats[key]

    def asset_id(one: Media) -> str:
        if one.url not in assets:
            own = format_id(one.rate, one.width, one.height)
            assets[one.url] = f"r{len(formats) + len(assets) + 1}"
            sound = {"hasAudio": "1", "audioSources": "1"} if one.has_sound else {}
            xml.SubElement(
                resources,
                "asset",
                {
                    "id": assets[one.url],
                    "name": one_line(one.name),
                    "src": one.url,
                    "start": _time(Fraction(first_frame(one, one.rate)) / one.rate),
                    "duration": _time(one.num_frames / one.rate),
                    "hasVideo": "1",
                    "format": own,
                    **sound,
                },
            )
        return assets[one.url]

    largest = max(media, key=lambda one: one.width * one.height)
    sequence = xml.SubElement(
        project,
        "sequence",
        format=format_id(rate, largest.width, largest.height),
        tcStart="0s",
        tcFormat="NDF",
    )
    spine = xml.SubElement(sequence, "spine")
    offset = 0
    for row, one in zip(rows, media, strict=True):
        zero = first_frame(one, one.rate)
        first, count = frames_between(row.start_s, row.end_s, one.rate, one.num_frames)
        start = (zero + first) / one.rate
        rest = (one.num_frames - first) / one.rate  # of the file: a clip must not run out of it
        length = max(1, min(-(-count * rate // one.rate), rest * rate // 1))
        clip = xml.SubElement(
            spine,
            "asset-clip",
            name=one_line(one.name),
            ref=asset_id(one),
            offset=_time(offset / rate),
            start=_time(start),
            duration=_time(length / rate),
            format=format_id(one.rate, one.width, one.height),
            tcFormat="NDF",
        )
        note = f"score {row.score:.4f}" + (f"; {one_line(row.text)}" if row.text else "")
        xml.SubElement(clip, "note").text = note
        focus, _ = frames_between(*row.focus_s, one.rate, one.num_frames)
        focus = min(max(focus, first), first + count - 1)
        xml.SubElement(
            clip,
            "marker",
            start=_time((zero + focus) / one.rate),
            duration=_time(1 / one.rate),
            value=marker_text(row, query),
        )
        offset += int(length)
    sequence.set("duration", _time(offset / rate))
    xml.indent(root)
    body = xml.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE fcpxml>\n{body}\n'


def _time(seconds: Fraction, *, whole: bool = True) -> str:
    """``1001/30000s``; with ``whole``, without a denominator of 1."""
    if whole and seconds.denominator == 1:
        return f"{seconds.numerator}s"
    return f"{seconds.numerator}/{seconds.denominator}s"
