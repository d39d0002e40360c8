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

__all__ = ["plot_diversity", "plot_experiment", "plot_hits", "pyplot"]

INK = "#1f2933"
ACCENT = "#d64545"

COLORS = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#d55e00",
    "#7f7f7f",
    "#000000",
    "#a6761d",
    "#6a3d9a",
)
"""Okabe and Ito's colours, which colour-blind readers tell apart, and three more for long legends."""

MARKERS = "osD^vP*Xdh"


def pyplot() -> Any:
    """matplotlib.pyplot, drawing to files alone."""
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
    plt = pyplot()
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


def plot_experiment(result: Mapping[str, Any], path: str | Path) -> None:
    """The picture of an experiment's result (:mod:`.experiments`): a panel for every y axis, one legend.

    Args:
        result: the content of a result file of kind ``experiment``.
        path: a png or svg file.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    plt = pyplot()
    panels = [result, *result["panels"]]
    chart, labels = result["chart"], result["x"]["values"]
    names = list(dict.fromkeys(one["name"] for panel in panels for one in panel["series"]))
    measured = [
        name
        for name in names
        if not any(one["reference"] for panel in panels for one in panel["series"] if one["name"] == name)
    ]
    width = max(6.4, 0.5 * len(labels) * len(measured) / 2 if chart == "bar" else 0.0, 4.8 * len(panels))
    rows = -(-len(names) // 3)
    height = 4.0 + 0.2 * rows
    figure, grid = plt.subplots(
        1, len(panels), figsize=(min(width, 14), height), layout="constrained", squeeze=False
    )
    for axes, panel in zip(grid[0], panels, strict=True):
        draw = {"line": _draw_lines, "bar": _draw_bars, "dot": _draw_dots}[chart]
        draw(axes, labels, panel["series"], measured)
        better = panel["y"]["better"]
        axes.set_ylabel(panel["y"]["label"] + (f"\n({better} is better)" if better else ""))
        axes.set_xlabel(result["x"]["label"])
        axes.set_ylim(bottom=0)
        axes.grid(axis="y" if chart == "bar" else "both", alpha=0.3)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    if len(names) > 1:
        handles: dict[str, Any] = {}
        for axes in grid[0]:
            handles |= {
                label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
            }
        columns = min(3, len(handles))
        figure.legend(
            handles.values(),
            handles.keys(),
            loc="outside lower center",
            ncols=columns,
            frameon=False,
            fontsize=9,
        )
    figure.suptitle(f"{result['title']} ({result['source']})", fontsize=11, color=INK)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _draw_lines(
    axes: Any, labels: Sequence[Any], series: Sequence[Mapping[str, Any]], names: list[str]
) -> None:
    references = 0
    for one in series:
        known = [(x, y) for x, y in zip(labels, one["values"], strict=True) if y is not None]
        if one["reference"]:
            dashes = ("--", ":", "-.")[references % 3]
            references += 1
            axes.plot(*zip(*known, strict=True), dashes, color="#52606d", linewidth=1.4, label=one["name"])
            continue
        if not known:
            continue
        place = names.index(one["name"])
        color = COLORS[place % len(COLORS)]
        marker = MARKERS[place % len(MARKERS)]
        axes.plot(*zip(*known, strict=True), color=color, marker=marker, markersize=4.5, label=one["name"])
        if one["low"] is not None:
            low, high = ([y for y in one[key] if y is not None] for key in ("low", "high"))
            axes.fill_between([x for x, _ in known], low, high, color=color, alpha=0.13, linewidth=0)
    if len(labels) <= 24 and all(isinstance(x, int) for x in labels):
        axes.set_xticks(labels)


def _draw_bars(
    axes: Any, labels: Sequence[Any], series: Sequence[Mapping[str, Any]], names: list[str]
) -> None:
    share = 0.8 / max(1, len(series))
    for number, one in enumerate(series):
        places = [x + share * (number - (len(series) - 1) / 2) for x in range(len(labels))]
        known = [row for row in range(len(labels)) if one["values"][row] is not None]
        values = [one["values"][row] for row in known]
        color = "#9aa5b1" if one["reference"] else COLORS[names.index(one["name"]) % len(COLORS)]
        axes.bar([places[row] for row in known], values, share * 0.94, color=color, label=one["name"])
        if one["low"] is not None:
            below = [one["values"][row] - one["low"][row] for row in known]
            above = [one["high"][row] - one["values"][row] for row in known]
            style = {"fmt": "none", "ecolor": INK, "elinewidth": 1.0, "capsize": 2}
            axes.errorbar([places[row] for row in known], values, [below, above], **style)
    words = [str(label) for label in labels]
    long = max(map(len, words)) * len(words) > 60
    axes.set_xticks(range(len(labels)), words, rotation=30 if long else 0, ha="right" if long else "center")


def _draw_dots(
    axes: Any, labels: Sequence[Any], series: Sequence[Mapping[str, Any]], names: list[str]
) -> None:
    from matplotlib.ticker import LogLocator, ScalarFormatter

    axes.set_xscale("log")
    best: list[tuple[float, float]] = []
    for one in series:
        row = next(row for row, value in enumerate(one["values"]) if value is not None)
        x, y = float(labels[row]), float(one["values"][row])
        place = names.index(one["name"])
        color, marker = COLORS[place % len(COLORS)], MARKERS[place % len(MARKERS)]
        if one["low"] is not None:
            error = [[y - one["low"][row]], [one["high"][row] - y]]
            axes.errorbar([x], [y], error, fmt="none", ecolor=color, elinewidth=1.0, alpha=0.6)
        edge: dict[str, Any] = {}
        if "Pareto-best" in one["name"]:
            edge = {"markeredgecolor": INK, "markeredgewidth": 1.6}
            best.append((x, y))
        axes.plot([x], [y], marker, color=color, markersize=9, linestyle="", label=one["name"], **edge)
    best.sort()
    axes.plot(*zip(*best, strict=True), color="#9aa5b1", linewidth=1.0, zorder=0, drawstyle="steps-post")
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.minorticks_off()


def plot_hits(query: str, hits: Sequence[Hit], frames: Sequence[np.ndarray], path: str | Path) -> None:
    """A search result as a picture: a row of frames for every hit, with a bar of attention below each frame.

    Args:
        frames: for every hit its frames, uint8 ``[frame, height, width, 3]``.
        path: a png file.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    plt = pyplot()
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
