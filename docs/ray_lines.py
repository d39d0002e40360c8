"""What docs/ray.md quotes of results/bench-ray.json."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["ray_blocks"]

RESULT = "bench-ray"


def ray_blocks(measured: Callable[[str], dict[str, Any] | None]) -> dict[str, str]:
    """The block of the page, or none while nothing is measured."""
    data = measured(RESULT)
    return {} if data is None else {"deaths": _deaths(data)}


def _deaths(data: dict[str, Any]) -> str:
    index, serve, machine = data["index"], data["serve"], data["machine"]
    first, second = index["committed_when_the_node_died"], index["committed_when_the_driver_died"]
    once = "each of them once" if index["every_video_once"] else "**not each of them once**"
    same = "all" if index["rows_equal_to_the_local_table"] else "**not all**"
    rows = {
        "cluster": f"{index['raylets']} raylets, {index['nodes']} of them with work, on {machine['cores']} cores of "
        f"one {machine['cpu']}",
        "indexing": f"{index['videos']:,} videos: a node killed when {first:,} were committed, the driver when "
        f"{second:,} were, and the command given again",
        "afterwards": f"{index['videos_in_the_index']:,} videos in the index, {once}; {index['encoded_again']:,} were "
        f"encoded a second time; `--verify` finds {len(index['problems']) or 'no'} problems",
        "beside one machine's table": f"{same} rows equal, {index['rows_equal_to_the_last_bit']:,} of "
        f"{index['rows']:,} to the last bit",
        "serving": f"{serve['replicas']} replicas, {serve['clients']} clients that ask without a pause: "
        f"{serve['requests']:,} requests, {serve['failed']:,} failed",
        "a replica killed meanwhile": f"another answers in its place after {serve['replaced_s']:.1f} s",
        "a state published meanwhile": f"both answer from it after {serve['moved_over_s']:.1f} s",
    }
    lines = ["| | |", "|---|---|", *(f"| {what} | {seen} |" for what, seen in rows.items()), ""]
    lines.append(
        f"[JSON](../results/{RESULT}.json), `./run bench ray`. The seconds are those of one small machine that does "
        "all of it at once."
    )
    return "\n".join(lines)
