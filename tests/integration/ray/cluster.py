"""Several Ray nodes on this machine, inside the namespace of namespace.py, each a process tree that can be killed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from .namespace import interfaces

__all__ = ["Cluster", "listening"]

PORT = 6379
STORE_BYTES = 100 * 2**20
START_S = 120.0
HIDE = 'mount -t tmpfs none "$0" && exec "$@"'


class Cluster:
    """A head node without CPUs, and nodes of one CPU each; a context manager."""

    def __init__(self, nodes: int) -> None:
        assert interfaces() == ["lo"], "Ray is started in a closed namespace only"
        self.address = f"127.0.0.1:{PORT}"
        self._said: dict[int, Path] = {}
        self.head = self._start("--head", f"--port={PORT}", "--num-cpus=0", "--include-dashboard=false")
        self._wait_for(self.head)
        # one after another: of several that start on one machine at once, one sometimes waits for ever
        self.nodes = [self.add() for _ in range(nodes)]

    def add(self, *, hidden: str | None = None) -> subprocess.Popen[bytes]:
        """Start one more node, before which the folder ``hidden`` is empty, as if it were not mounted there."""
        node = self._start(f"--address={self.address}", "--num-cpus=1", hidden=hidden)
        self._wait_for(node)
        return node

    def _start(self, *options: str, hidden: str | None = None) -> subprocess.Popen[bytes]:
        command = [str(Path(sys.executable).with_name("ray")), "start", "--block", *options]
        command += ["--node-ip-address=127.0.0.1", f"--object-store-memory={STORE_BYTES}"]
        command += ["--dashboard-agent-listen-port=0", "--min-worker-port=0", "--max-worker-port=0"]
        command += ["--metrics-export-port=0", "--runtime-env-agent-port=0", "--disable-usage-stats"]
        if hidden is not None:
            command = ["unshare", "--mount", "sh", "-c", HIDE, hidden, *command]
        said = Path(tempfile.mkdtemp()) / "said.txt"
        with said.open("wb") as out:
            node = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self._said[node.pid] = said
        return node

    def _wait_for(self, node: subprocess.Popen[bytes]) -> None:
        """Until a node is part of the cluster."""
        until = time.monotonic() + START_S
        while b"Ray runtime started" not in self._said[node.pid].read_bytes():
            assert node.poll() is None, f"a node did not start: {self._said[node.pid].read_text()}"
            assert time.monotonic() < until, f"a node took too long: {self._said[node.pid].read_text()}"
            time.sleep(0.1)

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
