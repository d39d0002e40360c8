"""``framesift index``."""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import DecodeError, InputError
from .output import INDEX_OPTION, JSON_OPTION, ProgressLine, emit_json, talk

if TYPE_CHECKING:
    from ..index import Index
    from ..index.build import BuildReport, Progress

__all__ = ["EXAMPLES", "Moments", "index", "progress_reporter"]

EXAMPLES = """Examples: `framesift index ~/Videos` makes framesift.index in this directory, with CLIP ViT-B/32.
`framesift index a.mp4 clips/ -i my.index -m openai/clip-vit-large-patch14` uses another place and model.
`framesift index ~/Videos --prune` also forgets files that are gone. Run it again any time: known files are skipped.
`framesift index --prune` only forgets, `framesift index --compact` only tidies up."""


NO_SPINNING = ("GOMP_SPINCOUNT", "0")
"""For GNU OpenMP, which PyTorch's CPU builds use."""


class Moments(StrEnum):
    """How videos are cut."""

    auto = "auto"
    whole = "whole"
    shots = "shots"


class Precision(StrEnum):
    """Arithmetic of the encoder."""

    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


def index(
    paths: list[Path] | None = typer.Argument(
        None, help="Videos, and folders to search for them.", metavar="PATH..."
    ),
    index: Path = INDEX_OPTION,
    model: str | None = typer.Option(
        None,
        "--model",
        "-m",
        help="A bundled model, a model directory or a Hugging Face id. Default: the index's own, or CLIP ViT-B/32 "
        "for a new index.",
    ),
    moments: Moments | None = typer.Option(
        None,
        help="whole: a video is one moment. shots: cut where the picture changes. auto (default): whole below a "
        "minute, else shots. Fixed when the index is made.",
    ),
    prune: bool = typer.Option(
        False, "--prune", help="Forget indexed files that are no longer there. Needs no PATH."
    ),
    compact: bool = typer.Option(
        False,
        "--compact",
        help="Merge small data files and drop earlier versions. Happens by itself in large builds. Needs no PATH.",
    ),
    snap: float | None = typer.Option(
        None,
        min=0.0,
        metavar="SECONDS",
        help="Faster, not exact: decode keyframes up to so many seconds away (0.5, say) instead of the frames "
        "themselves. Fixed when the index is made.",
    ),
    retry_failed: bool = typer.Option(
        False, "--retry-failed", help="Try files again that could not be read, though they have not changed."
    ),
    workers: int | None = typer.Option(None, min=0, help="Decoding processes. Default: one a core."),
    timeout: float = typer.Option(300.0, min=1.0, help="Seconds after which a file is given up."),
    memory: int = typer.Option(
        1024, min=256, metavar="MIB", help="Memory to decode a file in, after which it is given up."
    ),
    device: str = typer.Option("auto", help="auto, cpu, cuda or cuda:N."),
    precision: Precision = typer.Option(Precision.fp32, help="Arithmetic of the encoder; fp16 on CUDA only."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Index videos, so that they can be searched."""
    # Before torch is loaded: its idle threads would otherwise spin on cores that the decoding processes need.
    os.environ.setdefault(*NO_SPINNING)
    from ..index import Index
    from ..index.build import BuildConfig
    from ..index.files import check_paths

    if not paths and not (prune or compact):
        raise InputError(
            "say what to index: framesift index PATH... (only --prune and --compact do without; see --help)"
        )
    # first: a mistyped path shall neither fetch a model nor leave an empty index behind
    check_paths(paths or [])
    if paths:
        opened = _open_or_create(index, model, moments, snap, device=device, precision=precision)
    else:
        opened = Index.open(index)
    with opened, ProgressLine("indexing", quiet=as_json) as line:
        config = BuildConfig(
            workers=workers, timeout_s=timeout, memory_bytes=memory * 2**20, retry_failed=retry_failed
        )
        report = opened.add(paths, progress=progress_reporter(line), config=config) if paths else None
        pruned = opened.prune() if prune else []
        if compact:
            opened.compact()
        total = opened.info()
    if as_json:
        emit_json({**(report.to_dict() if report else {}), "pruned": pruned, "index": total.to_dict()})
    else:
        if report is not None:
            _tell(report)
        if prune:
            talk(f"{len(pruned)} forgotten")
        talk(f"{str(index)!r} holds {total.videos} videos in {total.moments} moments")
    if report is not None and report.failed:
        raise typer.Exit(DecodeError.exit_code)


def _tell(report: BuildReport) -> None:
    for failure in report.failed:
        talk(str(failure))
    parts = [f"{report.added} added"]
    parts += [f"{count} {word}" for word, count in _rest(report) if count]
    talk(f"{', '.join(parts)} in {report.elapsed_s:.1f} s")
    if not report.skipped + report.added + report.replaced + report.moved + len(report.failed):
        talk("note: no video files were found; a file with an unusual extension has to be named itself")


def _rest(report: BuildReport) -> list[tuple[str, int]]:
    return [
        ("replaced", report.replaced),
        ("moved", report.moved),
        ("known already", report.skipped - report.known_failures),
        ("known to be unreadable", report.known_failures),
        ("unreadable", len(report.failed)),
    ]


def progress_reporter(line: ProgressLine) -> Callable[[Progress], None]:
    """A callback for :meth:`framesift.Index.add` that draws on ``line``."""

    def update(progress: Progress) -> None:
        failed = f", {progress.failed} unreadable" if progress.failed else ""
        line.update(progress.done, progress.total, eta_s=progress.eta_s, note=failed)

    return update


def _open_or_create(
    path: Path,
    name: str | None,
    moments: Moments | None,
    snap_s: float | None,
    *,
    device: str,
    precision: Precision,
) -> Index:
    from ..hub import DEFAULT_MODEL, load
    from ..index import Index
    from ..index.schema import META_NAME

    if os.path.exists(path / META_NAME):  # False, not an error, where the path cannot even be looked at
        kept = Index.open(path)
        if moments is not None and moments.value != kept.info().cutting:
            raise InputError(
                f"the index {str(path)!r} cuts videos by {kept.info().cutting!r}; "
                f"for --moments {moments.value} make another index"
            )
        if snap_s is not None and snap_s != kept.info().snap_s:
            raise InputError(
                f"the index {str(path)!r} was made with --snap {kept.info().snap_s:g}; "
                f"for --snap {snap_s:g} make another index"
            )
        reference = name or kept.info().model
        if reference is None:
            return kept
        return Index.open(path, model=load(reference, device=device, dtype=precision.value))
    if name is None:
        talk(f"note: no --model given; using {DEFAULT_MODEL} with softmax pooling, which needs no training")
    reference = name or DEFAULT_MODEL
    model = load(reference, device=device, dtype=precision.value)
    if model.name.startswith("storyboard-"):
        talk(f"note: {model.name} only knows drawn shapes; for other videos use a CLIP or SigLIP model")
    return Index.create(
        path,
        model=model,
        moments=(moments or Moments.auto).value,
        reference=reference,
        snap_s=snap_s or 0.0,
    )
