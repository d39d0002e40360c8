"""What happens inside the closed namespace. Every function here is run by namespace.run_inside, and returns JSON."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

from .cluster import Cluster, listening
from .counting import CHUNKS_FILE, encoded_names
from .load import Load
from .namespace import interfaces

__all__ = ["index_through_deaths", "serve_through_deaths"]

COMMAND = Path(sys.executable).with_name("framesift")
HERE = Path(__file__).parent
WAIT_S = 400.0
SERVE_PORT = 8123
MODEL = "storyboard-xpool"


def index_through_deaths(
    folder: Path,
    videos: str,
    nodes: int,
    kill_node_at: float,
    kill_driver_at: float,
    with_blind_node: bool = False,
) -> dict[str, Any]:
    """Index ``videos`` into ``folder / "ray.index"``, while a node and then the driver are killed; then to the end.

    Args:
        nodes: of one CPU each.
        kill_node_at: as soon as this share of the videos is committed.
        kill_driver_at: the same.
        with_blind_node: in the end, try with a node that does not see the videos.
    """
    from framesift.index import Index

    index, notes = folder / "ray.index", folder / "chunks.jsonl"
    total = sum(len(names) for _, _, names in os.walk(videos))
    os.environ[CHUNKS_FILE] = str(notes)  # nodes inherit it
    seen: dict[str, Any] = {"interfaces": interfaces()}
    began, at_s = time.monotonic(), dict[str, float]()

    def mark(what: str) -> None:
        at_s[what] = round(time.monotonic() - began, 1)

    with Cluster(nodes) as cluster:
        mark("the cluster is up")
        Index.create(index, model=MODEL, moments="whole").close()
        driver = [sys.executable, str(HERE / "driver.py"), cluster.address, str(index), videos]
        first = subprocess.Popen(driver, stdin=subprocess.DEVNULL, stdout=sys.stderr)
        try:
            _wait(lambda: _committed(index) >= kill_node_at * total, first)
            mark("the node is killed")
            seen["listening"] = listening()
            cluster.kill(cluster.nodes[0])
            seen["committed_when_the_node_died"] = _committed(index)
            _wait(lambda: _committed(index) >= kill_driver_at * total, first)
        finally:
            mark("the driver is killed")
            first.kill()
            first.wait()
        seen["committed_when_the_driver_died"] = _committed(index)
        resumed = subprocess.run(
            driver,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        seen["second_driver"] = {"status": resumed.returncode, "said": resumed.stderr[-2000:]}
        mark("the second driver has ended")
        seen["encoded"] = encoded_names(notes)
        again = ["-i", index, "-m", MODEL, "--ray", cluster.address, "--retry-failed", "--json"]
        seen["command"] = _command(videos, *again)
        mark("the command has ended")
        if with_blind_node:
            cluster.nodes.append(cluster.add(hidden=videos))
            seen["with_blind_node"] = _command(videos, *again)
            mark("the command with a blind node has ended")
    return {**seen, "at_s": at_s}


def serve_through_deaths(
    folder: Path, index: str, more: str, queries: list[str], nodes: int, replicas: int, clients: int
) -> dict[str, Any]:
    """Serve a published index; under load, kill a replica, then publish the index with the videos of ``more``."""
    token = secrets.token_hex(16)
    headers = {"authorization": f"Bearer {token}"}
    seen: dict[str, Any] = {}
    with Cluster(nodes) as cluster:
        server = ServeCommand(cluster.address, index, replicas, token)
        try:
            server.wait_for("framesift is at")
            server.wait_for(f"{replicas} of {replicas} replicas answer")
            seen["listening"] = listening()
            with httpx.Client(base_url=server.url, headers=headers, timeout=WAIT_S) as client:
                seen["answers"] = [
                    client.get("/api/search", params={"q": query, "k": 5}).json() for query in queries
                ]
                seen["upload"] = client.post("/api/uploads", files={"file": b"x"}).status_code
                seen["without_token"] = httpx.get(f"{server.url}api/videos", timeout=WAIT_S).status_code
                with Load(server.url, queries, headers, clients=clients) as load:
                    time.sleep(2)
                    victim = _replica_processes()[0]
                    seen["replica_killed"] = " ".join(victim.cmdline())
                    victim.kill()
                    killed_at = time.monotonic()
                    server.wait_for(f"{replicas - 1} of {replicas} replicas answer")
                    server.wait_for(f"{replicas} of {replicas} replicas answer")
                    seen["replaced_s"] = round(time.monotonic() - killed_at, 1)
                    time.sleep(1)
                seen["load_while_a_replica_died"] = load.to_dict()
                with Load(server.url, queries, headers, clients=clients) as load:
                    before = client.get("/api/videos").json()["total"]
                    seen["published"] = _command(more, "-i", index, "--publish", "live", "--json")["status"]
                    published_at = time.monotonic()
                    in_a_row = 0
                    while in_a_row < 10 * replicas:  # both must have moved over
                        total = client.get("/api/videos").json()["total"]
                        in_a_row = in_a_row + 1 if total != before else 0
                        assert time.monotonic() - published_at < WAIT_S, "the replicas did not move over"
                        seen["moved_over_s"] = round(time.monotonic() - published_at, 1)
                    seen["videos"] = [before, total]
                seen["load_while_published"] = load.to_dict()
        finally:
            seen["status"] = server.end()
            seen["said"] = "".join(server.lines)
        seen["listening_after_the_end"] = [one for one in listening() if one["port"] == SERVE_PORT]
    return seen


class ServeCommand:
    """``framesift serve --ray``, as users run it."""

    def __init__(self, address: str, index: str, replicas: int, token: str) -> None:
        arguments = ["-i", index, "--ray", address, "--replicas", str(replicas), "--port", str(SERVE_PORT)]
        self.url = f"http://127.0.0.1:{SERVE_PORT}/"
        self.lines: list[str] = []
        self._read = 0
        self._process = subprocess.Popen(
            [COMMAND, "serve", *arguments],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "FRAMESIFT_TOKEN": token},
        )
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line)

    def wait_for(self, what: str) -> None:
        """Until it says so, after what it was waited for before."""
        until = time.monotonic() + WAIT_S
        while True:
            for number in range(self._read, len(self.lines)):
                if what in self.lines[number]:
                    self._read = number + 1
                    return
            assert self._process.poll() is None, "".join(self.lines)
            assert time.monotonic() < until, f"waited for {what!r}: {''.join(self.lines)}"
            time.sleep(0.05)

    def end(self) -> int:
        """Ask it to end, as a terminal or a service manager does."""
        self._process.terminate()
        try:
            return self._process.wait(90)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def _replica_processes() -> list[psutil.Process]:
    return [one for one in psutil.process_iter() if "ServeReplica" in " ".join(one.cmdline())]


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
