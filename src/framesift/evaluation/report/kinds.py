"""Which section of the report each result file becomes, by its ``kind``, or by what it holds where it names none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..document import compare
from .blocks import Block, Facts, Folded, Note, Section, anchor
from .comparison import leader
from .experiments import benchmark_blocks, diversity_charts, experiment_blocks, own_tables
from .made import MADE_KEYS, Made, how_made, made_facts
from .measured import METRICS, Difference, Group, groups_of, same_queries
from .numbers import as_words, show_fixed
from .plain import plain_blocks
from .reproduction import reproduction_blocks
from .tables import families, finding, group_blocks, overview, split_facts

__all__ = [
    "KINDS",
    "Result",
    "evaluation_sections",
    "format_count",
    "kind_of",
    "read_result",
    "result_section",
]

KINDS = ("slices", "evaluation", "reproduction", "experiment", "training", "benchmark")
GROUP_KEYS = frozenset(
    ("slices", "systems", "matchers", "split", "content_hash", "slice", "videos", "captions")
) | {
    "texts_with_several_answers",
    "differences",
    "t2v",
    "v2t",
    "beside",
    "system",
    "intervals",
    "ranks",
}


EXPERIMENT_KEYS = {
    "chart",
    "x",
    "y",
    "series",
    "panels",
    "text",
    "tables",
    "name",
    "source",
    "shows",
}


@dataclass(frozen=True, kw_only=True)
class Result:
    """One result file.

    Attributes:
        name: of the file, without its ending.
        kind: one of :data:`KINDS`, or ``other``.
        groups: where it holds systems with metrics.
    """

    name: str
    title: str
    kind: str
    document: Mapping[str, Any]
    groups: Sequence[Group]
    made: Made

    @property
    def id(self) -> str:
        """Where links to its section lead."""
        return anchor("result", self.name)


def read_result(name: str, document: Mapping[str, Any]) -> Result:
    """What a file is, and what it holds."""
    metrics = document.get("metrics")
    if document.get("kind") == "training" and isinstance(metrics, Mapping):
        evaluated = {"system": document.get("title", name), "split": document.get("evaluated_on"), **metrics}
        groups = groups_of(name, evaluated)
    else:
        groups = groups_of(name, document)
    return Result(
        name=name,
        title=str(document.get("title") or _title(name)),
        kind=kind_of(name, document, groups),
        document=document,
        groups=groups,
        made=how_made(document, groups),
    )


def kind_of(name: str, document: Mapping[str, Any], groups: Sequence[Group]) -> str:
    """The stated kind; where there is none, or an unknown one, what the content says."""
    stated = document.get("kind")
    if stated in KINDS:
        return str(stated)
    if stated is not None:
        return "other"
    if _is_diversity(document):
        return "experiment"
    if groups:
        return "evaluation"
    return "benchmark" if name.startswith("bench-") else "other"


def result_section(result: Result) -> Section:
    """The section of a result that is no evaluation."""
    document, blocks = result.document, [*_warnings(result)]
    if _is_diversity(document):
        blocks += diversity_charts(document)
    elif result.kind == "experiment":
        blocks += experiment_blocks(document, result.title)
        blocks += _rest(document, EXPERIMENT_KEYS)
    elif result.kind == "reproduction":
        blocks += reproduction_blocks(document)
        blocks += own_tables(document)
        blocks += _rest(
            document, {"columns", "column_names", "normalized", "expected", "tables", "text", "note"}
        )
    elif result.kind == "training":
        blocks += _trained(result)
    elif result.kind == "benchmark":
        blocks += benchmark_blocks(document, without=MADE_KEYS)
    else:
        for group in result.groups:
            blocks += group_blocks(group)
        shown = GROUP_KEYS if result.groups else frozenset[str]()
        rest = {key: value for key, value in document.items() if key not in MADE_KEYS | shown}
        blocks += plain_blocks(rest, title="values")
    return Section(id=result.id, title=result.title, badge=result.name, blocks=[*blocks, _how(result.made)])


def evaluation_sections(results: Sequence[Result]) -> list[Section]:
    """One section for each set of queries; a file with several slices keeps them together, after an overview."""
    sections: list[Section] = []
    single: list[Result] = []
    for result in results:
        if result.kind == "slices":
            sections.append(_slices_section(result))
        else:
            single.append(result)
    by_name = {result.name: result for result in single}
    groups = [
        _compared(group, by_name) for group in same_queries(g for result in single for g in result.groups)
    ]
    clashes = _clashes(groups)
    ids: set[str] = set()
    for group in groups:
        owners = [by_name[name] for name in group.results]
        first = owners[0]
        blocks: list[Block] = [block for owner in owners for block in _warnings(owner)]
        if group.name in clashes:
            blocks.append(Note(text=clashes[group.name], tone="warning"))
        if summary := finding(group):
            blocks.append(Note(text=summary))
        blocks += group_blocks(group)
        for owner in owners:
            if owner.id not in ids:
                blocks += own_tables(owner.document)
                blocks += _rest(owner.document, set(GROUP_KEYS) | {"tables"})
                blocks.append(_how(owner.made, owner.name if len(owners) > 1 else ""))
        section = first.id if first.id not in ids else anchor(first.id, group.content_hash or group.name)
        title = first.title if len(owners) == 1 and len(first.groups) == 1 else group.name
        sections.append(Section(id=section, title=title, badge=", ".join(group.results), blocks=blocks))
        ids |= {owner.id for owner in owners}
    # An evaluation without any metrics is shown as it is.
    return sections + [result_section(result) for result in single if not result.groups]


def _compared(group: Group, results: Mapping[str, Result]) -> Group:
    """The group with paired differences of its leader to the others, where the files hold the rank of every query."""
    documents = {
        system.name: results[system.result].document
        for system in group.systems
        if len(results[system.result].groups) == 1 and "ranks" in results[system.result].document
    }
    first = leader([system for system in group.systems if system.name in documents], "t2v_r1")
    if first is None or len({system.name for system in group.systems}) < len(group.systems):
        return group
    found: list[Difference] = []
    for name, held in documents.items():
        if name == first.name:
            continue
        for way, differences in compare(held, documents[first.name]).items():
            found += [
                Difference(
                    first=name,
                    second=first.name,
                    metric=f"{way}_{metric.key}",
                    value=one.value,
                    low=one.low,
                    high=one.high,
                    p=one.p,
                )
                for metric in METRICS
                if (one := differences.get(metric.label)) is not None
            ]
    return replace(group, differences=(*group.differences, *found))


def _trained(result: Result) -> list[Block]:
    """What a training run reached, on what it was selected, and its recipe."""
    document = result.document
    blocks: list[Block] = []
    if document.get("selected_on_test"):
        told = "The checkpoint was selected on the test split: these numbers are no measure of the system."
        blocks.append(Note(text=told, tone="warning"))
    for group in result.groups:
        blocks += group_blocks(group)
    blocks += own_tables(document)
    blocks += _rest(document, set(GROUP_KEYS) | {"metrics", "evaluated_on", "tables", "missing", "failed"})
    if isinstance(document.get("recipe"), Mapping):
        blocks.append(Folded(title="Recipe", blocks=plain_blocks(document["recipe"], title="recipe")))
    return blocks


def _slices_section(result: Result) -> Section:
    blocks: list[Block] = [*_warnings(result)]
    for way in ("t2v", "v2t"):
        tables = overview(result.title, result.groups, way=way)
        blocks += (
            tables
            if way == "t2v"
            else [Folded(title="The same, video to text", blocks=tables)] * bool(tables)
        )
    blocks += families(result.groups)
    for number, group in enumerate(result.groups):
        inner: list[Block] = [Note(text=summary)] if (summary := finding(group)) else []
        blocks.append(
            Folded(title=f"Slice {group.name}", blocks=[*inner, *group_blocks(group)], open=number == 0)
        )
    blocks += own_tables(result.document)
    blocks += _rest(result.document, set(GROUP_KEYS) | {"tables"})
    return Section(id=result.id, title=result.title, badge=result.name, blocks=[*blocks, _how(result.made)])


def _clashes(groups: Sequence[Group]) -> dict[str, str]:
    """Names under which there is more than one set of queries, and what has to be said of it."""
    named: defaultdict[str, list[Group]] = defaultdict(list)
    for group in groups:
        named[group.name].append(group)
    return {name: _clash(name, several) for name, several in named.items() if len(several) > 1}


def _clash(name: str, groups: Sequence[Group]) -> str:
    facts = [dict(split_facts(group)) for group in groups]
    keys = list(dict.fromkeys(key for held in facts for key in held))
    differing = [key for key in keys if len({held.get(key) for held in facts}) > 1]
    told = "; ".join(
        f"{', '.join(group.results)}: "
        + ", ".join(f"{key} {held.get(key, 'not recorded')}" for key in differing)
        for group, held in zip(groups, facts, strict=True)
    )
    return (
        f"{name} was measured on {len(groups)} different sets of queries. They are in separate tables, and no number "
        f"of one can be compared with a number of another. They differ in {told}."
    )


def _warnings(result: Result) -> list[Block]:
    return [Note(text=warning, tone="warning") for warning in (*result.made.warnings, *_data_notes(result))]


def _data_notes(result: Result) -> Sequence[str]:
    """Notes on the data that no table of the section shows."""
    return () if result.groups else result.made.notes


def _how(made: Made, name: str = "") -> Folded:
    return Folded(title=f"How {name or 'this'} was made", blocks=[made_facts(made)])


def _rest(document: Mapping[str, Any], shown: set[str]) -> list[Block]:
    rest = {key: value for key, value in document.items() if key not in MADE_KEYS | shown}
    if not rest:
        return []
    blocks = plain_blocks(rest, title="values")
    if len(blocks) == 1 and isinstance(blocks[0], Facts) and len(rest) <= 3:
        return blocks
    return [Folded(title="All other values", blocks=blocks)]


def _is_diversity(document: Mapping[str, Any]) -> bool:
    part = document.get("pool")
    return isinstance(part, Mapping) and "source_of_foreign_scenes" in part


def _title(name: str) -> str:
    words = as_words(name.replace("-", " ").replace("/", ", "))
    words = words.replace("bench ", "benchmark ", 1) if words.startswith("bench ") else words
    return words[:1].upper() + words[1:]


def format_count(number: int, noun: str) -> str:
    """``1 result``, ``2 results``."""
    return f"{show_fixed(float(number), 0)} {noun}" + ("" if number == 1 else "s")
