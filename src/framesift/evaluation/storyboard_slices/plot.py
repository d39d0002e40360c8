"""The picture of the paired slices: pair accuracy of every system, with intervals and the line of chance.

Needs matplotlib: ``pip install 'framesift[plots]'``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..plots import ACCENT, COLORS, INK, pyplot

__all__ = ["plot_pairs"]

CHANCE = 50
LABELS = {"t2v": "of two videos, for a text", "v2t": "of two texts, for a video"}


def plot_pairs(slices: Mapping[str, Any], path: str | Path) -> None:
    """A panel for every paired slice; nothing is written where there is none.

    Args:
        slices: ``slices`` of the result file.
        path: a png or svg file.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    paired = {
        name: part["systems"]
        for name, part in slices.items()
        if any("t2v_pair" in system["mean"] for system in part["systems"].values())
    }
    if not paired:
        return
    plt = pyplot()
    names = list(dict.fromkeys(name for systems in paired.values() for name in systems))
    figure, grid = plt.subplots(
        1,
        len(paired),
        figsize=(2.6 + 2.0 * len(paired), 1.6 + 0.34 * len(names)),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    least = min(
        min(system["low"][f"{way}_pair"] for way in LABELS if f"{way}_pair" in system["low"])
        for systems in paired.values()
        for system in systems.values()
    )
    for axes, (title, systems) in zip(grid[0], paired.items(), strict=True):
        axes.axvline(CHANCE, color=ACCENT, linewidth=1.2, linestyle="--", label="chance", zorder=1)
        for shift, (way, label) in zip((-0.14, 0.14), LABELS.items(), strict=True):
            key = f"{way}_pair"
            rows = [place for place, name in enumerate(names) if key in systems.get(name, {}).get("mean", {})]
            held = [systems[names[row]] for row in rows]
            values = [one["mean"][key] for one in held]
            below = [max(0.0, value - one["low"][key]) for value, one in zip(values, held, strict=True)]
            above = [max(0.0, one["high"][key] - value) for value, one in zip(values, held, strict=True)]
            axes.errorbar(
                values,
                [row + shift for row in rows],
                xerr=[below, above],
                fmt="o" if way == "t2v" else "s",
                color=COLORS[0] if way == "t2v" else COLORS[1],
                markersize=4,
                elinewidth=1.1,
                label=label,
                zorder=2,
            )
        axes.set_title(title, fontsize=10, color=INK)
        axes.set_xlim(min(40.0, least - 3), 103)
        axes.set_xticks([CHANCE, 75, 100])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    grid[0][0].set_yticks(range(len(names)), names, fontsize=9)
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    figure.suptitle("How often the right one of two is chosen, % (95 % interval)", fontsize=11, color=INK)
    figure.savefig(path, dpi=130)
    plt.close(figure)
