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
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

from ..errors import DecodeError, FramesiftError
from ..video.worker import limit_memory

__all__ = ["TASKS", "main"]

PICTURE_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")  # what no other programme has to read
MOST_PIXELS = 64_000_000  # of an uploaded picture: phones have 50 million at most that are not binned
KEPT_PX = 1024  # no encoder sees more than half of it
CHECKED_FRAMES = 4  # of an uploaded clip; a search decodes it again, in a process with limits


def frame(path: str, time_s: float, width_px: int) -> bytes:
    """One frame as a JPEG."""
    from ..video.pictures import jpeg_bytes, picture_at

    return jpeg_bytes(picture_at(path, time_s, width_px=width_px))


def strip(path: str, times_s: list[float], width_px: int) -> bytes:
    """Frames of one size side by side in one JPEG."""
    from PIL import Image

    from ..video.pictures import jpeg_bytes, pictures_at

    pictures = pictures_at(path, times_s, width_px=width_px)
    wide, high = pictures[0].size
    whole = Image.new("RGB", (wide * len(pictures), high))
    for number, picture in enumerate(pictures):
        whole.paste(picture, (number * wide, 0))
    return jpeg_bytes(whole, quality=80)


def sheet(path: str, times_s: list[float], captions: list[str], width_px: int) -> bytes:
    """A contact sheet as a JPEG."""
    from ..video.pictures import contact_sheet, jpeg_bytes, pictures_at

    pictures = pictures_at(path, times_s, width_px=width_px)
    return jpeg_bytes(contact_sheet(pictures, captions), quality=88)


def play(path: str, target: str, start_s: float, end_s: float, most_s: float) -> None:
    """An MP4 of a stretch that browsers play."""
    from ..video.playable import playable_copy

    playable_copy(path, target, start_s=start_s, end_s=end_s, max_s=most_s, overwrite=True)


def cut(
    path: str, target: str, start_s: float, end_s: float, mode: Literal["auto", "copy", "encode"]
) -> dict[str, Any]:
    """A stretch as a file of its own; what was done, for people."""
    from ..video.cutting import cut_file

    return cut_file(path, start_s, end_s, target, mode=mode, overwrite=True).to_dict()


def playable(path: str) -> dict[str, Any]:
    """Whether a browser plays the file, and why not."""
    from ..video.playable import playability

    return playability(path).to_dict()


def export(path: str, results: list[dict[str, Any]], query: str) -> tuple[bytes, tuple[str, ...]]:
    """Results in the format that the suffix of ``path`` names, and notes on them; the file is gone afterwards."""
    from ..exporting import export as write

    target = Path(path)
    try:
        written = write([SimpleNamespace(**result) for result in results], target, query=query)
        return target.read_bytes(), written.notes
    finally:
        target.unlink(missing_ok=True)


def inspect_upload(path: str) -> tuple[Literal["image", "clip"], float | None]:
    """What an uploaded file is; a picture is replaced by an upright, smaller copy. DecodeError for all others."""
    if _is_still(path):
        return "image", None
    from ..video import Uniform, decode, probe

    decode(path, Uniform(num_frames=CHECKED_FRAMES))
    return "clip", probe(path).duration_s


def _is_still(path: str) -> bool:
    """Whether a file is a picture; if so, it is written anew."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit is our own, below
    try:
        with Image.open(path, formats=PICTURE_FORMATS) as picture:
            width, height = picture.size
            if width * height > MOST_PIXELS:
                raise DecodeError(
                    path, f"it has {width} x {height} pixels, more than the {MOST_PIXELS:,} that are read"
                )
            if getattr(picture, "n_frames", 1) > 1:
                return False  # an animation is a clip
            picture.draft("RGB", (KEPT_PX, KEPT_PX))  # a JPEG is decoded at a fraction of its size
            upright = ImageOps.exif_transpose(picture).convert("RGB")
    except UnidentifiedImageError:
        return False
    except Image.DecompressionBombError:
        raise DecodeError(path, "it has too many pixels") from None
    except (OSError, ValueError, SyntaxError, EOFError, OverflowError) as error:
        raise DecodeError(path, f"the picture is damaged: {error}") from None
    upright.thumbnail((KEPT_PX, KEPT_PX))
    draft = f"{path}.png"
    upright.save(draft, "PNG", compress_level=1)
    os.replace(draft, path)
    return True


TASKS: dict[str, Callable[..., Any]] = {
    task.__name__: task for task in (frame, strip, sheet, play, cut, playable, export, inspect_upload)
}


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
