"""Result files of every kind, small and made up, for the tests of the report."""

from __future__ import annotations

from typing import Any

SCRIPT = "<script>document.title = 'taken over'</script>"
PROVENANCE = {
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "changed_since": False,
    "framesift": "0.1.0",
    "torch": "2.13.0+cpu",
    "python": "3.11.7",
    "machine": "x86_64, 2 cores",
    "finished": "2026-01-02T03:04:05Z",
}
HASHES = {"standard": "aaaa000011112222", "direction": "bbbb000011112222"}


def metrics(direction: str, r1: float, **more: Any) -> dict[str, Any]:
    """As ``Metrics.to_dict`` gives them."""
    return {
        "recall_at": {"1": r1, "5": min(100.0, r1 + 20), "10": min(100.0, r1 + 30), "50": 99.0},
        "median_rank": 4.0,
        "mean_rank": 20.5,
        "num_queries": 1000,
        "ties": "pessimistic",
        "direction": direction,
        **more,
    }


def split(content_hash: str, **more: Any) -> dict[str, Any]:
    """As ``Split.to_dict`` gives it."""
    known = {
        "benchmark": "msrvtt-1ka",
        "split": "test",
        "protocol": "one-caption",
        "videos": 1000,
        "captions": 1000,
    }
    return {**known, "content_hash": content_hash, "notes": [], **more}


def evaluation(
    system: str,
    r1: float,
    interval: tuple[float, float],
    *,
    content_hash: str = "cccc000011112222",
    **more: Any,
) -> dict[str, Any]:
    """One system on one split."""
    return {
        "kind": "evaluation",
        "title": f"{system} on MSR-VTT 1K-A",
        "split": split(content_hash),
        "systems": {
            system: {
                "t2v": metrics("t2v", r1, r1_interval=list(interval)),
                "v2t": metrics("v2t", r1 + 1),
                "beside": {
                    "dual softmax": {
                        "t2v": metrics("t2v", r1 + 5),
                        "v2t": metrics("v2t", r1 + 6),
                        "source": "the test queries themselves",
                    }
                },
            }
        },
        "seconds": 61.0,
        "provenance": PROVENANCE,
        **more,
    }


def slices(numbered: int = 4) -> dict[str, Any]:
    """Two systems, three seeds, on two slices and a family of numbered ones."""

    def system(low: float, pair: float | None) -> dict[str, Any]:
        seeds = []
        for seed in range(3):
            one: dict[str, Any] = {
                "seed": seed,
                "t2v": metrics("t2v", low + seed),
                "v2t": metrics("v2t", low - 1 + seed),
            }
            if pair is not None:
                one["pair_accuracy"] = {"t2v": pair + seed, "v2t": pair - seed}
            seeds.append(one)
        return {
            "seeds": seeds,
            "mean": {"t2v_r1": low + 1},
            "sd": {"t2v_r1": 1.0},
            "low": {"t2v_r1": low - 1.5},
            "high": {"t2v_r1": low + 3.5},
        }

    found: dict[str, Any] = {
        "standard": {
            "split": split(
                HASHES["standard"], benchmark="storyboard", notes=["3 of 1003 videos are missing"]
            ),
            "systems": {"mean-pool": system(20.0, None), "X-Pool": system(40.0, None)},
        },
        "direction": {
            "split": split(HASHES["direction"], benchmark="storyboard"),
            "systems": {"mean-pool": system(1.0, 49.0), "X-Pool": system(1.5, 50.0)},
        },
    }
    for number in range(numbered):
        found[f"diversity-{number}"] = {
            "split": split(f"dddd00001111000{number}", benchmark="storyboard"),
            "systems": {
                "mean-pool": system(20.0 - 4 * number, None),
                "X-Pool": system(40.0 - number, None),
            },
        }
    return {
        "kind": "slices",
        "title": "All systems on all slices",
        "slices": found,
        "seconds": 5000.0,
        "provenance": PROVENANCE,
    }


def reproduction() -> dict[str, Any]:
    """A paper's row beside two of ours."""
    return {
        "kind": "reproduction",
        "title": "X-Pool on MSR-VTT 1K-A (9k)",
        "recipe": "xpool-msrvtt-9k",
        "split": split("cccc000011112222"),
        "columns": {
            "paper": {"t2v_r1": 46.9, "t2v_r5": 72.8, "t2v_r10": 82.2, "t2v_mdr": 2.0, "t2v_mnr": 14.3},
            "selected_on_test": {"t2v": metrics("t2v", 46.5), "v2t": metrics("v2t", 44.0)},
            "selected_on_val": {"t2v": metrics("t2v", 45.4), "v2t": metrics("v2t", 43.0)},
        },
        "seed": 24,
        "seconds": 9000.0,
        "provenance": {**PROVENANCE, "changed_since": True},
    }


def experiment() -> dict[str, Any]:
    """A sweep with published numbers beside it."""
    return {
        "kind": "experiment",
        "name": "frame-count",
        "title": "How many frames",
        "x": {"label": "frames", "values": [1, 2, 4, 8, 12]},
        "y": {"label": "R@1, %", "better": "higher"},
        "series": [
            {
                "name": "X-Pool",
                "values": [20.0, 27.5, 33.0, 38.0, 40.0],
                "low": [18.0, 25.0, 30.0, 35.0, 37.0],
                "high": [22.0, 30.0, 36.0, 41.0, 43.0],
                "reference": False,
            },
            {"name": "paper", "values": [None, 40.0, 43.0, 46.0, 46.9], "reference": True},
        ],
        "text": "More frames help, up to a point.\n\nThe paper's clips are longer.",
        "tables": [{"title": "Cost", "columns": ["frames", "seconds"], "rows": [[1, 0.5], [12, 6.25]]}],
        "provenance": PROVENANCE,
        "seconds": 10.0,
    }


def full_reproduction() -> dict[str, Any]:
    """As ``framesift reproduce`` writes it: seeds, a normalization, warnings, settings, the runs."""

    def row(r1: float) -> dict[str, Any]:
        return {way: metrics(way, r1) for way in ("t2v", "v2t")}

    def seeds(r1: float) -> dict[str, Any]:
        recall = {k: {"mean": r1 + 10 * n, "sd": 0.4} for n, k in enumerate(("1", "5", "10", "50"))}
        ranks = {"median_rank": {"mean": 2.5, "sd": 0.5}, "mean_rank": {"mean": 13.0, "sd": 0.25}}
        return {
            way: {"recall_at": recall, **ranks, "num_queries": 1000, "ties": "clip4clip"}
            for way in ("t2v", "v2t")
        }

    runs = [
        {
            "seed": seed,
            "model": f"runs/seed-{seed}/best",
            "failed": {"v1": "torn"},
            **row(49.0),
            "ranks": {"t2v": [1.0] * 40},
        }
        for seed in (0, 1)
    ]
    published = {"paper": "CrossTVR", "table": 13, "row": "CrossTVR (Base)", "t2v": {"R1": 49.6}, "v2t": {}}
    return {
        "kind": "reproduction",
        "title": "crosstvr-base-msrvtt-9k: CrossTVR on MSR-VTT 1K-A, 9k training videos",
        "system": "CrossTVR",
        "recipe": {"name": "crosstvr-base-msrvtt-9k", "hash": "feedbeef00112233", "seeds": [0, 1]},
        "expected": [
            {**published, "normalization": "", "note": "tables 1 and 9 differ by 0.1"},
            {**published, "normalization": "dual softmax", "note": ""},
        ],
        "columns": {
            "paper": {"t2v": {"recall_at": {"1": 49.6, "5": 75.6}, "mean_rank": 12.0}},
            "selected_on_test": seeds(49.1),
            "selected_on_val": seeds(48.2),
        },
        "column_names": {
            "paper": "paper (CrossTVR, tables 4, 13)",
            "selected_on_test": "selected on test, as they did",
            "selected_on_val": "selected on val",
        },
        "normalized": {
            "dual softmax (T 100), before reranking": {
                "paper": {"t2v": {"recall_at": {"1": 52.8, "5": 77.6}}},
                "selected_on_test": seeds(52.0),
                "selected_on_val": seeds(51.0),
            }
        },
        "split": split("cccc000011112222", notes=["of every video, 0 to 31 s are seen, as published"]),
        "settings": {"benchmark": "msrvtt-1ka-9k", "optim": {"lr_head": 1e-4}, "frames": {"num_frames": 12}},
        "warnings": ["not the published settings: optim.steps=50 for 0"],
        "runs": {"selected_on_test": runs, "selected_on_val": runs},
        "text": "Made up.",
        "note": "A note.",
        "deviations": ["Adam instead of BertAdam", "no augmentation"],
        "tables": [{"title": "More", "columns": ["a", "b"], "rows": [["x", 1.5], ["y", None]]}],
        "seconds": 9000.0,
        "provenance": PROVENANCE,
    }


def panelled(chart: str = "line") -> dict[str, Any]:
    """An experiment with a second y axis, as ``framesift experiment`` writes it.

    Args:
        chart: ``line``; ``bar``, with long names; ``dot``, each system alone at its cost.
    """

    def series(name: str, values: list[float | None], **more: Any) -> dict[str, Any]:
        spread = [None if value is None else 2.0 for value in values]
        low = [None if s is None or v is None else v - s for v, s in zip(values, spread, strict=True)]
        high = [None if s is None or v is None else v + s for v, s in zip(values, spread, strict=True)]
        return {"name": name, "values": values, "low": low, "high": high, "reference": False, **more}

    names = [
        "first stage",
        "storyboard-crosstvr-xpool, both passes and shared parameters, four tokens selected",
        "spatial",
        "temporal",
    ]
    recall = [40.3, 44.25, None, 41.0]
    cost: list[float | None] = [0.21, 3.5, 3.1, 2.75]
    x: dict[str, Any] = {"label": "", "values": names}
    first, second = [series("R@1", recall), series("R@5", [70.0, 75.0, 72.5, 71.0])], [series("a pair", cost)]
    if chart == "line":
        x = {"label": "frames", "values": [1, 4, 8, 16]}
        constant = {"low": None, "high": None, "reference": True}
        first.append(series("first stage alone", [42.0] * 4, **constant))
    if chart == "dot":
        x = {"label": "searching 1,000 videos for one text, ms", "values": [0.31, 0.45, 0.62, 2.4]}
        alone = [[v if at == n else None for at in range(4)] for n, v in enumerate([25.2, 35.9, 40.3, 36.0])]
        labels = ("mean-pool (Pareto-best)", "X-Pool", "X-CLIP (Pareto-best)", "CrossTVR over X-Pool")
        first = [series(label, values) for label, values in zip(labels, alone, strict=True)]
        second = [series(labels[0], alone[0])]
    return {
        "kind": "experiment",
        "name": f"panelled-{chart}",
        "title": f"Two y axes, as {chart}s",
        "source": "CrossTVR, Table 6",
        "chart": chart,
        "x": x,
        "y": {"label": "recall, text to video, %", "better": "higher"},
        "series": first,
        "panels": [{"y": {"label": "time, ms", "better": "lower"}, "series": second}],
        "tables": [
            {"title": "All numbers", "columns": ["variant", "R@1"], "rows": [["both", 44.25], ["one", None]]}
        ],
        "text": "What was done.\n\nWhat it shows.",
        "shows": "What it shows.",
        "settings": {"config": {"rerank_depth": 15}, "models": {"a": "0123"}, "seed": 0, "device": "cpu"},
        "split": split("abab000011112222", benchmark="storyboard"),
        "provenance": PROVENANCE,
        "seconds": 100.0,
    }


def benchmark() -> dict[str, Any]:
    """Ratios and times, as the scripts of tests/benchmarks write them."""
    return {
        "case": {"texts": 1000, "videos": 1000},
        "cpu_s": {"published": [34.9, 23.3, 24.0], "fast": [0.61, 0.62, 0.6]},
        "published_over_fast": {"median": 39.1, "lowest": 37.8, "highest": 56.9},
        "peak_bytes": {"published": 6250815488, "fast": 48533504},
        "machine": {
            "cpu": "AMD EPYC",
            "cores": 2,
            "memory_bytes": 25276514304,
            "python": "3.11.7",
            "commit": "abc",
        },
    }


def all_kinds() -> dict[str, dict[str, Any]]:
    """One of each, and texts that would be markup."""
    return {
        "bench-fast": benchmark(),
        "frame-count": experiment(),
        "hostile": {
            "kind": "never heard of",
            "title": SCRIPT,
            f"key {SCRIPT}": f"value {SCRIPT}",
            "nested": {
                "captions": [
                    {"text": f"<b>{SCRIPT}", "n": 1},
                    {"text": '"><img src=x onerror=alert(1)>', "n": 2},
                ]
            },
        },
        "msrvtt-a": evaluation("X-Pool", 46.0, (43.0, 49.0)),
        "msrvtt-b": evaluation("mean-pool", 40.0, (37.0, 42.9)),
        "msrvtt-c": evaluation("X-CLIP", 46.3, (43.1, 49.2), content_hash="eeee000011112222"),
        "panelled-bar": panelled("bar"),
        "panelled-dot": panelled("dot"),
        "panelled-line": panelled("line"),
        "slices": slices(),
        "xpool-msrvtt": reproduction(),
        "crosstvr-msrvtt": full_reproduction(),
    }
