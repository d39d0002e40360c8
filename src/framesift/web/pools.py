"""Work that would block the event loop, in a bounded number of threads with a bounded queue before them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from .errors import ApiError

__all__ = ["Places", "Pool"]

P = ParamSpec("P")
R = TypeVar("R")

RETRY_AFTER_S = 2


class Pool:
    """Threads that run one function each; who comes when the queue is full is sent away (503), not kept waiting.

    Args:
        name: of its threads, and of the work in the message to those who are sent away.
        threads: functions that run at a time.
        waiting: functions that may wait for a thread.
    """

    def __init__(self, name: str, *, threads: int, waiting: int) -> None:
        self.name = name
        self._most = threads + waiting
        self._accepted = 0  # only touched by the event loop's thread
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=f"framesift-{name}")

    @property
    def accepted(self) -> int:
        """Functions that run or wait now."""
        return self._accepted

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The function's value, computed in one of the threads.

        A thread cannot be stopped: when the client is gone, its function runs on, and keeps its place until it ends.

        Raises:
            ApiError: status 503, too much is waiting already.
        """
        if self._accepted >= self._most:
            raise ApiError(
                503,
                "busy",
                f"too much is waiting for {self.name} already; try again in {RETRY_AFTER_S} seconds",
                headers={"retry-after": str(RETRY_AFTER_S)},
            )
        loop = asyncio.get_running_loop()
        self._accepted += 1
        future = self._threads.submit(function, *args, **kwargs)
        future.add_done_callback(lambda _: loop.is_closed() or loop.call_soon_threadsafe(self._leave))
        return await asyncio.wrap_future(future)

    def _leave(self) -> None:
        self._accepted -= 1

    def close(self) -> None:
        """Take nothing more; what waits is dropped, what runs is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class Places:
    """A bounded number of requests of a kind that may be under way; only for the event loop's thread.

    Args:
        most: of them.
        busy: what those are told who come when all are taken.
    """

    def __init__(self, most: int, busy: str) -> None:
        self._most, self._busy = most, busy
        self._taken = 0

    def check(self) -> None:
        """Raise ApiError, status 503, where all are taken."""
        if self._taken >= self._most:
            raise ApiError(503, "busy", self._busy, headers={"retry-after": str(RETRY_AFTER_S)})

    @contextmanager
    def place(self) -> Generator[None]:
        """One of them until the block ends. Raises what :meth:`check` does."""
        self.check()
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1
