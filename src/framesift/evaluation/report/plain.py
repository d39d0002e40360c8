"""Any JSON value as tables and lists: a result of an unknown kind is shown whole, never dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from .blocks import Block, Cell, Column, Facts, Folded, Note, Table
from .numbers import as_number, as_words, show

__all__ = ["plain_blocks", "table_of"]

LONG_TABLE = 25  # rows; a longer one is folded
DEEPEST = 6


def plain_blocks(value: Any, *, title: str, depth: int = 0) -> list[Block]:
    """Plain values first, as a list of facts; then one table or folded part for every nested one."""
    if depth >= DEEPEST:
        return [Facts(rows=[(title, show(value))])]
    if isinstance(value, Mapping):
        return _of_mapping(cast("Mapping[str, Any]", value), title=title, depth=depth)
    if isinstance(value, list) and (table := table_of(title, value)) is not None:
        return [_folded_if_long(table)]
    if isinstance(value, list) and any(isinstance(held, Mapping | list) for held in value):
        blocks: list[Block] = []
        for number, held in enumerate(value, start=1):
            name = f"{title} {number}"
            blocks.append(Folded(title=name, blocks=plain_blocks(held, title=name, depth=depth + 1)))
        return blocks
    return [Facts(rows=[(title, show(value))])]


def table_of(title: str, value: Any) -> Table | None:
    """A table, where ``value`` is a list or mapping of mappings of plain values with some keys in common."""
    if isinstance(value, Mapping):
        named = [(as_words(str(name)), held) for name, held in cast("Mapping[Any, Any]", value).items()]
    elif isinstance(value, list):
        named = [(str(number), held) for number, held in enumerate(value, start=1)]
    else:
        return None
    if not named or not all(isinstance(held, Mapping) and held and _flat(held.values()) for _, held in named):
        return None
    rows = [(name, cast("Mapping[str, Any]", held)) for name, held in named]
    keys = list(dict.fromkeys(key for _, held in rows for key in held))
    if len(rows) > 1 and len(keys) > 2 * min(len(held) for _, held in rows):
        return None  # they have little in common
    numeric = {
        key: all(held.get(key) is None or as_number(held[key]) is not None for _, held in rows)
        for key in keys
    }
    return Table(
        caption=title,
        columns=[
            Column(label="", number=False),
            *(Column(label=as_words(str(key)), number=numeric[key]) for key in keys),
        ],
        rows=[
            [
                Cell(text=name),
                *(
                    Cell(text=show(held.get(key), key=str(key)), sort=as_number(held.get(key)))
                    for key in keys
                ),
            ]
            for name, held in rows
        ],
    )


def _flat(values: Any) -> bool:
    return not any(
        isinstance(value, Mapping)
        or (isinstance(value, list) and any(isinstance(x, Mapping | list) for x in value))
        for value in values
    )


def _folded_if_long(table: Table) -> Block:
    if len(table.rows) <= LONG_TABLE:
        return table
    return Folded(title=f"{table.caption} ({len(table.rows)} rows)", blocks=[table])


def _of_mapping(value: Mapping[str, Any], *, title: str, depth: int) -> list[Block]:
    facts: list[tuple[str, str]] = []
    blocks: list[Block] = []
    for key, held in value.items():
        name = as_words(str(key))
        if (isinstance(held, Mapping) and held) or _is_nested(held):
            table = table_of(name, held)
            if table is not None:
                blocks.append(_folded_if_long(table))
            else:
                inner = plain_blocks(held, title=name, depth=depth + 1)
                blocks.append(Folded(title=name, blocks=inner, open=depth == 0 and len(inner) == 1))
        else:
            facts.append((name, show(held, key=str(key))))
    if not facts and not blocks:
        return [Note(text=f"{title}: empty")]
    return [*([Facts(rows=facts)] if facts else []), *blocks]


def _is_nested(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and not _flat([value])
