"""Several Ray nodes on this machine, inside the namespace of namespace.py, each a process tree that can be killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from .namespace import interfaces

__all__ = ["Cluster", "listening"]

PORT = 6379
STORE_BYTES = 100 * 2**20
START_S = 60.0


class Cluster:
    """A head node without CPUs, and nodes of one CPU each; a context manager."""

    def __init__(self, nodes: int) -> None:
        assert interfaces() == ["lo"], "Ray is started in a closed namespace only"
        self.address = f"127.0.0.1:{PORT}"
        self.head = self._start("--head", f"--port={PORT}", "--num-cpus=0", "--include-dashboard=false")
        _wait_for(PORT, self.head)
        self.nodes = [self.add() for _ in range(nodes)]

    def add(self) -> subprocess.Popen[bytes]:
        """Start one more node."""
        return self._start(f"--address={self.address}", "--num-cpus=1")

    def _start(self, *options: str) -> subprocess.Popen[bytes]:
        command = [Path(sys.executable).with_name("ray"), "start", "--block", *options]
        own = ["--node-ip-address=127.0.0.1", f"--object-store-memory={STORE_BYTES}", "--disable-usage-stats"]
        ports = ["--dashboard-agent-listen-port=0", "--min-worker-port=0", "--max-worker-port=0"]
        ports += ["--metrics-export-port=0", "--runtime-env-agent-port=0"]
        return subprocess.Popen([*command, *own, *ports], stdin=subprocess.DEVNULL)

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        """As if the power had gone: SIGKILL to everything that runs on a node."""
        family = [psutil.Process(node.pid), *psutil.Process(node.pid).children(recursive=True)]
        for process in family:
            process.suspend()  # first, so that none of them does anything about the death of another
        for process in family:
            process.kill()
        node.wait()

    def close(self) -> None:
        """Kill all of it."""
        for node in [*self.nodes, self.head]:
            if node.poll() is None:
                self.kill(node)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def listening() -> list[dict[str, Any]]:
    """All sockets of this namespace on which something waits for connections."""
    found = psutil.net_connections("inet")
    return [
        {"address": one.laddr.ip, "port": one.laddr.port} for one in found if one.status == psutil.CONN_LISTEN
    ]


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_S
    while not any(one["port"] == port for one in listening()):
        assert process.poll() is None, "Ray's head node did not start"
        assert time.monotonic() < until, "Ray's head node took too long to start"
        time.sleep(0.1)


os.environ.setdefault("RAY_SERVE_LOG_TO_STDERR", "0")
