"""Where a table's numbers come from: the machine, the JSON and the command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["measured_on"]


def measured_on(result: str, data: Mapping[str, Any]) -> str:
    """The line below a table.

    Args:
        result: name of the JSON in results/, ``bench-`` and the verb of ``./run bench``.
        data: what :func:`machine` of tests/benchmarks/record.py says of the machine is in its ``machine``.
    """
    machine = data["machine"]
    memory = machine["memory_bytes"] / 2**30
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['instructions']}, {memory:.0f} GiB "
        f"([JSON](../results/{result}.json), `./run bench {result.removeprefix('bench-')}`)."
    )
