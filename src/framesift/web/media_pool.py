"""The server's end of media_process.py: a few decoding processes, started when needed and replaced when they die."""

from __future__ import annotations

import queue
from multiprocessing.connection import Connection
from typing import Any

from ..errors import DecodeError
from ..video.child import Child
from ..video.loader import MEMORY_BYTES
from .pools import Pool

__all__ = ["MediaPool"]


class MediaPool:
    """Runs the tasks of :mod:`.media_process`, each within a time and memory limit.

    Args:
        name: what is made, in the message to those who are sent away.
        processes: tasks at a time.
        waiting: tasks that may wait, before others are sent away with status 503.
        timeout_s: seconds after which a task is given up.
    """

    def __init__(self, name: str, *, processes: int, waiting: int, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._pool = Pool(name, threads=processes, waiting=waiting)
        self._all = [_Process() for _ in range(processes)]
        self._idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        for process in self._all:
            self._idle.put(process)

    @property
    def accepted(self) -> int:
        """Tasks that run or wait now."""
        return self._pool.accepted

    async def run(self, task: str, **arguments: Any) -> Any:
        """The value of a task.

        Raises:
            FramesiftError: what the task raised; DecodeError also where the process died or took too long.
            ApiError: status 503, too much is waiting already.
        """
        return await self._pool.run(self._run, task, arguments)

    def _run(self, task: str, arguments: dict[str, Any]) -> Any:
        process = self._idle.get()
        try:
            return process.run(task, arguments, self._timeout_s)
        finally:
            self._idle.put(process)

    def close(self) -> None:
        """End all processes, whatever they are doing."""
        self._pool.close()
        for process in self._all:
            process.close()


class _Process:
    """One process, and this side's end of its connection."""

    def __init__(self) -> None:
        self._child = Child(f"{__package__}.media_process")
        self.close = self._child.close

    def run(self, task: str, arguments: dict[str, Any], timeout_s: float) -> Any:
        path = str(arguments.get("path", task))
        try:
            connection = self._child.connection or self._start()
            connection.send((task, arguments))
            if not connection.poll(timeout_s):
                self._child.stop()
                raise DecodeError(path, f"it took longer than {timeout_s:g} s and was stopped")
            good, value = connection.recv()
        except (EOFError, OSError):
            self._child.stop()
            raise DecodeError(path, "the decoding process ended unexpectedly") from None
        if not good:
            raise value
        return value

    def _start(self) -> Connection:
        connection = self._child.start()
        connection.send(MEMORY_BYTES)
        return connection
