"""``framesift info``."""

from __future__ import annotations

from pathlib import Path

import typer

from .output import INDEX_OPTION, JSON_OPTION, emit_json, format_bytes, format_time, one_line, say

__all__ = ["EXAMPLES", "info"]

EXAMPLES = """Examples: `framesift info` tells about framesift.index in this directory.
`framesift info --index holidays.index --videos` lists its videos, and those that could not be read."""


def info(
    index: Path = INDEX_OPTION,
    videos: bool = typer.Option(False, "--videos", help="List the videos, too."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Tell what an index holds."""
    from ..index import Index

    with Index.open(index) as opened:
        summary = opened.info()
        records = opened.videos() if videos else []
    if as_json:
        document = summary.to_dict()
        if videos:
            document["files"] = [record.to_dict() for record in records]
        emit_json(document)
        return
    facts = {
        "index": summary.path,
        "videos": f"{summary.videos} ({format_time(summary.duration_s)}), {summary.failed} unreadable",
        "moments": f"{summary.moments}, cut by {summary.cutting!r}, up to {summary.num_frames} frames each",
        "model": summary.model or "unnamed",
        "embedding": f"{summary.dim} dimensions, fingerprint {summary.fingerprint[:12]}",
        "size": f"{format_bytes(summary.size_bytes)}, format {summary.format_version}",
    }
    for name, value in facts.items():
        say(f"{name:>10}  {value}")
    for record in records:
        if record.status == "ok":
            length = format_time(record.duration_s or 0.0)
            say(f"{length:>10}  {record.width} x {record.height} {record.codec}  {one_line(record.uri)}")
        else:
            say(f"{'unreadable':>10}  {one_line(record.uri)}: {record.error}")
