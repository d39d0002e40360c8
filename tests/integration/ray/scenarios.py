"""What happens inside the closed namespace. Every function here is run by namespace.run_inside, and returns JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .cluster import Cluster, listening
from .counting import CHUNKS_FILE, encoded_names
from .namespace import interfaces

__all__ = ["index_through_deaths"]

COMMAND = Path(sys.executable).with_name("framesift")
HERE = Path(__file__).parent
WAIT_S = 240.0
MODEL = "storyboard-xpool"


def index_through_deaths(
    folder: Path, videos: str, nodes: int, kill_node_at: float, kill_driver_at: float
) -> dict[str, Any]:
    """Index ``videos`` into ``folder / "ray.index"``, while a node and then the driver are killed; then to the end.

    Args:
        nodes: of one CPU each.
        kill_node_at: as soon as this share of the videos is committed.
        kill_driver_at: the same.
    """
    from framesift.index import Index

    index, notes = folder / "ray.index", folder / "chunks.jsonl"
    total = sum(len(names) for _, _, names in os.walk(videos))
    os.environ[CHUNKS_FILE] = str(notes)  # nodes inherit it
    seen: dict[str, Any] = {"interfaces": interfaces()}
    with Cluster(nodes) as cluster:
        Index.create(index, model=MODEL, moments="whole").close()
        driver = [sys.executable, str(HERE / "driver.py"), cluster.address, str(index), videos]
        first = subprocess.Popen(driver, stdin=subprocess.DEVNULL, stdout=sys.stderr)
        try:
            _wait(lambda: _committed(index) >= kill_node_at * total, first)
            seen["listening"] = listening()
            cluster.kill(cluster.nodes[0])
            seen["committed_when_the_node_died"] = _committed(index)
            _wait(lambda: _committed(index) >= kill_driver_at * total, first)
        finally:
            first.kill()
            first.wait()
        seen["committed_when_the_driver_died"] = _committed(index)
        resumed = subprocess.run(driver, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
        seen["status_of_the_second_driver"] = resumed.returncode
        seen["encoded"] = encoded_names(notes)
        # the command itself: nothing is left to do, and it says so as it does without a cluster
        seen["command"] = _command(videos, "-i", index, "-m", MODEL, "--ray", cluster.address, "--json")
    return seen


def _command(*arguments: str | Path) -> dict[str, Any]:
    """``framesift index``, as users run it."""
    done = subprocess.run(
        [COMMAND, "index", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_S,
    )
    document = json.loads(done.stdout) if done.stdout.startswith("{") else None
    return {"status": done.returncode, "document": document, "said": done.stderr}


def _committed(index: Path) -> int:
    from framesift.index import Index

    with Index.open(index) as opened:
        return len(opened.videos())


def _wait(ready: Callable[[], bool], process: subprocess.Popen[Any]) -> None:
    until = time.monotonic() + WAIT_S
    while not ready():
        assert process.poll() is None, "the driver ended too early"
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.1)
