"""One HTML file that needs nothing else: style, script and pictures are inside, and nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ...errors import InputError
from .blocks import Block, Cell, Column, Note, Section, Table, anchor
from .kinds import Result, evaluation_sections, format_count, read_result, result_section
from .made import runs_table
from .measured import Group, same_queries
from .tables import finding, numbered_slices
from .training import TrainingLog, training_blocks

__all__ = ["render_report", "write_report"]

UNFINISHED = ".partial"  # experiments keep their points in such a file until they are done
ASSETS = Path(__file__).parent / "assets"


def render_report(
    results: Mapping[str, Mapping[str, Any]],
    *,
    logs: Sequence[TrainingLog] = (),
    examples: Sequence[Block] = (),
    title: str = "framesift results",
) -> str:
    """The page as text.

    Args:
        results: documents by name, as :func:`.read_results` gives them.
        logs: of training runs.
        examples: of what systems look at, as :func:`.attention_examples` gives them.
    """
    finished = {name: held for name, held in results.items() if not name.endswith(UNFINISHED)}
    read = [read_result(name, document) for name, document in finished.items()]
    sections = _sections(read, logs, examples)
    script = (ASSETS / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["drawing"] = Markup  # of a chart, whose text is escaped where it is drawn
    page = environment.get_template("page.html.j2").render(
        title=title,
        sections=sections,
        style=Markup((ASSETS / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=digest,
        written=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        version=version("framesift"),
    )
    return page.lstrip()


def write_report(path: Path, page: str) -> None:
    """Write the page, whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(page, encoding="utf-8", errors="replace")
        os.replace(unfinished, path)
    except OSError as error:
        raise InputError(f"cannot write {str(path)!r}: {error.strerror or error}") from None


def _sections(
    results: Sequence[Result], logs: Sequence[TrainingLog], examples: Sequence[Block]
) -> list[Section]:
    def of(*kinds: str) -> list[Result]:
        return [result for result in results if result.kind in kinds]

    parts = [
        ("evaluations", "Evaluations", evaluation_sections(of("slices", "evaluation"))),
        ("reproductions", "Reproductions", [result_section(one) for one in of("reproduction")]),
        ("experiments", "Experiments", [result_section(one) for one in of("experiment")]),
        ("training", "Training", [result_section(one) for one in of("training")] + _curves(logs)),
        ("benchmarks", "Benchmarks of speed", [result_section(one) for one in of("benchmark")]),
        ("other", "Other results", [result_section(one) for one in of("other")]),
    ]
    sections = [Section(id=id_, title=title, children=children) for id_, title, children in parts if children]
    if examples:
        place = next(
            (n for n, section in enumerate(sections) if section.id not in _BEFORE_EXAMPLES), len(sections)
        )
        sections.insert(place, Section(id="attention", title="What the systems look at", blocks=examples))
    links = {child.badge: child.id for section in sections for child in section.children}
    summary = Section(id="summary", title="Summary", blocks=_summary(results, logs, links))
    made = Section(id="runs", title="How it was made", blocks=_runs(results, links))
    return [summary, *sections, made] if results else [summary, *sections]


_BEFORE_EXAMPLES = ("evaluations", "reproductions", "experiments")


def _curves(logs: Sequence[TrainingLog]) -> list[Section]:
    names = [
        f"curve-{number}" if not anchor(log.name) else anchor("log", log.name)
        for number, log in enumerate(logs)
    ]
    return [
        Section(
            id=id_ if names.index(id_) == number else f"{id_}-{number}",
            title=log.name,
            badge="training log",
            blocks=training_blocks(log),
        )
        for number, (log, id_) in enumerate(zip(logs, names, strict=True))
    ]


def _summary(results: Sequence[Result], logs: Sequence[TrainingLog], links: Mapping[str, str]) -> list[Block]:
    if not results:
        return [Note(text="There are no result files yet." + (" Training logs follow." if logs else ""))]
    groups = [group for result in results for group in result.groups]
    parts = [format_count(len(results), "result file")]
    if groups:
        parts.append(
            format_count(len({system.name for group in groups for system in group.systems}), "system")
        )
        hashes = {group.content_hash or number for number, group in enumerate(groups)}
        parts.append(format_count(len(hashes), "set") + " of queries")
    if logs:
        parts.append(format_count(len(logs), "training log"))
    commits = {result.made.commit for result in results if result.made.commit}
    if commits:
        parts.append(format_count(len(commits), "commit"))
    blocks: list[Block] = [Note(text=", ".join(parts) + ".")]
    warned = [
        (result, warning) for result in results for warning in (*result.made.warnings, *result.made.notes)
    ]
    blocks += [Note(text=f"{result.name}: {warning}", tone="warning") for result, warning in warned]
    rows = [
        [
            Cell(text=", ".join(group.results), target=_target(group.results[0], links)),
            Cell(text=group.name),
            Cell(text=said),
        ]
        for group in _distinct(results)
        if (said := finding(group))
    ]
    if rows:
        labels = ("result", "queries", "what it found")
        blocks.append(
            Table(
                caption="Who is first, text to video",
                columns=[Column(label=label, number=False) for label in labels],
                rows=rows,
                sortable=False,
            )
        )
    return blocks


def _distinct(results: Sequence[Result]) -> list[Group]:
    """Every set of queries once; of slices that differ in a number only, the first and the last."""
    single = [group for result in results if result.kind == "evaluation" for group in result.groups]
    found = same_queries(single)
    for result in results:
        if result.kind == "slices":
            numbered = numbered_slices(result.groups).values()
            between = {group.name for members in numbered if len(members) > 2 for _, group in members[1:-1]}
            found += [group for group in result.groups if group.name not in between]
    return found


def _runs(results: Sequence[Result], links: Mapping[str, str]) -> list[Block]:
    table = runs_table(
        [
            (one.name, _target(one.name, links), str(one.document.get("kind") or one.kind), one.made)
            for one in results
        ]
    )
    return [
        Note(
            text="Every number of this page is in one of these files; only means over seeds and paired differences are "
            "computed for it."
        ),
        table,
    ]


def _target(name: str, links: Mapping[str, str]) -> str:
    """The section that shows a result, maybe together with others."""
    return next((id_ for names, id_ in links.items() if name in names.split(", ")), "")
