"""``framesift index``."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import DecodeError, InputError
from .arithmetic import (
    BACKEND_OPTION,
    FORCE_OPTION,
    PRECISION_OPTION,
    BackendName,
    Precision,
    set_arithmetic,
)
from .output import INDEX_OPTION, JSON_OPTION, ProgressLine, as_given, emit_json, one_line, say, talk

if TYPE_CHECKING:
    from ..index import Index
    from ..index.build import BuildConfig, BuildReport, Progress
    from ..index.patterns import Patterns
    from ..index.watch import WatchEvent
    from ..jobs.cluster import Cluster

__all__ = ["EXAMPLES", "Moments", "index", "progress_reporter"]

EXAMPLES = """Examples: `framesift index ~/Videos` makes framesift.index in this directory, with CLIP ViT-B/32.
`framesift index a.mp4 clips/ -i my.index -m openai/clip-vit-large-patch14` uses another place and model.
`framesift index ~/Videos --prune` also forgets files that are gone. Run it again any time: known files are skipped.
`framesift index --prune` only forgets, `framesift index --compact` only tidies up.
`framesift index ~/Videos --include '*.mp4' --exclude 'raw/**'` takes a part of a folder; a .framesiftignore file in it
does the same for good. `framesift index ~/Videos --watch` goes on until Ctrl-C.
`framesift index /mnt/videos -i /mnt/my.index --ray 10.0.0.1:6379` has the nodes of a Ray cluster decode and encode."""


NO_SPINNING = ("GOMP_SPINCOUNT", "0")
"""For GNU OpenMP, which PyTorch's CPU builds use."""


class Moments(StrEnum):
    """How videos are cut."""

    auto = "auto"
    whole = "whole"
    shots = "shots"


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
    include: list[str] | None = typer.Option(
        None,
        "--include",
        metavar="PATTERN",
        help="Of the videos in a folder, take only those that match this pattern, or another --include. Patterns are "
        "those of .gitignore, relative to the PATH: '*.mp4', 'holidays/**'. Hidden files and folders are never taken.",
    ),
    exclude: list[str] | None = typer.Option(
        None,
        "--exclude",
        metavar="PATTERN",
        help="Leave out files and folders that match. What wins: a file named as PATH is taken in any case; then "
        "--exclude, then .framesiftignore files in the folders, the deepest first, then --include. What the index "
        "holds already stays, see --prune-excluded.",
    ),
    watch: bool = typer.Option(
        False,
        "--watch",
        help="Go on following the PATHs: index files that are new or change, forget those that are deleted, with a "
        "line for each, until Ctrl-C. A file is left alone while it grows; a folder that vanishes with its disk keeps "
        "its videos in the index. Waits while another process is writing to the index.",
    ),
    prune: bool = typer.Option(
        False, "--prune", help="Forget indexed files that are no longer there. Needs no PATH."
    ),
    prune_excluded: bool = typer.Option(
        False,
        "--prune-excluded",
        help="Forget indexed files below the PATHs that --include, --exclude or a .framesiftignore leave out now.",
    ),
    compact: bool = typer.Option(
        False,
        "--compact",
        help="Merge small data files and drop earlier versions. Happens by itself in large builds. Needs no PATH.",
    ),
    publish: str | None = typer.Option(
        None,
        "--publish",
        metavar="TAG",
        help="In the end, let this tag name the state of the index, as framesift publish does. Not with --watch.",
    ),
    refresh_cache: bool = typer.Option(
        False,
        "--refresh-cache",
        help="Build what makes searching a large index fast, as far as it is missing or damaged. Happens by itself "
        "from some thousand moments on, but for an index in an object store. Needs no PATH.",
    ),
    codes: bool | None = typer.Option(
        None,
        "--codes/--no-codes",
        help="With --refresh-cache: keep short codes of moments and their scenes for --candidates faiss from now on, "
        "or do not. Default: from 100,000 of either on.",
    ),
    frame_candidates: bool | None = typer.Option(
        None,
        "--frame-candidates/--no-frame-candidates",
        help="With --refresh-cache: keep short codes of frames for --candidates-by frame from now on, or do not. 64 "
        "bytes a frame, on the disk and in the memory of who searches so.",
    ),
    scenes: bool | None = typer.Option(
        None,
        "--scenes/--no-scenes",
        help="With --refresh-cache: keep the scenes of moments for --candidates-by scene from now on, or do not, which "
        "saves 1 to 5 KiB a moment. Default: keep them, unless the model of the index scores by the mean of frames.",
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
    workers: int | None = typer.Option(
        None,
        min=0,
        help="Decoding processes. Default: one a core; with --ray, one for each encoder on a node, which also takes so "
        "many of its CPUs.",
    ),
    timeout: float = typer.Option(300.0, min=1.0, help="Seconds after which a file is given up."),
    memory: int = typer.Option(
        1024, min=256, metavar="MIB", help="Memory to decode a file in, after which it is given up."
    ),
    device: str = typer.Option("auto", help="auto, cpu, cuda or cuda:N."),
    backend: BackendName | None = BACKEND_OPTION,
    precision: Precision | None = PRECISION_OPTION,
    force_precision: bool = FORCE_OPTION,
    ray: str | None = typer.Option(
        None,
        "--ray",
        metavar="HOST:PORT",
        help="Decode and encode on the Ray cluster whose head is there, and commit here. This machine must be one of "
        "its nodes, and all nodes must see the PATHs. Never starts a cluster. See docs/ray.md.",
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Index videos, so that they can be searched."""
    # Before torch is loaded: its idle threads would otherwise spin on cores that the decoding processes need.
    os.environ.setdefault(*NO_SPINNING)
    set_arithmetic(backend, precision, force_precision)
    from ..index import Index
    from ..index.build import BuildConfig
    from ..index.files import check_paths
    from ..index.own_model import reference_of
    from ..index.patterns import Patterns
    from ..index.published import check_tag_name

    if not paths and not (prune or compact or refresh_cache):
        raise InputError(
            "say what to index: framesift index PATH... (only --prune, --compact and --refresh-cache do without; see "
            "--help)"
        )
    if (codes, frame_candidates, scenes) != (None, None, None) and not refresh_cache:
        raise InputError(
            "--codes, --scenes and --frame-candidates say what the cache holds; add --refresh-cache"
        )
    if not paths and (watch or prune_excluded or include or exclude):
        raise InputError("--watch, --include, --exclude and --prune-excluded are about a PATH; name a folder")
    if ray is not None and (watch or not paths):
        raise InputError(
            "--ray is for PATHs that are indexed once; leave it out with --watch, or without a PATH"
        )
    if ray is not None and device.startswith("cuda:"):
        raise InputError(
            f"--device {device} with --ray: the cluster gives every encoder a GPU of its own; say --device cuda"
        )
    if publish is not None:
        check_tag_name(publish)
        if watch:
            raise InputError("--publish comes at the end of a build, and --watch has none; use one of them")
    # first: a mistyped path or pattern shall neither fetch a model nor leave an empty index behind
    check_paths(paths or [])
    patterns = Patterns.of(include or (), exclude or ())
    with ExitStack() as stack:
        # before an index is made that nothing would come into
        cluster = None if ray is None else stack.enter_context(_cluster(ray))
        if paths:
            opened = _open_or_create(
                index,
                model,
                moments,
                snap,
                device=device,
                on_cluster=cluster is not None,
            )
        else:
            opened = Index.open(index)
        stack.enter_context(opened)
        line = stack.enter_context(ProgressLine("indexing", quiet=as_json))
        config = BuildConfig(
            workers=workers, timeout_s=timeout, memory_bytes=memory * 2**20, retry_failed=retry_failed
        )
        pruned: list[str] = []

        def tidy() -> None:
            """After the build, which recognises moved files by rows that have lost theirs."""
            pruned.extend(opened.prune() if prune else [])
            if prune_excluded:
                left_out = opened.prune_excluded(
                    paths or [], include=patterns.include, exclude=patterns.exclude
                )
                pruned.extend(left_out)
            if compact:
                opened.compact()
            if refresh_cache:
                cached = opened.refresh_cache(codes=codes, frame_codes=frame_candidates, scenes=scenes)
                if not as_json:
                    parts = cached.built + cached.kept
                    talk(f"cache: {cached.built} of {parts} parts built in {cached.elapsed_s:.1f} s")
            if (prune or prune_excluded) and not as_json:
                talk(f"{len(pruned)} forgotten")

        if paths and watch:
            _watch(opened, paths, patterns, config, line, tidy, as_json=as_json)
            return
        report = None
        if paths:
            if cluster is None:
                add = opened.add
            else:
                from ..jobs import ray_index

                reference = reference_of(model or opened.info().model or "")
                loading = (
                    ray_index.Loading(
                        reference=reference,
                        device=device,
                        precision=(precision or Precision.fp32).value,
                        backend=(backend or BackendName.auto).value,
                        force=force_precision,
                    )
                    if reference
                    else None
                )
                add = partial(ray_index.add, opened, cluster=cluster, loading=loading)
            report = add(
                paths,
                include=patterns.include,
                exclude=patterns.exclude,
                progress=progress_reporter(line),
                config=config,
            )
            line.end()
            if not as_json:
                _tell(report)
        tidy()
        if publish is not None:
            opened.publish(publish)
        total = opened.info()
    if as_json:
        emit_json({**(report.to_dict() if report else {}), "pruned": pruned, "index": total.to_dict()})
    else:
        talk(f"{as_given(index)!r} holds {total.videos} videos in {total.moments} moments")
    if report is not None and report.failed:
        raise typer.Exit(DecodeError.exit_code)


@contextmanager
def _cluster(address: str) -> Generator[Cluster]:
    from ..jobs.cluster import UNGUARDED, connected

    with connected(address) as cluster:
        if not cluster.wants_token:
            talk(f"note: {UNGUARDED}")
        yield cluster


def _watch(
    opened: Index,
    paths: list[Path],
    patterns: Patterns,
    config: BuildConfig,
    line: ProgressLine,
    tidy: Callable[[], None],
    *,
    as_json: bool,
) -> None:
    """Follow the paths until an interrupt, which is how this is meant to end."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service is stopped so
    try:
        for event in opened.watch(
            paths,
            include=patterns.include,
            exclude=patterns.exclude,
            progress=progress_reporter(line),
            config=config,
        ):
            line.end()
            if as_json:
                say(json.dumps(event.to_dict(), default=str))
                sys.stdout.flush()  # a line for each event, when it happens
            elif event.report is not None:
                _tell(event.report)
            else:
                talk(_event_line(event))
            if event.kind == "built":
                tidy()
    except KeyboardInterrupt:
        line.end()
        if not as_json:
            talk("stopped; what was told above is in the index")


def _event_line(event: WatchEvent) -> str:
    match event.kind:
        case "watching":
            return "watching; Ctrl-C ends it"
        case "polling":
            return f"note: the system does not tell of changes ({event.detail}): looking through the folders instead"
        case "waiting":
            return f"waiting: {event.detail}"
        case "lost" | "back":
            where = "is gone" if event.kind == "lost" else "is back"
            return f"{one_line(event.path)} {where}" + (f"; {event.detail}" if event.detail else "")
        case _:
            return f"{event.kind}: {one_line(event.path)}" + (
                f" ({one_line(event.detail)})" if event.detail else ""
            )


def _tell(report: BuildReport) -> None:
    for failure in report.failed:
        talk(str(failure))
    for path, reason in report.subtitles.problems:
        talk(f"subtitles {path!r}: {reason}")
    parts = [f"{report.added} added"]
    parts += [f"{count} {word}" for word, count in _rest(report) if count]
    if report.subtitles.read:
        parts.append(f"subtitles of {len(report.subtitles.read)} read")
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
        if not progress.done and progress.total and progress.known:
            line.note(f"{progress.known} of {progress.known + progress.total} files are in the index already")
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
    on_cluster: bool,
) -> Index:
    """``on_cluster``: videos are encoded elsewhere; the model is only needed for what a new index notes of it."""
    from ..hub import DEFAULT_MODEL, load
    from ..index import Index
    from ..index.schema import IndexMeta

    if IndexMeta.exists(path):
        kept = Index.open(path)
        meta = IndexMeta.read(path)
        if moments is not None and moments.value != meta.moments:
            raise InputError(
                f"the index {str(path)!r} cuts videos by {meta.moments!r}; "
                f"for --moments {moments.value} make another index"
            )
        if snap_s is not None and snap_s != meta.snap_s:
            raise InputError(
                f"the index {str(path)!r} was made with --snap {meta.snap_s:g}; "
                f"for --snap {snap_s:g} make another index"
            )
        reference = name or meta.model
        if reference is None or on_cluster:
            return kept
        return Index.open(path, model=load(reference, device=device))
    if name is None:
        talk(f"note: no --model given; using {DEFAULT_MODEL} with softmax pooling, which needs no training")
    reference = name or DEFAULT_MODEL
    if on_cluster:
        model = load(reference, device="cpu", dtype="fp32", backend="torch")
    else:
        model = load(reference, device=device)
    if model.name.startswith("storyboard-"):
        talk(f"note: {model.name} only knows drawn shapes; for other videos use a CLIP or SigLIP model")
    return Index.create(
        path,
        model=model,
        moments=(moments or Moments.auto).value,
        reference=reference,
        snap_s=snap_s or 0.0,
    )
