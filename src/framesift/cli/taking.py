"""``framesift cut`` and ``framesift sheet``, and ``--export`` of a search: what a person takes away."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import InputError
from .output import JSON_OPTION, emit_json, format_bytes, format_time, one_line, say, talk

if TYPE_CHECKING:
    from ..exporting import Exported

__all__ = [
    "CUT_EXAMPLES",
    "EXPORT_OPTION",
    "SHEET_EXAMPLES",
    "check_export",
    "cut",
    "parse_time",
    "sheet",
    "write_export",
]

CUT_EXAMPLES = """Examples: `framesift cut trip.mp4 1:02 1:10.5` writes trip-1.02.0-1.10.5.mp4 here, without encoding
where the file allows that. `framesift cut trip.avi 62 70.5 -o dog.mp4 --mode encode` begins and ends exactly there."""

SHEET_EXAMPLES = """Examples: `framesift sheet trip.mp4` puts 12 frames on trip-sheet.jpg.
`framesift sheet trip.mp4 1:00 2:00 --every 5 -o minute.webp` shows a frame for every five seconds of that minute.
`framesift sheet trip.mp4 --times 3.5,0:10,1:02.5 --columns 3` shows those frames."""

_TIME = re.compile(r"(?:(?:(\d+):)?([0-5]?\d):)?(\d+(?:\.\d*)?|\.\d+)", re.ASCII)
MOST_FRAMES = 400  # of a sheet; more cannot be told apart


class CutMode(StrEnum):
    """How a stretch gets into its file."""

    AUTO = "auto"
    COPY = "copy"
    ENCODE = "encode"


def parse_time(text: str) -> float:
    """Seconds of ``75``, ``75.5``, ``1:15.5`` or ``0:01:15.5``. Raises InputError for anything else."""
    match = _TIME.fullmatch(text.strip())
    if match is None or (match[2] is not None and float(match[3]) >= 60):
        raise InputError(
            f"cannot read the time {text!r}; write seconds, m:ss or h:mm:ss, as in 75.5 or 1:15.5"
        )
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + seconds


def _stem(video: Path) -> str:
    return video.stem or "video"


def _in_name(seconds: float) -> str:
    return format_time(seconds).replace(":", ".")


def cut(
    video: Path = typer.Argument(..., help="Video file.", metavar="VIDEO"),
    start: str = typer.Argument(..., help="Where to begin: seconds, m:ss or h:mm:ss.", metavar="START"),
    end: str = typer.Argument(..., help="Where to end.", metavar="END"),
    output: Path | None = typer.Option(
        None,
        "--output",
        "-o",
        help="The file to write: .mp4, .m4v, .mov, .mkv or .webm. Default: named after the video and the times, here.",
    ),
    mode: CutMode = typer.Option(
        CutMode.AUTO,
        help="copy: the streams as they are, from the keyframe before START. encode: exact, as H.264 and AAC (VP9 and "
        "Opus in .webm). auto: a copy where that works and begins less than 10 s early.",
    ),
    force: bool = typer.Option(False, "--force", "-f", help="Replace the file if it is there."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Cut a stretch of a video to a file of its own.

    The line on stderr says how it was made and what it really shows: a copy can only begin with a keyframe.
    """
    from ..video.cutting import CONTAINERS, cut_file

    start_s, end_s = parse_time(start), parse_time(end)
    if output is None:
        suffix = video.suffix.lower() if video.suffix.lower() in CONTAINERS else ".mp4"
        output = Path(f"{_stem(video)}-{_in_name(start_s)}-{_in_name(end_s)}{suffix}")
    result = cut_file(video, start_s, end_s, output, mode=mode.value, overwrite=force)
    if as_json:
        emit_json(result.to_dict())
        return
    say(one_line(result.path))
    how = "copied" if result.mode == "copy" else "encoded"
    span = f"{format_time(result.start_s)}-{format_time(result.end_s)}"
    talk(f"{how} {span} ({', '.join(result.codecs)}), {format_bytes(result.size_bytes)}")
    if result.start_s < start_s - 0.05:
        talk(
            f"it begins {start_s - result.start_s:.1f} s early, with a keyframe; --mode encode begins exactly"
        )
    for note in ([f"no copy: {result.reason}"] if result.reason else []) + list(result.notes):
        talk(note)


def sheet(
    video: Path = typer.Argument(..., help="Video file.", metavar="VIDEO"),
    start: str | None = typer.Argument(None, help="Where to begin. Default: the beginning.", metavar="START"),
    end: str | None = typer.Argument(None, help="Where to end. Default: the end.", metavar="END"),
    times: str | None = typer.Option(None, help="Show the frames at these times, separated by commas."),
    every: float | None = typer.Option(None, min=0.0, help="Show a frame for every so many seconds."),
    frames: int = typer.Option(
        12, "--frames", "-n", min=1, max=MOST_FRAMES, help="Show so many, evenly spread."
    ),
    columns: int = typer.Option(4, min=1, help="Frames in a row."),
    width: int = typer.Option(320, min=16, max=3840, help="Width of a frame in pixels, at most."),
    output: Path | None = typer.Option(
        None,
        "--output",
        "-o",
        help="The picture to write: .jpg, .png or .webp. Default: VIDEO-sheet.jpg, here.",
    ),
    force: bool = typer.Option(False, "--force", "-f", help="Replace the file if it is there."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Put frames of a video on one picture, each with its time: a contact sheet."""
    from ..video.pictures import contact_sheet, pictures_at, save_picture

    if times is not None and (start is not None or every is not None):
        raise InputError("--times says all times; leave out START, END and --every")
    target = output or Path(f"{_stem(video)}-sheet.jpg")
    shown_s = _times(video, times) if times is not None else _spread(video, start, end, every, frames)
    pictures = pictures_at(video, shown_s, width_px=width)
    picture = contact_sheet(pictures, [format_time(time_s) for time_s in shown_s], columns=columns)
    save_picture(picture, target, overwrite=force)
    if as_json:
        emit_json({"path": str(target), "times_s": shown_s, "width": picture.width, "height": picture.height})
    else:
        say(one_line(str(target)))
        talk(f"{len(shown_s)} frames, {picture.width}x{picture.height}")


def _times(video: Path, text: str) -> list[float]:
    from ..video import probe

    parts = [part for part in text.split(",") if part.strip()]
    if not 1 <= len(parts) <= MOST_FRAMES:
        raise InputError(f"--times takes 1 to {MOST_FRAMES} times, got {len(parts)}")
    times_s = [parse_time(part) for part in parts]
    duration_s = probe(video).duration_s
    if duration_s is not None and max(times_s) >= duration_s:  # its last frame would bear that time
        raise InputError(f"--times has {format_time(max(times_s))}, but the video ends at {duration_s:.3f} s")
    return times_s


def _spread(video: Path, start: str | None, end: str | None, every: float | None, frames: int) -> list[float]:
    """The middles of equal parts of the stretch, so that each part counts alike."""
    from ..video import probe

    duration_s = probe(video).duration_s or 0.0
    start_s = parse_time(start) if start is not None else 0.0
    end_s = min(parse_time(end), duration_s) if end is not None else duration_s
    if start_s >= end_s:
        raise InputError(
            f"need START before END within the video's {duration_s:.1f} s, got {start_s:g} to {end_s:g}"
        )
    if every is not None:
        parts = (end_s - start_s) / every if every > 0 else math.inf
        if parts > MOST_FRAMES:
            raise InputError(
                f"--every {every:g} would show more than {MOST_FRAMES} frames of {end_s - start_s:.1f} s"
            )
        return [start_s + every * number for number in range(max(1, math.ceil(parts - 1e-9)))]
    step_s = (end_s - start_s) / frames
    return [start_s + step_s * (number + 0.5) for number in range(frames)]


EXPORT_OPTION = typer.Option(
    None,
    "--export",
    help="Write the results to this file as well: .csv, .json, or for video editors .edl, .fcpxml or .otio.",
    metavar="FILE",
)


def check_export(path: Path | None, *, force: bool = False) -> None:
    """Refuse, before the search, a file that could not be written after it."""
    if path is None:
        return
    from ..exporting import export_format

    export_format(path)
    if path.exists() and not force:
        raise InputError(f"{str(path)!r} exists already; choose another name for --export")


def write_export(results: Iterable[Any], path: Path, *, query: str, force: bool = False) -> Exported:
    """Write results to ``path`` and say so on stderr."""
    from ..exporting import export

    exported = export(results, path, query=query, overwrite=force)
    rate = f", {exported.rate:.5g} frames/s" if exported.rate is not None else ""
    talk(f"{exported.count} results in {one_line(exported.path)}{rate}")
    for note in exported.notes:
        talk(note)
    return exported
