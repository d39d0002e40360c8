"""Tables of evaluation results: one for each set of queries, and one of all systems on all slices of a file."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .axes import Series
from .blocks import Block, Cell, Chart, Column, Facts, Folded, Note, Table
from .charts import line_chart
from .comparison import best_of, leader, stands_apart
from .measured import METRICS, Group, Metric, Score, System
from .numbers import as_words, show, show_fixed

__all__ = ["families", "finding", "group_blocks", "numbered_slices", "overview", "score_cell", "split_facts"]

DIRECTION_LABELS = {"t2v": "text to video", "v2t": "video to text"}
HOW_BEST = (
    "Bold with a dot: better than every other row, by a significant paired difference or by 95 % intervals that lie "
    "apart. A column without a dot has no clear winner."
)


def score_cell(score: Score | None, *, best: bool = False) -> Cell:
    """The value, with its deviation and interval below."""
    if score is None:
        return Cell(text="–")
    notes: list[str] = []
    if score.sd is not None:
        notes.append(f"±{show_fixed(score.sd)}")
    if score.low is not None and score.high is not None:
        notes.append(f"{show_fixed(score.low)}–{show_fixed(score.high)}")
    return Cell(text=show_fixed(score.value), note="\n".join(notes), sort=score.value, best=best)


def group_blocks(group: Group) -> list[Block]:
    """The table of a group, what its queries are, and the paired comparisons."""
    blocks: list[Block] = []
    facts = split_facts(group)
    if facts:
        blocks.append(Facts(rows=facts))
    blocks += [Note(text=str(note), tone="warning") for note in group.split.get("notes") or ()]
    if group.content_hash is None:
        blocks.append(
            Note(text="The file names no content hash: these numbers can be compared with each other only.")
        )
    blocks.append(_group_table(group))
    if any(system.others for system in group.systems):
        blocks.append(Folded(title="Further measures", blocks=[_other_table(group)]))
    if group.differences:
        blocks.append(Folded(title="Paired differences", blocks=[_difference_table(group)]))
    return blocks


def _group_table(group: Group) -> Table:
    metrics = [(way, metric) for way in DIRECTION_LABELS for metric in METRICS if _given(group, way, metric)]
    several_files = len(group.results) > 1
    with_seeds = any(system.seeds for system in group.systems)
    columns = [Column(label="system", number=False)]
    columns += [Column(label=metric.label, group=DIRECTION_LABELS[way]) for way, metric in metrics]
    best = {
        f"{way}_{m.key}": best_of(group.systems, f"{way}_{m.key}", group.differences) for way, m in metrics
    }
    beside = _beside_columns(group)
    columns += [column for column, *_ in beside]
    if with_seeds:
        columns.append(Column(label="seeds"))
    if several_files:
        columns.append(Column(label="result", number=False))
    rows: list[list[Cell]] = []
    for system in group.systems:
        row = [Cell(text=system.name)]
        for way, metric in metrics:
            key = f"{way}_{metric.key}"
            row.append(score_cell(system.scores.get(key), best=best[key] is system))
        for _, label, key in beside:
            row.append(score_cell(system.beside.get(label, ("", {}))[1].get(key)))
        if with_seeds:
            row.append(
                Cell(text=str(len(system.seeds)) if system.seeds else "–", sort=float(len(system.seeds)))
            )
        if several_files:
            row.append(Cell(text=system.result))
        rows.append(row)
    note = HOW_BEST + " Below a value: ± standard deviation over seeds, 95 % interval."
    if beside:
        note += (
            " Columns headed “with other queries” are no results of a search: the scores of all queries were "
            "normalized together. They are never compared with the plain columns. Where the other queries come from: "
            + "; ".join(f"{label}: {source or 'not recorded'}" for label, source in _sources(group).items())
            + "."
        )
    return Table(caption=f"{group.name}: all systems", columns=columns, rows=rows, note=note)


def _given(group: Group, way: str, metric: Metric) -> bool:
    return any(f"{way}_{metric.key}" in system.scores for system in group.systems)


def _sources(group: Group) -> dict[str, str]:
    """Label of each normalization -> where its other queries come from."""
    sources: dict[str, str] = {}
    for system in group.systems:
        for label, (source, _) in system.beside.items():
            sources[label] = sources.get(label) or source
    return sources


def _beside_columns(group: Group) -> list[tuple[Column, str, str]]:
    sources = _sources(group)
    found: list[tuple[Column, str, str]] = []
    for label in sources:
        for way in DIRECTION_LABELS:
            for metric in METRICS[:3]:
                key = f"{way}_{metric.key}"
                if any(key in system.beside.get(label, ("", {}))[1] for system in group.systems):
                    head = f"with other queries: {label}, {DIRECTION_LABELS[way]}"
                    found.append((Column(label=metric.label, group=head), label, key))
    return found


def _other_table(group: Group) -> Table:
    keys = list(dict.fromkeys(key for system in group.systems for key in system.others))
    return Table(
        caption=f"{group.name}: further measures",
        columns=[Column(label="system", number=False), *(Column(label=as_words(key)) for key in keys)],
        rows=[
            [Cell(text=system.name), *(score_cell(system.others.get(key)) for key in keys)]
            for system in group.systems
        ],
    )


def _difference_table(group: Group) -> Table:
    return Table(
        caption=f"{group.name}: paired differences on the same queries",
        columns=[
            Column(label="first", number=False),
            Column(label="second", number=False),
            Column(label="metric", number=False),
            Column(label="second − first"),
            Column(label="p"),
            Column(label="significant", number=False),
        ],
        rows=[
            [
                Cell(text=one.first),
                Cell(text=one.second),
                Cell(text=one.metric.replace("_", " ")),
                score_cell(Score(value=one.value, low=one.low, high=one.high)),
                Cell(text="–" if one.p is None else f"{one.p:.3g}", sort=one.p),
                Cell(text="yes" if one.significant else "no"),
            ]
            for one in group.differences
        ],
    )


def split_facts(group: Group) -> list[tuple[str, str]]:
    """What the file says of the data."""
    keys = [key for key in group.split if key not in ("notes", "content_hash")]
    facts = [(as_words(key), show(group.split[key], key=key)) for key in keys]
    return [*facts, ("content hash", group.content_hash)] if group.content_hash else facts


def overview(title: str, groups: Sequence[Group], *, way: str = "t2v") -> list[Table]:
    """All systems on all slices: a table of R@1, and one of pair accuracies where there are any.

    Each column is a set of queries of its own; systems are compared down a column, never along a row.
    """
    tables: list[Table] = []
    for metric in (METRICS[0], METRICS[-1]):
        key = f"{way}_{metric.key}"
        having = [group for group in groups if any(key in system.scores for system in group.systems)]
        if len(having) < (2 if metric is METRICS[0] else 1):
            continue
        names = list(dict.fromkeys(system.name for group in having for system in group.systems))
        best = [best_of(group.systems, key, group.differences) for group in having]
        rows: list[list[Cell]] = []
        for name in names:
            row = [Cell(text=name)]
            for group, first in zip(having, best, strict=True):
                system = next((one for one in group.systems if one.name == name), None)
                score = system.scores.get(key) if system else None
                row.append(score_cell(score, best=system is not None and system is first))
            rows.append(row)
        chance = " Choosing blindly gives 50." if metric.key == "pair" else ""
        tables.append(
            Table(
                caption=f"{title}: {metric.label}, {DIRECTION_LABELS[way]}, %",
                columns=[
                    Column(label="system", number=False),
                    *(Column(label=group.name) for group in having),
                ],
                rows=rows,
                note="Every column has queries and a gallery of its own: compare down a column, not along a row."
                f"{chance} {HOW_BEST}",
            )
        )
    return tables


def numbered_slices(groups: Sequence[Group]) -> dict[str, list[tuple[float, Group]]]:
    """Slices whose names differ in a number, such as ``diversity-2``, by the rest of the name, in order."""
    found: dict[str, list[tuple[float, Group]]] = {}
    for group in groups:
        if matched := re.fullmatch(r"(.+?)-(\d+)(.*)", group.name):
            found.setdefault(matched[1] + matched[3], []).append((float(matched[2]), group))
    return {name: sorted(members, key=lambda member: member[0]) for name, members in found.items()}


def families(groups: Sequence[Group]) -> list[Chart]:
    """Charts of slices that differ in a number, such as ``diversity-0`` to ``diversity-8``."""
    charts: list[Chart] = []
    for name, members in numbered_slices(groups).items():
        if len(members) < 3:
            continue
        systems = list(dict.fromkeys(system.name for _, group in members for system in group.systems))
        for metric in (METRICS[3], METRICS[0]):
            key = f"t2v_{metric.key}"
            lines = [_line(system, key, [group for _, group in members]) for system in systems]
            better = "higher" if metric.higher_is_better else "lower"
            charts.append(
                line_chart(
                    f"{name}: {metric.label}, text to video",
                    x_label=f"n in {name}-n",
                    x=[number for number, _ in members],
                    y_label=f"{metric.label} ({better} is better)",
                    series=lines,
                )
            )
    return charts


def _line(name: str, key: str, groups: Sequence[Group]) -> Series:
    found: list[System | None] = [next((s for s in g.systems if s.name == name), None) for g in groups]
    scores = [None if system is None else system.scores.get(key) for system in found]
    with_interval = any(score is not None and score.low is not None for score in scores)
    return Series(
        name=name,
        values=[None if score is None else score.value for score in scores],
        low=[None if score is None else score.low for score in scores] if with_interval else None,
        high=[None if score is None else score.high for score in scores] if with_interval else None,
    )


def finding(group: Group) -> str:
    """One sentence on who is first, text to video, and whether that is beyond doubt."""
    key = "t2v_pair" if group.pairs else "t2v_r1"
    what = "pair accuracy" if group.pairs else "R@1"
    first = leader(group.systems, key)
    if first is None:
        return ""
    value = first.scores[key]
    others = [system for system in group.systems if system is not first]
    second = leader(others, key)
    if second is None:
        return f"{first.name} has {what} {show_fixed(value.value)}."
    if best_of(group.systems, key, group.differences) is first:
        tail = f"clearly above {second.name} ({show_fixed(second.scores[key].value)})"
    elif stands_apart(value, second.scores[key]) or value.low is not None:
        tail = f"not clearly apart from {second.name} ({show_fixed(second.scores[key].value)})"
    else:
        tail = f"ahead of {second.name} ({show_fixed(second.scores[key].value)}); no interval says how surely"
    return f"{first.name} is first with {what} {show_fixed(value.value)}, {tail}."
