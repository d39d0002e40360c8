"""``framesift info``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import IndexStateError
from .output import INDEX_OPTION, JSON_OPTION, as_given, emit_json, format_bytes, format_time, one_line, say

if TYPE_CHECKING:
    from ..index import IndexInfo, Verification, VideoRecord

__all__ = ["EXAMPLES", "info"]

EXAMPLES = """Examples: `framesift info` tells about framesift.index in this directory.
`framesift info --index holidays.index --videos` lists its videos, and those that could not be read.
`framesift info --verify` reads all of it and checks that it is whole; exit code 5 if it is not."""


def info(
    index: Path = INDEX_OPTION,
    videos: bool = typer.Option(False, "--videos", help="List the videos, too."),
    verify: bool = typer.Option(
        False,
        "--verify",
        help="Read all of it: checksums, keys, fingerprints, and whether videos, moments and frames agree.",
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Tell what an index holds."""
    from ..index import Index

    with Index.open(index) as opened:
        summary = opened.info()
        records = opened.videos() if videos else []
        verification = opened.verify() if verify else None
    if as_json:
        document = summary.to_dict()
        if videos:
            document["files"] = [record.to_dict() for record in records]
        if verification is not None:
            document["verification"] = verification.to_dict()
        emit_json(document)
    else:
        _print(summary, records)
        if verification is not None:
            _print_checks(verification)
    if verification is not None and not verification.ok:
        raise IndexStateError(
            f"the index {as_given(index)!r} is damaged: {'; '.join(verification.problems)}. If the videos are still "
            "there, index them again into another directory"
        )


def _print(summary: IndexInfo, records: Sequence[VideoRecord]) -> None:
    facts = {
        "index": summary.path,
        "videos": f"{summary.videos} ({format_time(summary.duration_s)}), {summary.failed} unreadable",
        "moments": f"{summary.moments}, cut by {summary.cutting!r}, up to {summary.num_frames} frames each",
        "subtitles": f"{summary.cues} cues of {summary.subtitled} videos",
        "model": summary.model or "unnamed",
        "embedding": f"{summary.dim} dimensions, fingerprint {summary.fingerprint[:12]}",
        "decoding": f"keyframes within {summary.snap_s:g} s" if summary.snap_s else "exact frames",
        "size": f"{format_bytes(summary.size_bytes)}, format {summary.format_version}",
    }
    if summary.encoded:
        facts["encoded by"] = "; ".join(
            how
            + (
                f" (cosine to fp32 {told['frame_mean']:.5f}, smallest {told['frame_least']:.5f})"
                if told
                else ""
            )
            for how, told in summary.encoded.items()
        )
    if (cache := summary.cache) is not None:
        parts = [f"{cache.segments} of {cache.parts} parts, {format_bytes(cache.size_bytes)}"]
        parts += [f"codes of {cache.codes} moments"] if cache.codes else []
        parts += [f"scenes of {cache.scenes} moments"] if cache.scenes else []
        parts += [f"codes of the scenes of {cache.scene_codes}"] if cache.scene_codes else []
        parts += [f"codes of the frames of {cache.frame_codes}"] if cache.frame_codes else []
        parts += [f"{cache.uncached} moments are read from the table"] if cache.uncached else []
        facts["cache"] = ", ".join(parts)
    if summary.set_aside:
        facts["set aside"] = (
            f"{summary.set_aside} damaged or later manifests, in set-aside/; they may be deleted"
        )
    if summary.published:
        facts["published"] = ", ".join(
            f"{one.tag} ({time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(one.published_at_s))})"
            for one in summary.published
        )
    for name, value in facts.items():
        say(f"{name:>10}  {value}")
    for record in records:
        if record.status == "ok":
            length = format_time(record.duration_s or 0.0)
            say(f"{length:>10}  {record.width} x {record.height} {record.codec}  {one_line(record.uri)}")
        else:
            say(f"{'unreadable':>10}  {one_line(record.uri)}: {record.error}")


def _print_checks(verification: Verification) -> None:
    for check in verification.checks:
        say(f"{'FAIL' if check.problems else 'ok':>10}  {check.name} ({check.examined})")
