"""The tables of docs/search-quality.md, from results/moment-search.json alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["blocks"]

SHORT = {"storyboard-xpool": "X-Pool", "storyboard-clip": "mean pooling", "storyboard-xclip": "X-CLIP"}


def blocks(data: Mapping[str, Any]) -> dict[str, str]:
    """Every block of the page, by its name."""
    return {
        "moments": moments(data["moments"]),
        "order": order(data["order"]),
        "exclusion": exclusion(data["exclusion"]),
        "absence": absence(data["absence"]),
        "liking": liking(data["liking"]),
        "pictures": pictures(data["pictures"]),
        "copies": copies(data["copies"]),
    }


def table(corner: str, columns: list[str], rows: Mapping[str, list[str]]) -> str:
    """A table of Markdown."""
    lines = [f"| {corner} | " + " | ".join(columns) + " |", "|---" * (1 + len(columns)) + "|"]
    return "\n".join([*lines, *(f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items())])


Shown = Mapping[str, Callable[[Mapping[str, Any]], str]]


def by_model(
    models: Mapping[str, Any],
    corner: str,
    quantities: Shown,
    of: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda held: held,
) -> str:
    """A table for every model: a row for every way, a column for each quantity."""
    parts: list[str] = []
    for name, held in models.items():
        rows = {way: [show(values) for show in quantities.values()] for way, values in of(held).items()}
        parts.append(table(f"{SHORT[name]}: {corner}", list(quantities), rows))
    return "\n\n".join(parts)


def change(held: Mapping[str, float], places: int = 1) -> str:
    """A difference with its interval."""
    return f"{held['value']:+.{places}f} ({held['low']:+.{places}f} to {held['high']:+.{places}f})"


def percent(value: float) -> str:
    return f"{value:.1f}"


def moments(data: Mapping[str, Any]) -> str:
    """R@1 of moments by IoU."""
    where = {"video": "in its video", "gallery": "in the whole index"}
    least = list(data["ceiling"])

    def told(held: Mapping[str, Any]) -> str:
        low, high = held["interval"]
        return f"{held['r1']:.1f} ({low:.0f}–{high:.0f})"

    rows = {
        f"{SHORT[name]}, {place}": [
            *(told(held[part][iou]) for iou in least),
            percent(held[part]["right_video"]),
        ]
        for name, held in data["models"].items()
        for part, place in where.items()
    }
    rows["best moment of the index"] = [*(percent(data["ceiling"][iou]) for iou in least), "100.0"]
    head = f"{data['texts']} texts, {data['videos']} videos, cut into {data['moments']} moments. R@1, %:"
    return f"{head}\n\n{table('model', [*(f'IoU {iou}' for iou in least), 'right video'], rows)}"


def order(data: Mapping[str, Any]) -> str:
    """Pairs of videos of the same two scenes."""
    shown = {
        "R@1, %": lambda way: percent(way["r1"]),
        "gain": lambda way: change(way["r1_gain"]),
        "right one of two, %": lambda way: percent(way["pair"]),
    }
    parts = [f"{data['videos']} videos, a caption each."]
    for name, models in data["galleries"].items():
        parts += [f"**The two scenes {name}**", by_model(models, "asked as", shown)]
    return "\n\n".join(parts)


def exclusion(data: Mapping[str, Any]) -> str:
    """Negative terms."""
    shown = {
        "AP": lambda way: percent(way["ap"]),
        "change of AP": lambda way: change(way["ap_gain"]),
        "barred in the first ten, %": lambda way: percent(way["barred_in_first_ten"]),
        "wanted before barred, %": lambda way: percent(way["in_order"]),
        "order kept": lambda way: f"{way['order_kept']:.2f}",
    }
    tables = by_model(data["models"], "negative term", shown)
    return f"{data['questions']} questions to {data['videos']} videos.\n\n{tables}"


def absence(data: Mapping[str, Any]) -> str:
    """Queries with and without an answer."""
    shown: Shown = {
        "taken out": lambda way: percent(way["taken_out"]),
        **{
            f"of {size}": lambda way, size=size: percent(way["taken_out_by_size"][str(size)])
            for size in data["sizes"]
        },
        "everyday": lambda way: percent(way["everyday"]),
    }
    said = {
        SHORT[name]: [
            *(percent(held["said_empty"][kind]) for kind in ("there", "taken out", "everyday")),
            percent(held["precision"]),
        ]
        for name, held in data["models"].items()
    }
    first = by_model(data["models"], "signal: AUC, %", shown, of=lambda held: held["auc"])
    columns = ["answer is there", "answer taken out", "everyday sentence", "precision among captions"]
    return f"{first}\n\n{table('said that nothing fits, %', columns, said)}"


def liking(data: Mapping[str, Any]) -> str:
    """Feedback."""
    models = data["models"]
    one = {
        "median rank": lambda way: f"{way['median_rank']:.0f}",
        "R@5, %": lambda way: percent(way["r5"]),
        "log2 of rank": lambda way: change(way["log2_rank"], 2),
    }
    several = {"AP of the rest": lambda way: percent(way["ap"]), "change": lambda way: change(way["ap_gain"])}

    def asked(kind: str) -> str:
        return ", ".join(f"{SHORT[name]} {held[kind]['queries']}" for name, held in models.items())

    parts = [
        f"**One answer** (queries: {asked('one answer')})",
        by_model(models, "feedback", one, of=lambda held: held["one answer"]["ways"]),
        f"**Several answers** (queries: {asked('several answers')})",
        by_model(models, "feedback", several, of=lambda held: held["several answers"]["ways"]),
    ]
    return "\n\n".join(parts)


def pictures(data: Mapping[str, Any]) -> str:
    """Pictures as queries."""
    models = data["models"]
    ways = max(models.values(), key=len)
    rows = {way: [percent(held[way]) if way in held else "–" for held in models.values()] for way in ways}
    return table(f"{data['pictures']} pictures: R@1, %", [SHORT[name] for name in models], rows)


def copies(data: Mapping[str, Any]) -> str:
    """Copies and what looks like them; the first model speaks for all that share its features."""
    held = next(iter(data["models"].values()))
    least = list(next(iter(held["copies"].values()))["taken"])
    rows = {
        name: [f"{found['median']:.4f}", *(percent(found["taken"][limit]) for limit in least)]
        for part in ("copies", "different")
        for name, found in held[part].items()
    }
    columns = ["median distance", *(f"taken for a copy at {limit}, %" for limit in least)]
    nearest = f"The two nearest different videos of the gallery are {held['nearest_different']:.3f} apart."
    return f"{table('', columns, rows)}\n\n{nearest}"
