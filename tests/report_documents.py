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
        "slices": slices(),
        "xpool-msrvtt": reproduction(),
    }
