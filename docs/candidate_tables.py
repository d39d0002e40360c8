"""What the pages quote of the benchmarks of candidates: engines, lists, Milvus, and the cache in a storm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from measured_on import measured_on

__all__ = ["cache_blocks", "engine_blocks", "milvus_blocks", "readme_blocks"]

Measured = Callable[[str], dict[str, Any] | None]
GALLERIES = ("sampled from a model's distribution", "mixture")


def engine_blocks(measured: Measured) -> dict[str, str]:
    """The blocks of docs/performance.md that are there."""
    engines, lists = measured("bench-candidates"), measured("bench-candidate-lists")
    blocks = {} if engines is None else {"engines": _engines(engines)}
    return blocks if lists is None else {**blocks, "lists": _lists(lists)}


def milvus_blocks(measured: Measured) -> dict[str, str]:
    """The block of docs/milvus.md."""
    data = measured("bench-milvus")
    return {} if data is None else {"equal-hits": _milvus(data)}


def cache_blocks(measured: Measured) -> dict[str, str]:
    """The block of docs/hot-path.md."""
    data = measured("cache-chaos")
    return {} if data is None else {"storm": _storm(data)}


def readme_blocks(measured: Measured) -> dict[str, str]:
    """The block of README.md: the figures that people ask for first."""
    engines, query, encode = map(measured, ("bench-candidates", "bench-query", "bench-encode"))
    if engines is None or query is None or encode is None:
        return {}
    case, ours = engines["case"], engines["engines"]["framesift faiss"]
    over = {name: row["cpu_over_framesift_faiss"]["median"] for name, row in engines["engines"].items()}
    held = query["openvino"]
    whole = held["query_cpu_ms"]
    images, texts = encode["images"], encode["text, batch 1"]
    faster = ", ".join(
        f"{precision} {images[f'openvino {precision}']['over_eager']['median']:.1f}"
        for precision in ("fp32", "bf16", "int8")
    )
    return {
        "scale": f"The best {case['depth']} of {case['moments']:,} vectors take {ours['cpu_ms']['p50']:.1f} ms of one core, with "
        f"recall {ours['recall_at'][str(case['depth'])]:.3f}: {over['numpy fp32']:.0f} times less CPU than numpy in fp32 and "
        f"{over['LanceDB flat']:.0f} times less than LanceDB's flat search ([JSON](results/bench-candidates.json)). A whole "
        f"text query over {held['moments']:,} moments, with a text tower of ViT-B/32's size and exact X-Pool on "
        f"{held['depth']} candidates, for captions of {held['words_a_query']:.0f} words, takes {whole['p50']:.0f} ms of one core, {whole['p99']:.0f} ms at the 99th "
        f"percentile ([JSON](results/bench-query.json)). Pictures are encoded {faster} times faster than by eager torch in "
        f"fp32, a sentence {texts['openvino fp32']['over_eager']['median']:.1f} times without loss ([encoding](docs/encoding.md))."
    }


def _engines(data: dict[str, Any]) -> str:
    case = data["case"]
    lines = [
        (
            f"{case['moments']:,} vectors of {case['dim']} numbers, {case['vectors']}, the best {case['depth']}, one "
            f"thread, engines in turn in one process, {case['queries']} queries ({case['lance_queries']} of LanceDB):"
        ),
        "",
        f"| engine | recall@{case['depth']} | CPU ms a query: median, 99 % | of ours with codes | MB |",
        "|---|---|---|---|---|",
    ]
    for name, row in data["engines"].items():
        ratio = row["cpu_over_framesift_faiss"]
        spread = f"{ratio['median']:.1f}× ({ratio['lower_quartile']:.1f}–{ratio['upper_quartile']:.1f})"
        lines.append(
            f"| {name} | {row['recall_at'][str(case['depth'])]:.3f} | {row['cpu_ms']['p50']:.1f}, "
            f"{row['cpu_ms']['p99']:.1f} | {spread} | {row['bytes'] / 1e6:,.0f} |"
        )
    build = data["build"]
    spent = build["train_cpu_s"] + build["encode_cpu_s"]
    lines += [
        "",
        (
            f"Codes take {spent:.0f} CPU s to learn and make, {build['assemble_wall_s']:.2f} s to be put in place when "
            "an index is opened; the vectors, from which the best rows are scored again, stay on disk. Under filters:"
        ),
        "",
        "| rows that may be found | CPU ms, codes | recall: mean, least |",
        "|---|---|---|",
    ]
    lines += [
        f"| {100 * row['allowed_share']:g} %, {row['filter']} | {row['cpu_ms']['p50']:.1f} | "
        f"{row['recall_at_100']:.3f}, {row['least_recall_at_100']:.2f} |"
        for row in data["filters"]
        if row["engine"] == "faiss"
    ]
    short = max(row["last_score_short_by"] for row in data["filters"] if row["engine"] == "faiss")
    lines += [
        "",
        "The last row that was found scored "
        + (
            f"{short:.1e} less than the last of exact search, at most."
            if short
            else "as the last of exact search."
        ),
        "",
    ]
    return "\n".join([*lines, measured_on("bench-candidates", data)])


def _lists(data: dict[str, Any]) -> str:
    lines = [
        "| gallery | rows | CPU ms: all codes, lists | recall@200: all codes, lists | codes read with lists |",
        "|---|---|---|---|---|",
    ]
    for name in GALLERIES:
        for size in data[name]["sizes"]:
            every, some = size["engines"]["all codes"], size["engines"]["lists"]
            lines.append(
                f"| {name} | {size['rows']:,} | {every['cpu_ms']['p50']:.1f}, {some['cpu_ms']['p50']:.1f} | "
                f"{every['recall_at_200']:.3f}, {some['recall_at_200']:.3f} | {some['share_of_rows_read']:.0%} |"
            )
    slopes = "; ".join(
        f"{name}: {found['all codes']:.2f} and {found['lists']:.2f}"
        for name in GALLERIES
        if (found := data[name]["log_log_slope_of_cpu"])
    )
    lines += ["", f"CPU time grows with rows to the power of (all codes and lists) {slopes}.", ""]
    return "\n".join([*lines, measured_on("bench-candidate-lists", data)])


def _milvus(data: dict[str, Any]) -> str:
    lines = [
        f"{data['moments']:,} moments, {data['server']}, {data['client']}:",
        "",
        "| asked | queries | the same first ten hits as `exact` | largest difference of their scores |",
        "|---|---|---|---|",
    ]
    for name, step in data.items():
        if name.startswith("asked"):
            same = next(value for key, value in step.items() if key.startswith("queries_with_the_same"))
            apart = next(value for key, value in step.items() if key.startswith("largest_difference"))
            when = name.removeprefix("asked").replace("_", " ").strip() or "once filled"
            lines.append(f"| {when} | {step['queries']} | {same} | {apart:g} |")
    return "\n".join([*lines, "", measured_on("bench-milvus", {"machine": data["provenance"]})])


def _storm(data: dict[str, Any]) -> str:
    kills = ", ".join(f"{count} in {what}" for what, count in data["kills"].items())
    flips = ", ".join(f"{count} in {what}" for what, count in data["flips"].items())
    rows = {
        "processes killed (SIGKILL)": f"{sum(data['kills'].values())}: {kills}",
        "meanwhile, read and compared with what was committed": f"{data['reads']:,} states, "
        f"{data['cached_parts']:,} of their {data['parts']:,} parts from the cache",
        "bits flipped": f"{sum(data['flips'].values())}: {flips}; {data['in_place']} of them under an open index",
        "refreshes stopped by a full disk": f"{data['full']}",
        "of which nobody was told": f"{data['unnoticed']} flips",
        "wrong or missing rows, other hits than without a cache": f"{len(data['wrong']) or 'none'}",
    }
    lines = ["| | |", "|---|---|", *(f"| {what} | {seen} |" for what, seen in rows.items())]
    machine = data["machine"]
    lines += [
        "",
        (
            f"{machine['cpu']}, {machine['cores']} cores, {data['elapsed_s']:.0f} s "
            "([JSON](../results/cache-chaos.json), `python tests/chaos/cache_storm.py --json results/cache-chaos.json`)."
        ),
    ]
    return "\n".join(lines)
