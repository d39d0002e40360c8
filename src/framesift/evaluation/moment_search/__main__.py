"""Measure rich search on Storyboard, and write ``moment-search.json``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ...errors import FramesiftError
from ...hub import load
from ...storyboard import standard
from ..results import write_result
from .absence import measure_absence
from .copies import measure_copies, measure_pictures
from .exclusion import measure_exclusion
from .galleries import seen
from .liking import measure_liking
from .moments import measure_moments
from .order import measure_order

RESULT = "moment-search"
MODELS = ("storyboard-xpool", "storyboard-clip", "storyboard-xclip")
METHOD = (
    "moments: mp4 files, an index cut into shots at one frame a second, and the searcher. copies: mp4 files, decoded."
    " All other parts: features of rendered frames, scored by the functions that the searcher calls. Intervals: 95 %"
    " over resampled queries, those of one pair or one video together; gains are of the same queries."
)


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the result."""
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    started = time.monotonic()
    share, start = options.share, options.start
    models = {name: load(name, device="cpu").eval() for name in MODELS}
    unfinished = options.output / f"{RESULT}.partial.json"
    result: dict[str, Any] = {"kind": "moment-search", "title": "Rich search on Storyboard", "method": METHOD}

    def part(name: str, measure: Callable[[], dict[str, Any]]) -> None:
        began = time.monotonic()
        result[name] = measure()
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        write_result(
            unfinished, result, seconds=time.monotonic() - started
        )  # what there is when it is cut off

    gallery = standard(max(50, round(450 * share)), start=start)
    galleries = seen(models, gallery.videos)
    part("order", lambda: measure_order(models, pairs=max(4, round(100 * share)), start=start))
    part("moments", lambda: measure_moments(models, videos=max(1, round(8 * share)), start=start))
    part("exclusion", lambda: measure_exclusion(galleries, gallery.videos))
    part("absence", lambda: measure_absence(galleries, gallery))
    part("liking", lambda: measure_liking(galleries, gallery))
    part("pictures", lambda: measure_pictures(galleries, gallery.videos, asked=max(5, round(100 * share))))
    part(
        "copies",
        lambda: measure_copies(
            models,
            galleries,
            gallery.videos,
            copied=max(2, round(30 * share)),
            pairs=max(2, round(12 * share)),
            start=start,
        ),
    )
    result["start"] = start
    write_result(options.output / f"{RESULT}.json", result, seconds=time.monotonic() - started)
    unfinished.unlink()


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m framesift.evaluation.moment_search", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("results"))
    parser.add_argument("--share", type=float, default=1.0, help="of the videos, for a quick look")
    parser.add_argument(
        "--start",
        type=int,
        default=0,
        help="first video of every slice: constants are chosen from 1000 on, results are published from 0",
    )
    parser.add_argument("--threads", type=int, default=1, help="processor cores")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    try:
        main()
    except FramesiftError as error:
        raise SystemExit(str(error)) from None
