"""Pictures of results: the diversity curve of X-Pool's Figure 4, and search results with their attention.

Needs matplotlib: ``pip install 'framesift[plots]'``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MissingExtraError
from ..ranking import Hit

__all__ = ["plot_diversity", "plot_hits"]

INK = "#1f2933"
ACCENT = "#d64545"


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise MissingExtraError("matplotlib", "plots") from None
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def plot_diversity(
    results: Mapping[str, Mapping[int, Mapping[str, float]]], path: str | Path, *, title: str
) -> None:
    """Median rank and R@1 against the number of foreign scenes.

    Args:
        results: matcher -> number of foreign scenes -> ``median_rank``, ``r1``, ``r1_low``, ``r1_high``.
        path: a png or svg file.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    plt = _pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for number, (name, rows) in enumerate(results.items()):
        foreign = sorted(rows)
        style = {"marker": "osD^v"[number % 5], "markersize": 4, "label": name}
        left.plot(foreign, [rows[n]["median_rank"] for n in foreign], **style)
        recall = [rows[n]["r1"] for n in foreign]
        (line,) = right.plot(foreign, recall, **style)
        low, high = ([rows[n][key] for n in foreign] for key in ("r1_low", "r1_high"))
        right.fill_between(foreign, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
    left.set_ylabel("median rank, text to video (lower is better)")
    left.set_ylim(bottom=0)
    right.set_ylabel("R@1, text to video, % (95 % interval)")
    right.set_ylim(bottom=0)
    for axes in (left, right):
        axes.set_xlabel("foreign scenes in every video")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def plot_hits(query: str, hits: Sequence[Hit], frames: Sequence[np.ndarray], path: str | Path) -> None:
    """A search result as a picture: a row of frames for every hit, with a bar of attention below each frame.

    Args:
        frames: for every hit its frames, uint8 ``[frame, height, width, 3]``.
        path: a png file.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    plt = _pyplot()
    columns = max(len(pixels) for pixels in frames)
    height = 1.75 * len(hits) + 0.4
    figure = plt.figure(figsize=(0.95 * columns + 0.2, height))
    rows = figure.add_gridspec(
        len(hits), 1, left=0.01, right=0.99, bottom=0.2 / height, top=1 - 0.65 / height, hspace=0.32
    )
    for row, (hit, pixels) in enumerate(zip(hits, frames, strict=True)):
        top = max(hit.attention)
        grid = rows[row].subgridspec(2, columns, height_ratios=[3, 1], hspace=0.02, wspace=0.06)
        for column, (picture, weight, time_s) in enumerate(
            zip(pixels, hit.attention, hit.frame_times_s, strict=True)
        ):
            axes = figure.add_subplot(grid[0, column])
            axes.imshow(picture)
            axes.set_xticks([])
            axes.set_yticks([])
            strong = weight > 0.5 * top
            for spine in axes.spines.values():
                spine.set_color(ACCENT if strong else "#cbd2d9")
                spine.set_linewidth(2.2 if strong else 0.6)
            if column == 0:
                start, end = hit.focus_s
                file = Path(hit.video).name
                label = (
                    f"{hit.rank}.  {file}   score {hit.score:.2f}   text attends to {start:.1f}-{end:.1f} s"
                )
                axes.text(0, 1.07, label, transform=axes.transAxes, fontsize=9, color=INK)
            bars = figure.add_subplot(grid[1, column])
            bars.bar([0], [weight], color=ACCENT if strong else "#9aa5b1", width=0.8)
            bars.set_ylim(0, top * 1.05)
            bars.set_xlim(-0.5, 0.5)
            bars.axis("off")
            bars.text(0, 0, f"{time_s:.1f}", ha="center", va="top", fontsize=6, color=INK)
    figure.suptitle(f"“{query}”", fontsize=12, color=INK, x=0.01, y=1 - 0.08 / height, ha="left", va="top")
    figure.savefig(path, dpi=110)
    plt.close(figure)
