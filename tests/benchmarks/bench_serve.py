"""How the server bears load: the demo library, on loopback, asked by many clients at once.

::

    python tests/benchmarks/bench_serve.py [--seconds SECONDS] [--json results/bench-serve.json]

Two measurements of ``framesift serve --demo``, a process of its own: one client that waits for each answer to a text
query that was not asked before (what a person feels), with the server on one core; and 32 clients that ask for
searches, pages of videos and pictures as fast as they are answered, with the server's memory every second.
Percentiles are of whole requests, connections kept.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import httpx
import psutil

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from record import keep, machine  # noqa: E402

from framesift.storyboard import standard  # noqa: E402
from live_server import Command  # noqa: E402

CLIENTS = 32
SECONDS = 60.0
ALONE = 200  # queries of one client
DEMO_VIDEOS = 240


def main() -> None:
    """Measure, print, and write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where to keep the numbers")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long many clients ask")
    options = parser.parse_args()
    seconds, target = options.seconds, options.json
    texts = list(dict.fromkeys(standard(DEMO_VIDEOS).texts))
    with tempfile.TemporaryDirectory() as folder:
        # the demo library of this user's cache, so that it is rendered once; jobs and pictures are this run's own
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        with Command(Path(folder), "--demo", XDG_CACHE_HOME=cache) as server:
            for text in ("a star", "a circle"):
                server.client.get("/api/search", params={"q": text}).raise_for_status()
            alone = _alone(server, texts)
            together = asyncio.run(_together(server, texts, seconds))
    document = {
        "machine": machine(),
        "provenance": "tests/benchmarks/bench_serve.py",
        "alone": alone,
        "load": together,
    }
    keep(document, target)


def _alone(server: Command, texts: list[str]) -> dict[str, Any]:
    """One client; the server's threads share one core."""
    process = psutil.Process(server.process.pid)
    cores = process.cpu_affinity() or [0]
    _pin(process, [cores[0]])
    took: list[float] = []
    before = process.cpu_times()
    for text in texts[:ALONE]:
        began = time.perf_counter()
        server.client.get("/api/search", params={"q": text, "k": 20}).raise_for_status()
        took.append(time.perf_counter() - began)
    after = process.cpu_times()
    _pin(process, cores)
    used_s = after.user + after.system - before.user - before.system
    return {
        "queries": len(took),
        "cores": 1,
        **_percentiles(took),
        "cpu_ms": round(1000 * used_s / len(took), 2),  # a query's share, whatever else the machine does
    }


def _pin(process: psutil.Process, cores: list[int]) -> None:
    for thread in process.threads():
        os.sched_setaffinity(thread.id, cores)


async def _together(server: Command, texts: list[str], seconds: float) -> dict[str, Any]:
    process = psutil.Process(server.process.pid)
    base = str(server.client.base_url)
    listed = server.client.get("/api/videos", params={"limit": 100}).json()["videos"]
    videos = [one["video_id"] for one in listed]
    took: dict[str, list[float]] = {"search": [], "videos": [], "frame": []}
    statuses: Counter[str] = Counter()
    memory: list[float] = []
    end = time.perf_counter() + seconds

    async def watch() -> None:
        while time.perf_counter() < end:
            memory.append(round(process.memory_info().rss / 2**20, 1))
            await asyncio.sleep(1.0)

    async def client(number: int) -> None:
        random = Random(number)
        async with httpx.AsyncClient(base_url=base, timeout=60.0) as asking:
            while time.perf_counter() < end:
                kind = random.choices(["search", "videos", "frame"], [6, 1, 3])[0]
                if kind == "search":
                    url, params = "/api/search", {"q": random.choice(texts), "k": 20}
                elif kind == "videos":
                    url, params = "/api/videos", {"offset": random.randrange(200), "limit": 20}
                else:
                    url = f"/api/videos/{random.choice(videos)}/frame"
                    params = {"t": random.randrange(4) / 2, "w": "160"}
                began = time.perf_counter()
                try:
                    status = str((await asking.get(url, params=params)).status_code)
                except httpx.HTTPError as error:
                    status = type(error).__name__
                took[kind].append(time.perf_counter() - began)
                statuses[status] += 1

    await asyncio.gather(watch(), *(client(number) for number in range(CLIENTS)))
    good = statuses["200"]
    third = max(1, len(memory) // 3)
    middle, last = statistics.median(memory[third : 2 * third] or memory), statistics.median(memory[-third:])
    return {
        "clients": CLIENTS,
        "seconds": seconds,
        "requests": sum(statuses.values()),
        "per_second": round(good / seconds, 1),
        "errors": sum(statuses.values()) - good,
        "statuses": dict(statuses),
        **{kind: _percentiles(times) for kind, times in took.items() if times},
        "rss_mib": memory,
        "rss_growth_mib": round(last - middle, 1),
    }


def _percentiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)

    def at(share: float) -> float:
        return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)

    return {"p50_ms": at(0.5), "p90_ms": at(0.9), "p99_ms": at(0.99), "max_ms": at(1.0)}


if __name__ == "__main__":
    main()
