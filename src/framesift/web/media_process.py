"""A process that decodes for the server: ``python -m framesift.web.media_process FD``.

A file that makes a decoder crash, hang or swallow memory costs one request, not the server. Other than the index's
decoding workers (``video/worker.py``), these make pictures and clips for people. The protocol, in pickles over a
private socket: the memory limit comes once; then every ``(task, arguments)`` is answered with ``(True, value)`` or
``(False, error)``.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from ..errors import DecodeError, FramesiftError
from ..video.worker import limit_memory

__all__ = ["TASKS", "main"]


def frame(path: str, time_s: float, width_px: int) -> bytes:
    """One frame as a JPEG."""
    from ..video.pictures import jpeg_bytes, picture_at

    return jpeg_bytes(picture_at(path, time_s, width_px=width_px))


def strip(path: str, times_s: list[float], width_px: int) -> tuple[bytes, int, int]:
    """Frames side by side in one JPEG, and the size of each in pixels."""
    from PIL import Image

    from ..video.pictures import jpeg_bytes, pictures_at

    pictures = pictures_at(path, times_s, width_px=width_px)
    wide, high = pictures[0].size
    whole = Image.new("RGB", (wide * len(pictures), high))
    for number, picture in enumerate(pictures):
        whole.paste(picture, (number * wide, 0))
    return jpeg_bytes(whole, quality=80), wide, high


def sheet(
    path: str, times_s: list[float], captions: list[str], attention: list[float] | None, width_px: int
) -> bytes:
    """A contact sheet as a JPEG."""
    from ..video.pictures import contact_sheet, jpeg_bytes, pictures_at

    pictures = pictures_at(path, times_s, width_px=width_px)
    return jpeg_bytes(contact_sheet(pictures, captions, attention=attention), quality=88)


TASKS: dict[str, Callable[..., Any]] = {"frame": frame, "strip": strip, "sheet": sheet}


def main(descriptor: int) -> None:
    """Serve until the other end closes, then end at once, even in the middle of a file."""
    connection = Connection(descriptor)
    try:
        limit_memory(connection.recv())
    except (EOFError, ConnectionError):
        return  # the server has gone already
    with open(os.devnull, "w") as nowhere:  # what libraries print when a file breaks them is no line of ours
        os.dup2(nowhere.fileno(), sys.stderr.fileno())
    requests: queue.SimpleQueue[tuple[str, dict[str, Any]]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, requests), daemon=True).start()
    while True:
        task, arguments = requests.get()
        connection.send(_answer(task, arguments))


def _answer(task: str, arguments: dict[str, Any]) -> tuple[bool, Any]:
    path = str(arguments.get("path", task))
    try:
        return True, TASKS[task](**arguments)
    except FramesiftError as error:
        return False, error
    except MemoryError:
        return False, DecodeError(path, "it needs more memory than allowed")
    except OSError as error:  # of the disk that the clip is written to, among others
        return False, DecodeError(path, error.strerror or str(error))
    except Exception as error:  # whatever it was, it costs one request
        return False, DecodeError(path, f"{type(error).__name__}: {error}")


def _listen(connection: Connection, requests: queue.SimpleQueue[tuple[str, dict[str, Any]]]) -> None:
    """Take in requests; when the server is gone, do not outlive it, nor leave half a clip behind for long."""
    try:
        while True:
            requests.put(connection.recv())
    except (EOFError, OSError):
        os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
