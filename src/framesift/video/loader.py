"""Decode many videos in worker processes, so that a file can crash or hang a decoder and cost only itself.

Workers are fresh interpreters, never forks (a fork copies locks that another thread may hold), and they do
not run the caller's main module again. One thread of this process waits for each worker.
"""

from __future__ import annotations

import math
import mmap
import os
import queue
import signal
import socket
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any, Self, TypeVar, cast

import numpy as np

from ..errors import DecodeError, InputError
from .child import Child
from .container import path_text
from .decode import Transform, decode
from .frames import Frames
from .sampling import Sampler, Uniform

__all__ = ["DecodingPool", "available_cores", "load_videos", "read_each"]

_START_TIMEOUT_S = 60.0  # an interpreter with numpy and PyAV starts in under a second on an idle machine
_AHEAD = 2  # files in work or waiting for the caller, per worker, unless the caller wants more

MEMORY_BYTES = 2**30
"""What decoding one file may allocate: 8K video fits (a frame of 10 bits takes 106 MB, a decoder keeps some six
of them), what a forged header asks for does not."""

Decoder = Callable[..., Frames]
T = TypeVar("T")
_Work = tuple[Decoder, Sampler, Transform | None, int]


def available_cores() -> int:
    """Cores that this process may use: decoding is parallel over files, one process a core."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_videos(
    paths: Iterable[str | os.PathLike[str]],
    sampler: Sampler,
    *,
    workers: int = 0,
    timeout_s: float = 120.0,
    memory_bytes: int = MEMORY_BYTES,
    transform: Transform | None = None,
    decoder: Decoder = decode,
    ahead: int = 0,
    ahead_bytes: int = 2**28,
) -> Generator[Frames | DecodeError]:
    """The sampled frames of each video, in the order of ``paths``; for a bad file its error, not raised.

    workers: processes that decode; 0 decodes in this one, without protection from crashes and hangs.
    timeout_s: what one file may take in a worker; it is then killed and replaced, and so it is if it dies.
    memory_bytes: what a worker may allocate for one file, on top of what it needs to run.
    transform: applied to each frame in the worker, e.g. a resize, so that less travels between processes.
    decoder: called as ``decoder(path, sampler, transform=transform)``.
    ahead: how many files are in work or waiting for the caller at once; at least two for each worker.
    ahead_bytes: no more than those two per worker while waiting frames take more than this.
    Sampler, transform and decoder must be picklable by name, from an importable module (not ``__main__``).
    Stopping early, by closing the iterator, ends the workers.
    """
    if workers < 0:
        raise InputError(f"workers must be 0 or more, got {workers}")
    if not timeout_s > 0:
        raise InputError(f"timeout_s must be positive, got {timeout_s}")
    if workers == 0:
        return (_attempt(decoder, path, sampler, transform) for path in paths)
    return _load_in_workers(
        DecodingPool(
            sampler,
            workers=workers,
            timeout_s=timeout_s,
            memory_bytes=memory_bytes,
            transform=transform,
            decoder=decoder,
        ),
        paths,
        ahead=ahead,
        ahead_bytes=ahead_bytes,
    )


class _ReadOnly:
    """Something else than decoding, in a decoder's place."""

    def __init__(self, read: Callable[[str], Any]) -> None:
        self._read = read

    def __call__(self, path: str, sampler: Sampler, *, transform: Transform | None = None) -> Any:
        return self._read(path)


def read_each(
    paths: Iterable[str | os.PathLike[str]],
    read: Callable[[str], T],
    *,
    workers: int = 1,
    timeout_s: float = 300.0,
    memory_bytes: int = MEMORY_BYTES,
) -> Generator[T | DecodeError]:
    """What ``read`` returns for each file, in order, with the protection that :func:`load_videos` gives to decoding.

    ``read`` and what it returns must be picklable, and it raises DecodeError for a file that it cannot read.
    """
    decoder = cast("Decoder", _ReadOnly(read))
    results = load_videos(
        paths,
        Uniform(num_frames=1),  # not used
        workers=workers,
        timeout_s=timeout_s,
        memory_bytes=memory_bytes,
        decoder=decoder,
    )
    return cast("Generator[T | DecodeError]", results)


def _attempt(
    decoder: Decoder, path: str | os.PathLike[str], sampler: Sampler, transform: Transform | None
) -> Frames | DecodeError:
    try:
        return decoder(path, sampler, transform=transform)
    except DecodeError as error:
        return error


def _load_in_workers(
    pool: DecodingPool,
    paths: Iterable[str | os.PathLike[str]],
    *,
    ahead: int,
    ahead_bytes: int,
) -> Generator[Frames | DecodeError]:
    with pool:
        yield from pool.load(paths, ahead=ahead, ahead_bytes=ahead_bytes)


class DecodingPool:
    """The processes of :func:`load_videos`, kept from one list of files to the next; a context manager.

    They are started when they are first needed. Arguments as for :func:`load_videos`, with one worker at least.
    """

    def __init__(
        self,
        sampler: Sampler,
        *,
        workers: int,
        timeout_s: float = 120.0,
        memory_bytes: int = MEMORY_BYTES,
        transform: Transform | None = None,
        decoder: Decoder = decode,
    ) -> None:
        if workers < 1:
            raise InputError(f"a pool needs a worker at least, got {workers}")
        if memory_bytes < 1:
            raise InputError(f"memory_bytes must be positive, got {memory_bytes}")
        self._timeout_s = timeout_s
        self._workers = [_Worker((decoder, sampler, transform, memory_bytes)) for _ in range(workers)]
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="framesift-decode")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, even in the middle of a file."""
        for worker in self._workers:
            worker.close()  # a thread that waits for it sees the connection end
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.release()

    def load(
        self, paths: Iterable[str | os.PathLike[str]], *, ahead: int = 0, ahead_bytes: int = 2**28
    ) -> Generator[Frames | DecodeError]:
        """What :func:`load_videos` gives for those paths; one list at a time."""
        least = _AHEAD * len(self._workers)
        pending: deque[Future[Frames | DecodeError]] = deque()

        def enough() -> bool:
            full = len(pending) >= least and _waiting_bytes(pending) > ahead_bytes
            return full or len(pending) >= max(ahead, least)

        try:
            for path in paths:
                pending.append(self._threads.submit(self._decode, path_text(path)))
                while enough():
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()

    def _decode(self, path: str) -> Frames | DecodeError:
        worker = self._idle.get()
        try:
            return worker.decode(path, self._timeout_s)
        finally:
            self._idle.put(worker)


def _waiting_bytes(pending: Iterable[Future[Frames | DecodeError]]) -> int:
    done = [future.result() for future in pending if future.done() and not future.exception()]
    return sum(result.pixels.nbytes for result in done if isinstance(result, Frames))


class _Worker:
    """A decoding process and this side's end of its connection; started when first needed."""

    def __init__(self, work: _Work) -> None:
        self._work = work
        self._child = Child(f"{__package__}.worker")
        self.close, self.release = self._child.close, self._child.release

    def decode(self, path: str, timeout_s: float) -> Frames | DecodeError:
        """The frames of one file, or its error; also when the process dies or takes too long."""
        try:
            connection = self._child.connection or self._start()
            connection.send(path)
            if not connection.poll(timeout_s):
                self._child.stop()
                return DecodeError(path, f"decoding took longer than {timeout_s:g} s and was stopped")
            return _receive(connection)
        except (EOFError, OSError):
            status = self._child.stop()
            return DecodeError(path, f"the decoding process ended unexpectedly ({_ending(status)})")

    def _start(self) -> Connection:
        connection = self._child.start()
        connection.send(self._work)
        if not connection.poll(_START_TIMEOUT_S):
            raise EOFError
        failure = connection.recv()
        if failure is not None:
            raise InputError(f"a decoding process cannot start: {failure}")
        return connection


def _ending(status: int | None) -> str:
    """How a process ended, in words."""
    if status == -signal.SIGABRT:  # what the C++ libraries do when an allocation fails
        return "SIGABRT; perhaps it needed more memory than allowed"
    if status is not None and status < 0:
        return signal.Signals(-status).name
    return f"status {status}"


def _receive(connection: Connection) -> Frames | DecodeError:
    reply: Any = connection.recv()
    if isinstance(reply, DecodeError):
        return reply
    kind, *values = reply
    if kind == "value":
        return values[0]
    shape, times_s, path, info = values
    with socket.fromfd(connection.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        _, (memory, *_), _, _ = socket.recv_fds(channel, 1, 1)
    try:
        pixels = np.frombuffer(mmap.mmap(memory, math.prod(shape)), dtype=np.uint8).reshape(shape)
    finally:
        os.close(memory)  # the mapping stays until the array goes
    return Frames(pixels, times_s, path, info)
