"""The other end of loader.py: ``python -m framesift.video.worker FD`` decodes what the socket FD asks for.

The protocol, in pickles over a private socket: decoder, sampler, transform and memory limit come once and are
answered with None or the reason why they cannot be had; then every path is answered with a DecodeError, with
``("pixels", shape, times_s, path, info)`` followed by a descriptor of the memory that holds the pixels, or, where
the decoder returned something else than frames, with ``("value", it)``.
"""

from __future__ import annotations

import mmap
import os
import queue
import resource
import socket
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from ..errors import DecodeError
from .frames import Frames

__all__ = ["limit_memory", "main"]


def main(descriptor: int) -> None:
    """Serve until the other end closes, then end at once, even in the middle of a file."""
    connection = Connection(descriptor)
    try:
        decoder, sampler, transform, memory_bytes = connection.recv()
    except (EOFError, ConnectionError):
        return  # the other process has gone already
    except Exception as error:  # unpickling may raise anything that an import raises
        connection.send(f"{type(error).__name__}: {error}")
        return
    limit_memory(memory_bytes)
    with open(os.devnull, "w") as nowhere:  # what libraries print when a file breaks them is no line of ours
        os.dup2(nowhere.fileno(), sys.stderr.fileno())
    connection.send(None)
    paths: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, paths), daemon=True).start()
    while True:
        path = paths.get()
        try:
            result = decoder(path, sampler, transform=transform)
            if isinstance(result, Frames):
                _send(connection, result)
            else:
                connection.send(("value", result))
        except DecodeError as error:
            connection.send(error)
        except MemoryError:
            connection.send(DecodeError(path, "it needs more memory than allowed"))
        except Exception as error:  # whatever it was, it costs one file
            connection.send(DecodeError(path, f"{type(error).__name__}: {error}"))


def _send(connection: Connection, frames: Frames) -> None:
    """Pixels go through anonymous shared memory: no copy on the other side, nothing to clean up."""
    if frames.pixels.size == 0:
        raise ValueError("no pixels")
    memory = os.memfd_create("framesift-frames")
    try:
        os.truncate(memory, frames.pixels.size)
        with mmap.mmap(memory, frames.pixels.size) as shared:
            shared.write(np.ascontiguousarray(frames.pixels).data.cast("B"))
        connection.send(("pixels", frames.pixels.shape, frames.times_s, frames.path, frames.info))
        with socket.fromfd(connection.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            socket.send_fds(channel, [b"\0"], [memory])
    finally:
        os.close(memory)


def _listen(connection: Connection, paths: queue.SimpleQueue[str]) -> None:
    """Take in paths; when the other process is gone, do not outlive it."""
    try:
        while True:
            paths.put(connection.recv())
    except (EOFError, OSError):
        os._exit(0)


def limit_memory(more_bytes: int) -> None:
    """Let this process allocate so much more than it has now; shared memory does not count."""
    status = Path("/proc/self/status").read_text().splitlines()
    in_use = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData:"))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or hard > in_use + more_bytes:
        resource.setrlimit(resource.RLIMIT_DATA, (in_use + more_bytes, hard))


if __name__ == "__main__":
    main(int(sys.argv[1]))
