"""Measure trained models on all slices of Storyboard, and continue where an earlier measurement was cut off.

Writes ``storyboard-slices.json`` and its picture; the answers of every model to every query are kept in
``storyboard-slices.partial`` beside them.
"""

from __future__ import annotations

import argparse
import inspect
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from ...errors import FramesiftError, suggest
from ...ranking import RERANK_DEPTH
from ...storyboard import SLICES, MomentSlice, Slice, content_hash, diversity, standard
from ..results import write_result
from ..storyboard import frames_of
from .answers import DIRECTIONS, Answered, Depths, answer
from .features import Features
from .plot import plot_pairs
from .runs import Run, find_runs, load_runs
from .summary import summarise_slice
from .windows import Windows

RESULT = "storyboard-slices"
DIVERSITY = "diversity"
SOURCES = ("pool", "gallery")
METHOD = (
    "Every number is a mean over seeds of the trained head; all models share encoders that were trained once, so the"
    " spread over seeds says nothing of another encoder. low and high: 95 % interval over resampled queries, all seeds"
    " of a query together; seed_low and seed_high: 95 % interval of the mean over seeds by Student's t. against: paired"
    " differences, this system minus the named one, each seed with the same seed or with the only one of the other,"
    " pooled, with p by sign flips of whole queries."
)


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the result."""
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    started = time.monotonic()
    runs = load_runs(find_runs(options.runs, options.systems), device=options.device)
    measured = measure(runs, options, options.output / f"{RESULT}.partial")
    result: dict[str, Any] = {
        "kind": "slices",
        "title": "All systems on all slices of Storyboard",
        "method": METHOD,
        "rerank_depth": {"CrossTVR": options.depth, "tightTransf": options.tight_depth or "whole gallery"},
        "slices": measured,
    }
    write_result(options.output / f"{RESULT}.json", result, seconds=time.monotonic() - started)
    plot_pairs(measured, options.output / f"{RESULT}.png")


def measure(runs: Sequence[Run], options: argparse.Namespace, partial: Path) -> dict[str, Any]:
    """All slices that were asked for, by name; answers are kept in ``partial`` as they come."""
    result: dict[str, Any] = {}
    depths = Depths(cross=options.depth, tight=options.tight_depth)
    held: tuple[str, frozenset[str], Features] | None = (
        None  # the first diversity slices show the same videos
    )
    for gallery in galleries(options.slices, options.foreign, share=options.videos_share):
        foreign = _foreign(gallery)
        directions = DIRECTIONS if foreign is None else DIRECTIONS[:1]
        asked = [
            run
            for run in runs
            if foreign is None or run.model.reranker is None or foreign in options.foreign_reranked
        ]
        folder = partial / gallery.name
        known = {run: Answered.read(folder, run, gallery, depths.of(run), directions) for run in asked}
        missing = [] if options.summarise else [run for run, one in known.items() if one is None]
        windows = None
        if missing:
            videos, wanted = content_hash(gallery.videos), frozenset(run.fingerprint for run in missing)
            if held is None or held[0] != videos or not wanted <= held[1] or foreign is None:
                held = None  # before the next features take its place in memory
                held = (videos, wanted, _features(gallery, missing))
            if isinstance(gallery, MomentSlice):
                windows = Windows(gallery, missing)
        for number, run in enumerate(missing, start=1):
            assert held is not None
            done = answer(run, gallery, held[2], depths=depths, directions=directions, windows=windows)
            done.write(folder)
            known[run] = done
            _say(gallery, run, done, f"{number} of {len(missing)}")
        by_system: dict[str, list[Answered]] = {}
        for run, one in known.items():
            if one is not None:
                by_system.setdefault(run.system, []).append(one)
        notes = [] if options.videos_share == 1 else [f"a share of {options.videos_share:g} of the videos"]
        if not by_system:
            continue
        result[gallery.name] = summarise_slice(gallery, by_system, notes=notes)
        if isinstance(gallery, MomentSlice):
            cuts = windows or Windows(gallery, [])
            result[gallery.name]["moments"] = {"searched": len(cuts), "ceiling": cuts.ceiling()}
    return result


def galleries(names: Sequence[str], foreign: Sequence[int], *, share: float) -> Iterator[Slice]:
    """Slices by name, the first videos of each; ``diversity`` with each number of foreign scenes from both sources."""
    for name in names:
        if name == DIVERSITY:
            base = standard(_count("standard", share))
            for number in foreign:
                for source in SOURCES:
                    yield diversity(base, number, source=source)
        else:
            yield SLICES[name](_count(name, share))


def _features(gallery: Slice, runs: Sequence[Run]) -> Features:
    return Features(runs, gallery.texts, lambda count: (frames_of(video, count) for video in gallery.videos))


def _count(name: str, share: float) -> int:
    full = inspect.signature(SLICES[name]).parameters["count"].default
    return max(2, round(share * full))


def _foreign(gallery: Slice) -> int | None:
    kind, _, rest = gallery.name.partition("-")
    return int(rest.split("-")[0]) if kind == DIVERSITY else None


def _say(gallery: Slice, run: Run, done: Answered, place: str) -> None:
    first = sum(rank == 1 for rank in done.ranks["t2v"]) / len(done.ranks["t2v"])
    pairs = done.choices.get("t2v")
    choice = f", pair accuracy {100 * sum(pairs) / len(pairs):.1f}" if pairs else ""
    text = f"{gallery.name}: {run.name}, seed {run.seed}: R@1 {100 * first:.1f}{choice}"
    print(f"{text} ({done.seconds:.1f} s, {place})", file=sys.stderr, flush=True)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m framesift.evaluation.storyboard_slices", description=__doc__
    )
    parser.add_argument("--runs", type=Path, required=True, help="folder of SYSTEM/seed-N/model")
    parser.add_argument("--output", type=Path, default=Path("results"))
    parser.add_argument("--slices", type=_names, default=[*SLICES, DIVERSITY], help="NAME,NAME; default: all")
    parser.add_argument("--systems", type=lambda text: text.split(","), help="folders in RUNS; default: all")
    parser.add_argument("--videos-share", type=_share, default=1.0, help="of every slice, for a quick look")
    parser.add_argument("--foreign", type=_numbers, default=list(range(9)), help="such as 0-8 or 0,4,8")
    parser.add_argument(
        "--foreign-reranked",
        type=_numbers,
        default=[0, 1, 2, 4, 6, 8],
        help="likewise, of models that rerank",
    )
    parser.add_argument("--depth", type=_positive, default=RERANK_DEPTH, help="candidates that CrossTVR sees")
    parser.add_argument(
        "--tight-depth", type=_positive, help="candidates that tightTransf sees; default: the whole gallery"
    )
    parser.add_argument(
        "--summarise", action="store_true", help="of what was measured before; measure nothing"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=_positive, default=1, help="processor cores")
    return parser.parse_args(arguments)


def _names(text: str) -> list[str]:
    names, known = text.split(","), [*SLICES, DIVERSITY]
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(
                f"no slice {name!r}{suggest(name, known)} (known: {', '.join(known)})"
            )
    return names


def _numbers(text: str) -> list[int]:
    try:
        found: set[int] = set()
        for part in text.split(","):
            first, dash, last = part.partition("-")
            found |= set(range(int(first), int(last if dash else first) + 1))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers; expected 0-8 or 0,4,8") from None
    return sorted(found)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a share of the videos, above 0 and at most 1")
    return share


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number of at least 1")
    return int(text)


if __name__ == "__main__":
    try:
        main()
    except FramesiftError as error:
        raise SystemExit(str(error)) from None
