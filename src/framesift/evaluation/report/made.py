"""How each result was made: code, versions, machine, data, and what has to be said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from .blocks import Cell, Column, Facts, Table
from .measured import Group
from .numbers import as_number, show, show_duration

__all__ = ["MADE_KEYS", "Made", "how_made", "made_facts", "runs_table"]

MADE_KEYS = frozenset(
    (
        "provenance",
        "machine",
        "seconds",
        "elapsed_s",
        "seed",
        "seeds",
        "recipe",
        "recipe_hash",
        "warnings",
        "kind",
        "title",
    )
)
"""Keys of a result file that are shown here, and not once more among its other values."""

WARNING_KEYS = ("warnings", "missing", "missing_videos", "failed", "failed_videos", "failures")
NAMED = 5  # failed videos that are named; of the others the number is told


@dataclass(frozen=True, kw_only=True)
class Made:
    """The provenance of one result file; empty strings where the file does not say.

    Attributes:
        warnings: of the run: missing and failed videos, uncommitted changes.
        notes: of its data.
    """

    commit: str = ""
    changed_since: bool | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: str = ""
    seconds: float | None = None
    finished: str = ""
    seeds: str = ""
    recipe: str = ""
    splits: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def how_made(document: Mapping[str, Any], groups: Sequence[Group] = ()) -> Made:
    """Collected from where result files of the different kinds keep it."""
    provenance = _mapping(document.get("provenance"))
    machine = document.get("machine")
    host = _mapping(machine)
    told = {**host, **provenance}
    versions = {
        name: str(told[name])
        for name in ("framesift", "python", "torch", "numpy", "transformers", "cuda")
        if told.get(name)
    }
    described = provenance.get("machine") or (
        ", ".join(
            f"{show(value, key=key)}{_UNITS.get(key, '')}" for key, value in host.items() if key in _HOST
        )
        if host
        else machine
    )
    commit = str(told.get("commit") or "")
    seeds = document.get("seeds", document.get("seed", _mapping(document.get("recipe")).get("seeds")))
    if seeds is None or isinstance(seeds, Mapping):
        seeds = (
            sorted({seed for group in groups for system in group.systems for seed in system.seeds}) or None
        )
    recipe = _recipe(document, provenance)
    warnings = [f"measured with uncommitted changes on top of {commit[:10] or 'an unknown commit'}"] * bool(
        provenance.get("changed_since")
    )
    seconds = as_number(document.get("seconds"))
    return Made(
        commit=commit,
        changed_since=provenance.get("changed_since"),
        versions=versions,
        machine=str(described or ""),
        seconds=as_number(document.get("elapsed_s")) if seconds is None else seconds,
        finished=str(told.get("finished") or "").replace("T", " ").replace("Z", " UTC"),
        seeds="" if seeds is None else show(seeds),
        recipe=recipe,
        splits=tuple(_splits(document, groups)),
        warnings=(*warnings, *_warnings(document)),
        notes=tuple(_notes(document)),
    )


_HOST = ("cpu", "gpu", "cores", "memory_bytes", "instructions")
_UNITS = {"cores": " cores"}


def _recipe(document: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    """Its name and hash."""
    named = document.get("recipe", provenance.get("recipe"))
    held = _mapping(named)
    name = held.get("name") if held else named
    content_hash = held.get("hash") or document.get("recipe_hash") or provenance.get("recipe_hash")
    return " ".join(str(part) for part in (name, content_hash) if isinstance(part, str) and part)


def _splits(document: Mapping[str, Any], groups: Sequence[Group]) -> list[str]:
    found = [f"{group.name} {group.content_hash}" for group in groups if group.content_hash]
    split = _mapping(document.get("split"))
    if not found and split.get("content_hash"):
        name = " ".join(str(split[key]) for key in ("benchmark", "split", "slice") if split.get(key))
        found.append(f"{name} {split['content_hash']}".strip())
    return found


def _warnings(document: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for key in WARNING_KEYS:
        value = document.get(key)
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, Mapping | list) and value:
            listed = cast("Sequence[Any]", list(cast("Any", value)))
            if key == "warnings":
                found += [show(one) for one in listed]
            else:
                named = ", ".join(show(one) for one in listed[:NAMED])
                more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
                found.append(f"{len(listed)} {key.replace('_', ' ')}: {named}{more}")
        elif as_number(value):
            found.append(f"{show(value)} {key.replace('_', ' ')}")
    return found


def _notes(document: Mapping[str, Any]) -> list[str]:
    found = [str(note) for note in _mapping(document.get("split")).get("notes") or ()]
    for name, part in _mapping(document.get("slices")).items():
        notes = _mapping(_mapping(part).get("split")).get("notes")
        found += [f"{name}: {note}" for note in notes or ()]
    return found


def made_facts(made: Made) -> Facts:
    """Everything that is known, as a list."""
    rows = [
        ("commit", made.commit + (", with uncommitted changes" if made.changed_since else "")),
        ("versions", ", ".join(f"{name} {version}" for name, version in made.versions.items())),
        ("machine", made.machine),
        ("time taken", "" if made.seconds is None else show_duration(made.seconds)),
        ("finished", made.finished),
        ("seeds", made.seeds),
        ("recipe", made.recipe),
        *(("data and its content hash", split) for split in made.splits),
    ]
    return Facts(rows=[(name, value or "not recorded") for name, value in rows])


def runs_table(rows: Sequence[tuple[str, str, str, Made]]) -> Table:
    """One row a result: file, anchor of its section, kind, provenance."""
    heads = ("result", "kind", "commit", "changed since", "versions", "machine")
    ends = ("seeds", "recipe", "data (content hash)")
    unknown = "–"
    return Table(
        caption="How every result was made",
        columns=[
            *(Column(label=label, number=False) for label in heads),
            Column(label="time taken"),
            Column(label="finished", number=False),
            *(Column(label=label, number=False) for label in ends),
        ],
        rows=[
            [
                Cell(text=name, target=target),
                Cell(text=kind),
                Cell(text=made.commit[:10] or unknown),
                Cell(text=unknown if made.changed_since is None else show(made.changed_since)),
                Cell(
                    text=", ".join(f"{name} {version}" for name, version in made.versions.items()) or unknown
                ),
                Cell(text=made.machine or unknown),
                Cell(
                    text=unknown if made.seconds is None else show_duration(made.seconds), sort=made.seconds
                ),
                Cell(text=made.finished or unknown),
                Cell(text=made.seeds or unknown),
                Cell(text=made.recipe or unknown),
                Cell(text=_few(made.splits) or unknown),
            ]
            for name, target, kind, made in rows
        ],
    )


def _few(splits: Sequence[str]) -> str:
    return ", ".join(splits[:2]) + (f" and {len(splits) - 2} more" if len(splits) > 2 else "")


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
