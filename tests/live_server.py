"""Real servers for tests: uvicorn on 127.0.0.1, in a thread of this process or as the command that users run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from fastapi import FastAPI

from framesift.web.serving import Server, configured

__all__ = ["Command", "serving"]

COMMAND = Path(sys.executable).with_name("framesift")
START_S = 120.0  # a machine with other things to do takes so long to load torch
REQUEST_S = 60.0


@contextmanager
def serving(app: FastAPI, **headers: str) -> Iterator[httpx.Client]:
    """A client of ``app``, which is served until the block ends; ``headers`` go with every request."""
    options = {"host": "127.0.0.1", "port": 0, "log_level": "error", "timeout_graceful_shutdown": 2}
    server = Server(configured(app, **options))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until = time.monotonic() + START_S
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            assert time.monotonic() < until
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=REQUEST_S, headers=given) as client:
            yield client
    finally:
        server.handle_exit(signal.SIGTERM, None)
        thread.join(20)
        assert not thread.is_alive(), "the server did not end"


class Command:
    """``framesift serve`` as a process of its own, with a home folder of its own.

    Args:
        folder: where it runs, and where its home, state and cache are.
        arguments: besides ``serve --port 0``.
    """

    def __init__(self, folder: Path, *arguments: str | Path, **environment: str) -> None:
        home = folder / "home"
        home.mkdir(exist_ok=True)
        own = {
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / "cache"),
            "XDG_STATE_HOME": str(home / "state"),
            "HF_HUB_OFFLINE": "1",
            **environment,
        }
        self.process = subprocess.Popen(
            [COMMAND, "serve", "--port", "0", *map(str, arguments)],
            cwd=folder,
            env={**os.environ, **own},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._draining = threading.Thread(target=self._drain, daemon=True)
        self.client = httpx.Client(base_url=self._address(), timeout=REQUEST_S)

    def _address(self) -> str:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if "framesift is at " in line:
                self._draining.start()
                return line.split("framesift is at ")[1].split(" ")[0]
        raise AssertionError(f"the server did not start: {''.join(self.lines)}")

    def _drain(self) -> None:
        assert self.process.stderr is not None
        self.lines += self.process.stderr

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; gives the exit status."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(how)
        status = self.process.wait(30)
        self._draining.join(30)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return status

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGKILL)
