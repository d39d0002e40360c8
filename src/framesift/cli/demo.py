"""``framesift demo``: the whole product once, offline, on videos that it renders itself."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import IndexStateError, InputError
from .indexing import progress_reporter
from .output import HIT_HEADER, JSON_OPTION, ProgressLine, emit_json, format_hit, format_time, say, talk

if TYPE_CHECKING:
    from ..index import Index
    from ..storyboard import Caption, Slice

__all__ = ["EXAMPLES", "demo", "prepare_demo"]

EXAMPLES = """Examples: `framesift demo` renders, indexes, searches and measures; a second run takes seconds.
`framesift demo "a red circle bounces" "a star falls at night"` asks these questions instead."""

MODEL = "storyboard-xpool"
NUM_QUERIES = 5
RENDER_CHUNK = 8


def demo(
    queries: list[str] | None = typer.Argument(
        None, help="Questions to ask instead of the five of the demo."
    ),
    folder: Path | None = typer.Option(
        None, help="Where the videos and their index are kept. Default: framesift/demo in the user's cache."
    ),
    videos: int = typer.Option(240, min=1, max=10_000, help="Videos in the library."),
    k: int = typer.Option(3, "-k", min=1, help="Results for each query."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Render a small video library, index it, search it, and measure two matchers on it; offline."""
    from ..storyboard import standard

    started = time.monotonic()
    folder = (folder or _cache_folder() / f"demo-{videos}").absolute()
    gallery = standard(videos)
    opened, paths = prepare_demo(gallery, folder, quiet=as_json)
    with opened:
        asked = _ask(opened, gallery, paths, queries, k=k, as_json=as_json)
        measured = _measure(opened, gallery, paths)
    if as_json:
        emit_json({"folder": str(folder), "videos": videos, "queries": asked, "results": measured})
        return
    say(f"\n{videos} texts against {videos} videos (Storyboard test split, slice 'standard'):")
    say(f"{'matcher':<12} {'t2v R@1':>8} {'R@5':>6} {'R@10':>6} {'MdR':>5} {'v2t R@1':>9}")
    for name, row in measured.items():
        t2v, v2t = row["t2v"], row["v2t"]
        recall = t2v["recall_at"]
        say(
            f"{name:<12} {recall['1']:8.1f} {recall['5']:6.1f} {recall['10']:6.1f} {t2v['median_rank']:5.1f} "
            f"{v2t['recall_at']['1']:9.1f}"
        )
    talk(f"\ndone in {time.monotonic() - started:.0f} s; the library and its index are in {str(folder)!r}")
    talk(f'your turn: framesift search "a red star on grass" --index {opened.path}')


def prepare_demo(gallery: Slice, folder: Path | None = None, *, quiet: bool) -> tuple[Index, list[Path]]:
    """The demo's library, rendered and indexed where it is not yet: its open index, and the videos' paths.

    Raises:
        InputError: the folder cannot be written to.
    """
    folder = (folder or _cache_folder() / f"demo-{len(gallery.videos)}").absolute()
    paths = _render(gallery, folder / "videos", quiet=quiet)
    opened = _open(folder / "index")
    with ProgressLine("indexing", quiet=quiet) as line:
        report = opened.add(paths, progress=progress_reporter(line))
    if not quiet:
        talk(f"{report.added} videos indexed, {report.skipped} known already")
    return opened, paths


def _open(place: Path) -> Index:
    """The demo's index; another one beside it where an earlier framesift, of another model or layout, left one."""
    from ..hub import load
    from ..index import Index
    from ..index.schema import META_NAME

    model = load(MODEL)
    if os.path.exists(place / META_NAME):
        try:
            return Index.open(place, model=model)
        except IndexStateError:
            place = place.with_name(f"{place.name}-{model.fingerprint()[:12]}")
    if os.path.exists(place / META_NAME):
        return Index.open(place, model=model)
    return Index.create(place, model=model, moments="whole")


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "framesift"


def _render(gallery: Slice, folder: Path, *, quiet: bool) -> list[Path]:
    """The mp4 files of the gallery, rendered by all cores where they are missing."""
    from ..storyboard import video_name, write_captions
    from ..video import available_cores

    paths = [folder / video_name(video) for video in gallery.videos]
    missing = [video.seed for video, path in zip(gallery.videos, paths, strict=True) if not path.exists()]
    if not missing:
        return paths
    chunks = [missing[start : start + RENDER_CHUNK] for start in range(0, len(missing), RENDER_CHUNK)]
    started = time.monotonic()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_captions(gallery.videos, folder)
        pool = ProcessPoolExecutor(
            available_cores(),
            mp_context=get_context("spawn"),
            initializer=signal.signal,  # Ctrl-C is for this process: the others would print a traceback each
            initargs=(signal.SIGINT, signal.SIG_IGN),
        )
        with pool, ProgressLine("rendering", quiet=quiet) as line:
            done = 0
            for rendered in pool.map(_render_chunk, chunks, [folder] * len(chunks)):
                done += rendered
                spent = time.monotonic() - started
                line.update(done, len(missing), eta_s=spent / done * (len(missing) - done))
    except OSError as error:
        raise InputError(
            f"cannot write to {str(folder)!r}: {error.strerror or error}; choose another place with --folder"
        ) from None
    if not quiet:
        talk(f"rendered {len(missing)} videos in {time.monotonic() - started:.0f} s")
    return paths


def _render_chunk(seeds: list[int], folder: Path) -> int:
    from ..storyboard import draw_storyboard, write_videos

    return len(write_videos([draw_storyboard(seed) for seed in seeds], folder))


def _chosen(gallery: Slice) -> list[int]:
    """Five queries of the gallery: about objects, scenes, events and orders, in videos of several scenes."""
    wanted = ("scene", "order", "scene", "object", "order")
    chosen: list[int] = []
    for kind in wanted:
        for row, (caption, video) in enumerate(zip(gallery.captions, gallery.videos, strict=True)):
            if caption.kind == kind and row not in chosen and len(video.scenes) > 1:
                chosen.append(row)
                break
    return chosen


def _ask(
    opened: Index, gallery: Slice, paths: list[Path], queries: list[str] | None, *, k: int, as_json: bool
) -> list[dict[str, Any]]:
    asked: list[tuple[str, Caption | None, Path | None]]
    if queries:
        asked = [(query, None, None) for query in queries]
    else:
        rows = _chosen(gallery)
        asked = [(gallery.captions[row].text, gallery.captions[row], paths[row]) for row in rows]
    answers: list[dict[str, Any]] = []
    for query, caption, path in asked:
        hits = opened.search(query, k=k)
        answer: dict[str, Any] = {"query": query, "hits": [hit.to_dict() for hit in hits]}
        if caption is not None:
            answer["truth"] = {"video": str(path), "start_s": caption.start_s, "end_s": caption.end_s}
        answers.append(answer)
        if as_json:
            continue
        say(f'\n"{query}"')
        if caption is not None and path is not None:
            say(
                f"  the text was written for {format_time(caption.start_s)}-{format_time(caption.end_s)} of {path.name}"
            )
        say(HIT_HEADER)
        for hit in hits:
            name = Path(hit.video).name
            right = path is not None and name == path.name
            say(format_hit(hit, name=f"{name}  <- this one" if right else name))
    return answers


def _measure(opened: Index, gallery: Slice, paths: list[Path]) -> dict[str, Any]:
    """Both matchers on the stored features of the gallery: evaluation is search over all of it."""
    from ..evaluation import evaluate
    from ..matchers import MeanPool

    video = opened.features(paths)
    text = opened.model.encode_text(gallery.texts)
    matchers = {"mean-pool": MeanPool(), "X-Pool": opened.model.matcher}
    return {
        name: evaluate(matcher, text, video, relevance=gallery.relevance).to_dict()
        for name, matcher in matchers.items()
    }
