"""Experiments and benchmarks of speed: charts of what was varied, tables of ratios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from .axes import Series
from .bars import bar_chart
from .blocks import Block, Cell, Chart, Column, Folded, Note, Table
from .charts import dot_chart, line_chart
from .numbers import as_number, as_words, show
from .plain import plain_blocks, table_of

__all__ = ["benchmark_blocks", "diversity_charts", "experiment_blocks", "own_tables"]


def experiment_blocks(document: Mapping[str, Any], title: str) -> list[Block]:
    """The text, a chart for each panel, and the tables of an ``experiment``."""
    blocks: list[Block] = []
    if document.get("text"):
        blocks += [Note(text=part) for part in str(document["text"]).split("\n\n") if part.strip()]
    drawn = [
        one for one in (document, *map(_mapping, _sequence(document.get("panels")))) if one.get("series")
    ]
    for panel in drawn:
        label = str(_mapping(panel.get("y")).get("label", ""))
        name = title if len(drawn) == 1 or not label else f"{title}: {label}"
        chart = _panel_chart(document, panel, name)
        if chart is not None:
            blocks.append(chart)
    blocks += own_tables(document)
    return blocks


def _panel_chart(document: Mapping[str, Any], panel: Mapping[str, Any], title: str) -> Chart | None:
    """One panel of an experiment, over the x that all share, drawn as the file says."""
    x, y = _mapping(document.get("x")), _mapping(panel.get("y"))
    places = _places(x.get("values"))
    series = [
        Series(
            name=str(one.get("name", "")),
            values=_values(one.get("values")) or [],
            low=_values(one.get("low")),
            high=_values(one.get("high")),
            reference=bool(one.get("reference")),
        )
        for one in map(_mapping, _sequence(panel.get("series")))
    ]
    if not places or not series:
        return None
    better = y.get("better")
    y_label = str(y.get("label", "")) + (f" ({better} is better)" if better else "")
    x_label = str(x.get("label", ""))
    kind, numbers = document.get("chart"), [place for place in places if not isinstance(place, str)]
    if kind == "bar":
        return bar_chart(title, x_label=x_label, x=places, y_label=y_label, series=series)
    if kind == "dot" and len(numbers) == len(places):
        return dot_chart(title, x_label=x_label, x=numbers, y_label=y_label, series=series)
    return line_chart(title, x_label=x_label, x=places, y_label=y_label, series=series)


def own_tables(document: Mapping[str, Any]) -> list[Block]:
    """``"tables": [{"title", "columns", "rows"}]`` of any result."""
    found: list[Block] = []
    for one in map(_mapping, _sequence(document.get("tables"))):
        rows = [
            _sequence(row) if not isinstance(row, Mapping) else list(row.values())
            for row in _sequence(one.get("rows"))
        ]
        width = max((len(row) for row in rows), default=0)
        labels = [str(label) for label in _sequence(one.get("columns"))]
        labels += [""] * (width - len(labels))
        numeric = [
            all(
                number >= len(row) or row[number] is None or as_number(row[number]) is not None
                for row in rows
            )
            for number in range(len(labels))
        ]
        found.append(
            Table(
                caption=str(one.get("title", "")),
                columns=[
                    Column(label=label, number=number > 0 and numeric[number])
                    for number, label in enumerate(labels)
                ],
                rows=[
                    [
                        Cell(text=show(value), sort=as_number(value))
                        for value in [*row, *[None] * (len(labels) - len(row))]
                    ]
                    for row in rows
                ],
            )
        )
    return found


def diversity_charts(document: Mapping[str, Any]) -> list[Block]:
    """Median rank and R@1 against foreign scenes: matchers -> number of scenes -> scores (X-Pool's Figure 4)."""
    blocks: list[Block] = []
    for source in ("pool", "gallery"):
        part = _mapping(document.get(source))
        rows = {name: _mapping(held) for name, held in _mapping(part.get("matchers")).items()}
        if not rows:
            continue
        numbers = sorted({int(number) for held in rows.values() for number in held})
        where = "videos outside of the gallery" if source == "pool" else "other videos of the gallery"
        blocks.append(Note(text=f"{show(part.get('videos'))} videos; foreign scenes from {where}."))
        blocks += [
            _diversity(source, rows, numbers, "median_rank", "median rank (lower is better)"),
            _diversity(source, rows, numbers, "r1", "R@1, % (higher is better)"),
        ]
    return blocks


def _diversity(
    source: str, rows: Mapping[str, Mapping[str, Any]], numbers: Sequence[int], key: str, label: str
) -> Chart:
    def column(held: Mapping[str, Any], name: str) -> list[float | None]:
        return [as_number(_mapping(held.get(str(number))).get(name)) for number in numbers]

    lines: list[Series] = []
    for name, held in rows.items():
        low, high = column(held, f"{key}_low"), column(held, f"{key}_high")
        known = any(value is not None for value in low)
        lines.append(
            Series(
                name=name, values=column(held, key), low=low if known else None, high=high if known else None
            )
        )
    title = f"{'Median rank' if key == 'median_rank' else 'R@1'}, text to video, scenes from the {source}"
    return line_chart(
        title,
        x_label="foreign scenes in every video",
        x=[float(number) for number in numbers],
        y_label=label,
        series=lines,
    )


def benchmark_blocks(document: Mapping[str, Any], *, without: frozenset[str]) -> list[Block]:
    """Ratios first, then times; the rest folded."""
    ratios = {key: value for key, value in document.items() if _is_spread(value)}
    seconds = {
        key: value
        for key, value in document.items()
        if key.endswith("_s")
        and isinstance(value, Mapping)
        and _are_samples(cast("Mapping[str, Any]", value))
    }
    blocks: list[Block] = []
    if ratios:
        rows = [(as_words(key), _mapping(value)) for key, value in ratios.items()]
        blocks.append(_spreads("Ratios measured in one run", rows))
    for key, value in seconds.items():
        rows = [(name, _spread_of(samples)) for name, samples in _mapping(value).items()]
        blocks.append(_spreads(as_words(key), rows))
    targets = table_of("Aims, and whether they are met", document.get("targets"))
    if targets is not None:
        blocks.append(targets)
    shown = {*ratios, *seconds, *(["targets"] if targets else []), *without}
    rest = {key: value for key, value in document.items() if key not in shown}
    if rest:
        inner = plain_blocks(rest, title="values")
        blocks.append(
            Folded(title="All other values", blocks=inner)
            if blocks
            else Folded(title="Values", blocks=inner, open=True)
        )
    return blocks


def _is_spread(value: Any) -> bool:
    return {"median", "lowest", "highest"} <= set(_mapping(value))


def _are_samples(value: Mapping[str, Any]) -> bool:
    return bool(value) and all(
        isinstance(samples, list) and samples and all(as_number(sample) is not None for sample in samples)
        for samples in value.values()
    )


def _spread_of(samples: Sequence[float]) -> dict[str, float]:
    ordered = sorted(samples)
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    return {"median": middle, "lowest": ordered[0], "highest": ordered[-1]}


def _spreads(caption: str, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> Table:
    keys = ("median", "lowest", "highest")
    return Table(
        caption=caption,
        columns=[Column(label="", number=False), *(Column(label=key) for key in keys)],
        rows=[
            [Cell(text=name), *(Cell(text=show(held[key]), sort=as_number(held[key])) for key in keys)]
            for name, held in rows
        ],
    )


def _places(value: Any) -> list[float | str]:
    found = _sequence(value)
    numbers = [as_number(one) for one in found]
    if all(number is not None for number in numbers):
        return [number for number in numbers if number is not None]
    return [show(one) for one in found]


def _values(value: Any) -> list[float | None] | None:
    return [as_number(one) for one in _sequence(value)] if isinstance(value, list | tuple) else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _sequence(value: Any) -> Sequence[Any]:
    return cast("Sequence[Any]", value) if isinstance(value, list | tuple) else ()
