"""Batches for a device, made and copied while it computes on those before.

On CUDA, a thread preprocesses the next batches, puts them into pinned memory and copies them on a stream of its own, so
that neither the preprocessing nor the copy is waited for. On a CPU there is nothing to overlap, and nothing changes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from queue import Empty, Full, Queue
from typing import Any

import torch
from torch import Tensor

__all__ = ["AHEAD", "on_device"]

AHEAD = 2
"""Batches that wait on the device: one is copied while another is computed on, and one evens out their times."""

_LOOK_S = 0.1  # how soon either side sees that the other has gone


def on_device(batches: Iterable[Tensor], device: torch.device, *, ahead: int = AHEAD) -> Iterator[Tensor]:
    """The batches on ``device``, in order; on CUDA at most ``ahead`` and the two in work are held besides the last."""
    if device.type != "cuda":
        for batch in batches:
            yield batch.to(device)
        return
    copying = torch.cuda.Stream(device)
    queue: Queue[Any] = Queue(ahead)
    done = threading.Event()
    thread = threading.Thread(
        target=_fill, args=(queue, batches, device, copying, done), name="framesift-prefetch", daemon=True
    )
    thread.start()
    try:
        while (item := _next(queue, thread)) is not None:
            if isinstance(item, BaseException):
                raise item
            batch, copied = item
            computing = torch.cuda.current_stream(device)
            computing.wait_event(copied)
            batch.record_stream(computing)  # its memory is not given to the next copy before it was read
            yield batch
    finally:
        done.set()
        thread.join()


def _fill(
    queue: Queue[Any],
    batches: Iterable[Tensor],
    device: torch.device,
    copying: Any,
    done: threading.Event,
) -> None:
    """Put batches with the events of their copies, then None; or what went wrong."""
    try:
        for batch in batches:
            pinned = batch.pin_memory()
            with torch.cuda.stream(copying):
                moved = pinned.to(device, non_blocking=True)
                copied = copying.record_event()
            if not _put(queue, (moved, copied), done):
                return
        _put(queue, None, done)
    except BaseException as error:  # raised again where the batches are used
        _put(queue, error, done)


def _next(queue: Queue[Any], thread: threading.Thread) -> Any:
    """What comes next; never waits for a thread that has ended without a word."""
    while True:
        ended = not thread.is_alive()
        try:
            return queue.get(timeout=_LOOK_S)
        except Empty:
            if ended:
                raise RuntimeError("the thread that prepares batches has died; see its error above") from None


def _put(queue: Queue[Any], item: Any, done: threading.Event) -> bool:
    """False where nobody wants it any more."""
    while not done.is_set():
        try:
            queue.put(item, timeout=_LOOK_S)
        except Full:
            continue
        return True
    return False
