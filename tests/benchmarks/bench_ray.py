"""A cluster of Ray nodes in one closed network namespace: who dies, what is done twice, and which requests fail.

::

    python tests/benchmarks/bench_ray.py [--videos 2000] [--json results/bench-ray.json]

Small Storyboard videos are rendered once, into the cache folder of the user. A head and three nodes of one CPU each
index them with ``framesift.jobs``: a node is killed when half of the videos are committed, the driver when three
quarters are, and another driver ends the job. The table is compared with one that a single process built. Then two
replicas serve that index to some clients: one replica is killed, and more videos are published, while they ask. All
nodes share this machine, so that nothing here is a measurement of speed; the times tell of waiting, not of work.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from record import keep, machine  # noqa: E402

from framesift.index import BuildConfig, Index  # noqa: E402
from framesift.storyboard import draw_storyboard, write_videos  # noqa: E402
from framesift.web.settings import cache_folder  # noqa: E402
from integration.ray.namespace import run_inside, why_not  # noqa: E402
from integration.ray.tables import FLOATS, rows_of, same_rows  # noqa: E402

MODEL = "storyboard-xpool"
VIDEOS, MORE = 2000, 50
NODES = 3  # besides the head: four raylets
SIZE_PX = 64
FIRST_SEED = 77_000_000
QUERIES = ["a red circle", "a blue square moves left", "a star", "a green triangle and a circle"]
INDEX_TIMEOUT_S, SERVE_TIMEOUT_S = 500.0, 300.0


def main() -> None:
    """Run it, print, and write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where to keep the numbers")
    parser.add_argument("--videos", type=int, default=VIDEOS, help="videos to index")
    parser.add_argument("--clients", type=int, default=4, help="clients that ask the replicas")
    options = parser.parse_args()
    if (reason := why_not()) is not None:
        raise SystemExit(f"cannot run Ray safely here: {reason}")
    videos = rendered(FIRST_SEED, options.videos)
    more = rendered(FIRST_SEED + 10**6, MORE)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        document = {
            "provenance": "tests/benchmarks/bench_ray.py",
            "machine": machine(),
            "index": indexing(work, videos, options.videos),
            "serve": serving(work, more, options.clients),
        }
    keep(document, options.json)


def rendered(first: int, count: int) -> Path:
    """A folder of so many videos of one scene, made once."""
    folder = cache_folder() / "bench-ray" / f"{first}-{count}-{SIZE_PX}px"
    folder.mkdir(parents=True, exist_ok=True)
    missing = count - sum(path.suffix == ".mp4" for path in folder.iterdir())
    if missing:
        _say(f"rendering {missing} videos")
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            parts = [(folder, first + start, min(50, count - start)) for start in range(0, count, 50)]
            list(pool.map(_render, parts))
    return folder


def _render(part: tuple[Path, int, int]) -> None:
    folder, first, count = part
    videos = [draw_storyboard(first + i, num_scenes=1) for i in range(count)]
    write_videos(videos, folder, size_px=SIZE_PX)


def indexing(work: Path, videos: Path, count: int) -> dict[str, Any]:
    """Both builds, and how they compare."""
    _say("indexing on one machine")
    began = time.monotonic()
    with Index.create(work / "local.index", model=MODEL, moments="whole") as index:
        report = index.add(videos, config=BuildConfig(workers=1))
    local_s = time.monotonic() - began
    assert report.added == count, report.failed
    _say(f"indexing on {NODES} nodes, through deaths")
    seen = run_inside(
        "index_through_deaths",
        work,
        timeout_s=INDEX_TIMEOUT_S,
        videos=str(videos),
        nodes=NODES,
        kill_node_at=0.5,
        kill_driver_at=0.75,
    )
    times = Counter(seen["encoded"])
    with Index.open(work / "local.index") as local, Index.open(work / "ray.index") as cluster:
        rows, uris = rows_of(cluster), Counter(record.uri for record in cluster.videos())
        expected = rows_of(local)
        try:
            same_rows(expected, rows)
            same = True
        except AssertionError as error:
            _say(f"the tables differ: {error}")
            same = False
        bits = sum(_bits(one) == _bits(other) for one, other in zip(expected, rows, strict=False))
        problems = [str(problem) for problem in cluster.verify().problems]
    return {
        "videos": count,
        "nodes": NODES,
        "raylets": NODES + 1,
        "committed_when_the_node_died": seen["committed_when_the_node_died"],
        "committed_when_the_driver_died": seen["committed_when_the_driver_died"],
        "status_of_the_second_driver": seen["second_driver"]["status"],
        "videos_in_the_index": len(uris),
        "every_video_once": len(uris) == count and set(uris.values()) == {1},
        "encoded": sum(times.values()),
        "encoded_again": sum(times.values()) - len(times),
        "rows": len(rows),
        "rows_equal_to_the_local_table": same,
        "rows_equal_to_the_last_bit": bits,
        "problems": problems,
        "local_s": round(local_s, 1),
        "at_s": seen["at_s"],
        "interfaces": seen["interfaces"],
        "listening": seen["listening"],
    }


def serving(work: Path, more: Path, clients: int) -> dict[str, Any]:
    """Replicas under load."""
    _say("serving from two replicas, through a death and a publication")
    path = work / "live.index"
    shutil.copytree(work / "local.index", path)
    with Index.open(path) as index:
        index.publish("live")
    seen = run_inside(
        "serve_through_deaths",
        work,
        timeout_s=SERVE_TIMEOUT_S,
        index=str(path),
        more=str(more),
        queries=QUERIES,
        nodes=2,
        replicas=2,
        clients=clients,
    )
    loads = [seen["load_while_a_replica_died"], seen["load_while_published"]]
    return {
        "replicas": 2,
        "clients": clients,
        "requests": sum(load["requests"] for load in loads),
        "failed": sum(load["failed"] for load in loads),
        **{key: seen[key] for key in ("replaced_s", "moved_over_s", "videos", "status", "listening")},
        "load_while_a_replica_died": loads[0],
        "load_while_published": loads[1],
    }


def _bits(row: dict[str, Any]) -> list[bytes]:
    return [np.asarray(row[name], np.float32).tobytes() for name in FLOATS if row[name] is not None]


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as the nodes have it: sums are then in the same order
    main()
