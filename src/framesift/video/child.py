"""A process of ours that decodes: a fresh interpreter, started when it is needed, and the connection to it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from multiprocessing.connection import Connection

__all__ = ["Child"]

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # there is a process for each core already


class Child:
    """Runs ``module`` with the number of its end of a connection as argument; used by one thread at a time.

    Attributes:
        connection: this side's end; None while no process is running.
    """

    def __init__(self, module: str) -> None:
        self.connection: Connection | None = None
        self._module = module
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._lock = threading.Lock()  # between starting a process and closing for good

    def start(self) -> Connection:
        """Start the process.

        Raises:
            EOFError: it was closed for good.
        """
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            if self._closed:
                ours.close()
                raise EOFError
            self._process = subprocess.Popen(
                # -P: without it, "-m" would import queue.py, av.py, ... from the current directory first
                [sys.executable, "-P", "-m", self._module, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                process_group=0,  # Ctrl-C is for us; a child ends when its connection does
                env=os.environ | ONE_THREAD | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
            )
        self.connection = Connection(ours.detach())
        return self.connection

    def stop(self) -> int | None:
        """End the process; the next :meth:`start` makes another. Returns how it ended, None if there was none."""
        process, connection = self._process, self.connection
        self._process = self.connection = None
        if connection is not None:
            connection.close()
        if process is None:
            return None
        status = process.poll()
        if status is None:
            try:  # a process that dies closes its connection a moment before it can be waited for
                status = process.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                process.kill()
                status = process.wait()
        return status

    def close(self) -> None:
        """End the process for good, from any thread."""
        with self._lock:
            self._closed = True
            process = self._process
        if process is not None:
            process.kill()
            process.wait()

    def release(self) -> None:
        """Close the connection, once no thread uses it."""
        if self.connection is not None:
            self.connection.close()
