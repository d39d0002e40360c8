"""The tables of docs/performance.md and docs/scale.md, from results/bench-*.json alone.

A block whose measurement is not there yet is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from measured_on import measured_on

__all__ = ["performance_blocks", "scale_blocks"]

Read = Callable[[str], Mapping[str, Any] | None]
MOMENT_S = 10.0
EXTRAPOLATED = (10_000_000, 100_000_000)
CACHE = ("segments", "scenes", "codes")
STAGES = {
    "text": "text tower",
    "candidates": "candidates",
    "frames": "their frames",
    "xpool": "X-Pool",
    "results": "merging, attention",
}


def performance_blocks(read: Read) -> dict[str, str]:
    """Every block of docs/performance.md that was measured, by its name."""
    return _made(
        read,
        {
            "query": ("bench-query", query),
            "query-profile": ("bench-profile", query_profile),
            "index-profile": ("bench-profile", index_profile),
            "depth": ("bench-candidate-depth", depth),
        },
    )


def scale_blocks(read: Read) -> dict[str, str]:
    """Every block of docs/scale.md that was measured, by its name."""
    growing, profile = read("bench-growth"), read("bench-profile")
    made = _made(read, {"growth": ("bench-growth", growth), "sampled": ("bench-growth-gallery", sampled)})
    return made | ({"costs": costs(growing, profile)} if growing else {})


def _made(read: Read, blocks: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], str]]]) -> dict[str, str]:
    found = {name: (result, read(result), make) for name, (result, make) in blocks.items()}
    return {
        name: f"{make(data)}\n\n{measured_on(result, data)}"
        for name, (result, data, make) in found.items()
        if data is not None
    }


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


# ---- docs/performance.md


def query(data: Mapping[str, Any]) -> str:
    """Stages of a query."""
    backends = {name: held for name, held in data.items() if name != "machine"}
    first = next(iter(backends.values()))
    head = (
        f"{first['moments']:,} moments, {first['different_queries']} different captions of {first['words_a_query']:.0f} words, "
        f"{first['depth']} candidates by `{first['engine_used']}`; CPU milliseconds:"
    )
    columns = ["stage", *(f"{name}: {what}" for name in backends for what in ("p50", "p99", "share"))]
    rows: list[list[str]] = []
    for stage, title in STAGES.items():
        cells = [title]
        for held in backends.values():
            taken = held["stages_cpu_ms"][stage]
            cells += [_ms(taken["p50"]), _ms(taken["p99"]), f"{100 * held['share_of_stages'][stage]:.0f} %"]
        rows.append(cells)
    whole = ["**whole query**"]
    for held in backends.values():
        whole += [f"**{_ms(held['query_cpu_ms']['p50'])}**", _ms(held["query_cpu_ms"]["p99"]), ""]
    aims = [
        f"{name}: {_ms(held['query_cpu_ms']['p50'])} ms at the median, "
        f"{'within' if held['target']['met'] else 'ABOVE'} the aim of {held['target']['p50_ms']:.0f} ms"
        + (f" and the goal of {held['target']['goal_ms']:.0f} ms" if held["target"]["goal_met"] else "")
        for name, held in backends.items()
    ]
    told = [f"{'; '.join(aims)}."]
    if "opening" in first:
        took = first["opening"]
        told += [
            "",
            f"Opening the index with its engine took {took['cpu_s']:.2f} s of CPU time, {took['wall_s']:.2f} on the clock.",
        ]
    if "first_time_cpu_ms" in first:
        cpu, wall = first["first_time_cpu_ms"], first["first_time_wall_ms"]
        told += [
            "",
            (
                f"The first time, when most of what a query reads of the index has not been read before: {_ms(cpu['p50'])} ms of CPU "
                f"time at the median and {_ms(cpu['p99'])} ms at the 99th percentile, {_ms(wall['p50'])} and {_ms(wall['p99'])} ms on "
                "the clock."
            ),
        ]
    short = {name: held["short"] for name, held in backends.items() if "short" in held}
    if short:
        words = next(iter(short.values()))["words_a_query"]
        taken = (
            f"{name} {_ms(held['query_cpu_ms']['p50'])} ms at the median and {_ms(held['query_cpu_ms']['p99'])} ms at the 99th "
            f"percentile, {_ms(held['stages_cpu_ms']['text']['p50'])} ms of it in the text tower"
            for name, held in short.items()
        )
        told += ["", f"Queries of {words:.0f} words: {'; '.join(taken)}."]
    return "\n".join([head, "", _table(columns, [*rows, whole]), "", *told])


def query_profile(data: Mapping[str, Any]) -> str:
    """A query against the machine."""
    if "query" not in data:
        return "Not measured: `./run bench query` comes first."
    parts: list[str] = []
    for backend, held in data["query"].items():
        rows = _bounds({STAGES[name]: stage for name, stage in held["stages"].items()})
        head = f"{held['moments']:,} moments, {held['depth']} candidates by `{held['engine']}`, text tower by {backend}:"
        parts += [
            head,
            "",
            _table(["stage", "CPU ms", "share", "bound by", "least ms", "times the least"], rows),
        ]
    return "\n".join([*parts[:3], *(["", *parts[3:]] if parts[3:] else []), "", _limits(data)])


def index_profile(data: Mapping[str, Any]) -> str:
    """Indexing against the machine."""
    held = data["indexing"]
    rows = _bounds(held["stages"])
    head = (
        f"{held['clip']}, {held['frames']} frames, ViT-B/32's size ({held['gflop_a_frame']:.1f} GFLOP a frame) by "
        f"{held['backend']}; {held['cpu_ms'] / 1000:.2f} CPU seconds a clip on one thread:"
    )
    table = _table(["stage", "CPU ms", "share", "bound by", "least ms", "times the least"], rows)
    return "\n".join([head, "", table, "", _limits(data)])


def _limits(data: Mapping[str, Any]) -> str:
    held = data["limits_of_one_thread"]
    return (
        f"One thread here reads {held['memory_bytes_per_s'] / 1e9:.0f} GB/s from memory, multiplies matrices at "
        f"{held['flops'] / 1e9:.0f} GFLOP/s and writes {held['disk_write_bytes_per_s'] / 1e9:.2f} GB/s to the disk, synced."
    )


def _bounds(stages: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    return [
        [
            name,
            _ms(stage["cpu_ms"]),
            f"{100 * stage['share']:.1f} %",
            stage["bound"] or "–",
            _ms(stage["least_ms"]) if stage["bound"] else "–",
            f"{stage['times_the_least']:.1f}" if stage["bound"] else "–",
        ]
        for name, stage in stages.items()
    ]


def depth(data: Mapping[str, Any]) -> str:
    """How deep X-Pool has to look."""
    goals = list(next(iter(data["sizes"][0]["depth_for_recall"].values())))
    rows: list[list[str]] = []
    for size in data["sizes"]:
        for name, needed in size["depth_for_recall"].items():
            kind = name.split(", ")[1]
            shares = size["recall_of_best_ten"]
            cells = [f"{size['moments']:,}", kind, f"{size['vectors_a_moment'][kind]:.1f}"]
            cells += [f"{100 * shares[name]['200']:.1f} %", *(f"{needed[goal]:,}" for goal in goals)]
            faiss = shares.get(f"faiss, {kind}")
            rows.append([*cells, f"{100 * faiss['200']:.1f} %" if faiss else "–"])
    columns = ["moments", "found by", "vectors a moment", "among 200"]
    columns += [f"depth for {100 * float(goal):.0f} %" for goal in goals]
    table = _table([*columns, "among 200, by codes"], rows)
    largest = max(data["sizes"], key=lambda size: size["moments"])
    parts = [
        f"{title} ({held['captions']} captions): "
        + ", ".join(
            f"{100 * held[f'exact, {kind}']['among_200']:.0f} % by {kind}"
            for kind in largest["vectors_a_moment"]
        )
        for title, held in largest["by_what_the_caption_tells"].items()
    ]
    told = f"Among 200 of {largest['moments']:,}, by what a caption tells: {'; '.join(parts)}."
    return f"{table}\n\n{told}"


# ---- docs/scale.md


def growth(data: Mapping[str, Any]) -> str:
    """What was measured at each size, and how it grows."""
    sizes, slopes = data["sizes"], data["slopes"]

    def row(title: str, of: Callable[[Mapping[str, Any]], str], slope: str | None = None) -> list[str]:
        return [title, *map(of, sizes), f"{slopes[slope]:.2f}" if slope in slopes else ""]

    rows = [
        row("tables: CPU s", lambda size: f"{size['tables']['cpu_s']:.1f}", "tables: CPU time"),
        row("tables: GB", lambda size: _gb(size["tables"]["bytes"]), "tables: disk"),
        row(
            "cache, scenes, codes: CPU s",
            lambda size: " + ".join(f"{size[part]['cpu_s']:.1f}" for part in CACHE),
            "cache: CPU time",
        ),
        row(
            "cache, scenes, codes: GB",
            lambda size: " + ".join(_gb(size[part]["bytes"]) for part in CACHE),
            "cache: disk",
        ),
    ]
    if "frame_codes" in sizes[0]:
        rows.append(row("codes of frames: CPU s, GB", _frame_codes))
    for engine in sizes[0]["engines"]:

        def told(
            size: Mapping[str, Any], show: Callable[[Mapping[str, Any]], str], engine: str = engine
        ) -> str:
            return show(size["engines"][engine]) if engine in size["engines"] else "–"

        rows += [
            row(
                f"`{engine}`: opens in, s: CPU, wall",
                lambda size, told=told: told(
                    size, lambda one: f"{one['opening']['cpu_s']:.2f}, {one['opening']['wall_s']:.2f}"
                ),
            ),
            row(
                f"`{engine}`: memory, GB",
                lambda size, told=told: told(size, lambda one: _memory(one["memory_bytes"])),
            ),
            row(
                f"`{engine}`: candidates, ms",
                lambda size, told=told: told(size, lambda one: _spread(one["candidates_cpu_ms"])),
                f"{engine}: candidates",
            ),
            row(
                f"`{engine}`: query, ms",
                lambda size, told=told: told(size, lambda one: _spread(one["query_cpu_ms"])),
                f"{engine}: query",
            ),
        ]
    rows.append(
        row(
            "`faiss by mean`: recall@100 of exact scores",
            lambda size: f"{size['engines']['faiss by mean']['recall_at_100']:.4f}",
        )
    )
    columns = ["", *(f"{size['moments']:,}" for size in sizes), "exponent"]
    head = (
        f"{data['dim']} dimensions, {data['frames']} frames a moment, {sizes[0]['engines']['auto']['depth']} candidates of "
        f"which X-Pool orders all, {data['queries']} captions. Times are CPU time, p50 and p99; memory is the process's own + "
        "what it maps of the index, after the queries. `auto` finds moments by scenes and pairs of scenes. An exponent of 1 is growth in proportion, 0 none."
    )
    return "\n".join([head, "", _table(columns, rows)])


def _frame_codes(size: Mapping[str, Any]) -> str:
    held = size.get("frame_codes")
    return "–" if held is None else f"{held['cpu_s']:.1f}, {_gb(held['bytes'])}"


def _memory(held: Mapping[str, Mapping[str, int]]) -> str:
    own, mapped = (held["asked"][kind] - held["imports_and_model"][kind] for kind in ("own", "file"))
    return f"{_gb(own)} + {_gb(mapped)}"


def _spread(taken: Mapping[str, float]) -> str:
    return f"{_ms(taken['p50'])}, {_ms(taken['p99'])}"


def costs(data: Mapping[str, Any], profile: Mapping[str, Any] | None) -> str:
    """What an index costs: measured sizes, and larger ones in proportion to the largest of them."""
    *others, largest = sorted(data["sizes"], key=lambda size: size["moments"])
    each_ms = _a_moment_ms(largest, others[-1] if others else None)
    encoding = None if profile is None else profile["indexing"]["cpu_ms"] / 1000

    stored = (("tables",), ("segments", "scenes"), ("codes",))

    def row(moments: int, size: Mapping[str, Any], label: str) -> list[str]:
        scale = moments / size["moments"]
        held = [scale * sum(size[part]["bytes"] for part in parts) for parts in stored]
        build = scale * sum(size[part]["cpu_s"] for part in ("tables", *CACHE))
        engine = size["engines"]["auto"]
        return [
            f"{moments:,}",
            f"{moments * MOMENT_S / 3600:,.0f}",
            _gb(held[0]),
            _gb(held[1]),
            _gb(held[2]),
            f"{build / 3600:.2g}",
            "–" if encoding is None else f"{moments * encoding / 3600:,.0f}",
            _ms(engine["query_cpu_ms"]["p50"] + each_ms * (moments - size["moments"])),
            label,
        ]

    columns = [
        "moments",
        "hours of video",
        "tables, GB",
        "cache, GB",
        "codes, GB",
        "tables and cache, CPU h",
    ]
    columns += ["decode and encode, CPU h", "query without text tower, CPU ms", ""]
    rows = [row(size["moments"], size, "measured") for size in data["sizes"]]
    rows += [
        row(moments, largest, "extrapolated") for moments in EXTRAPOLATED if moments > largest["moments"]
    ]
    each = {part: largest[part]["bytes"] / largest["moments"] for part in ("tables", *CACHE)}
    told = (
        f"A moment takes {each['tables'] / 1024:.1f} KiB in the tables, {each['segments'] / 1024:.1f} KiB in the cache, "
        f"{each['scenes'] / 1024:.1f} KiB of scenes and {each['codes']:.0f} B of codes. Extrapolated rows are the largest measured one in proportion, and a query grows by the scan of the codes as it "
        "does between the two largest: no larger index has been built."
    )
    if encoding is not None:
        told += f" Decoding and encoding is of moments of their own, {encoding:.2f} CPU s each (docs/performance.md)."
    return "\n".join([_table(columns, rows), "", told])


def _a_moment_ms(largest: Mapping[str, Any], next_one: Mapping[str, Any] | None) -> float:
    """What a moment more adds to the search for candidates by codes: the slope between the two largest sizes."""

    def taken(size: Mapping[str, Any]) -> float:
        return size["engines"]["auto"]["candidates_cpu_ms"]["p50"]

    if next_one is None:
        return taken(largest) / largest["moments"]
    return (taken(largest) - taken(next_one)) / (largest["moments"] - next_one["moments"])


def sampled(data: Mapping[str, Any]) -> str:
    """Sampled galleries beside real videos."""
    kinds = {
        "real": "real videos",
        **{name: name for name in data if name.startswith("sampled, ")},
    }
    quantities: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "variance in 16 directions": lambda one: f"{one['share_of_variance_in_first_directions']['16']:.3f}",
        "nearest neighbour: median, 99 %": lambda one: _pair(
            one["cosine_of_nearest_neighbours"], "0.5", "0.99"
        ),
        "next frame: 10 %, median": lambda one: _pair(one["cosine_of_frames_by_distance"]["1"], "0.1", "0.5"),
        "last frame: 10 %, median": lambda one: _pair(
            one["cosine_of_frames_by_distance"]["11"], "0.1", "0.5"
        ),
        "foreign captions: median, 99 %": lambda one: _pair(
            one["cosine_of_captions_with_other_videos"], "0.5", "0.99"
        ),
        "own video's median rank": lambda one: f"{one['rank_of_own_video_among_these']['median']:g}",
    }
    rows = [[title, *(show(data[name]) for show in quantities.values())] for name, title in kinds.items()]
    apart, half = data["sampled against real"], data["another half of the real ones"]
    told = (
        f"The means of samples and real videos are {apart['distance_of_means_in_standard_deviations']:.2f} standard deviations "
        f"apart and their covariances differ by {100 * apart['relative_difference_of_covariances']:.0f} %; two halves of the real "
        f"videos: {half['distance_of_means_in_standard_deviations']:.2f} and {100 * half['relative_difference_of_covariances']:.0f} %."
    )
    head = f"{data['videos']:,} videos each, cosines:"
    return "\n".join([head, "", _table(["", *quantities], rows), "", told])


def _pair(quantiles: Mapping[str, float], one: str, other: str) -> str:
    return f"{quantiles[one]:.2f}, {quantiles[other]:.2f}"


def _ms(value: float) -> str:
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _gb(size: float) -> str:
    gigabytes = size / 1e9
    return (
        f"{gigabytes:.3f}"
        if gigabytes < 0.1
        else f"{gigabytes:.2f}"
        if gigabytes < 10
        else f"{gigabytes:,.0f}"
    )
