"""Draw the picture of README.md from a real search: ``python docs/make_picture.py`` after ``framesift demo``."""

from __future__ import annotations

import sys
from pathlib import Path

from framesift import Index, Uniform, decode
from framesift.evaluation.plots import plot_hits


def main(index: str, query: str, output: str) -> None:
    """Search ``index`` and draw the three best results."""
    with Index.open(index) as opened:
        hits = opened.search(query, k=3)
        count = opened.info().num_frames
    frames = [decode(hit.video, Uniform(num_frames=count)).pixels for hit in hits]
    plot_hits(query, hits, frames, Path(output))


if __name__ == "__main__":
    main(*sys.argv[1:4])
