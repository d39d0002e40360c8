"""Batches ahead of a device: order, bounds, errors and ends. CUDA is stood in for; the threads are real."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from framesift.encoders.prefetch import on_device

CPU = torch.device("cpu")


class Stream:
    """A stream that only counts what waits for it."""

    def __init__(self, device: Any = None) -> None:
        self.waited = 0

    def record_event(self) -> object:
        return object()

    def wait_event(self, event: object) -> None:
        self.waited += 1


@pytest.fixture
def computing(monkeypatch: pytest.MonkeyPatch) -> Stream:
    stream, real = Stream(), Tensor.to
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda one: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: self)
    monkeypatch.setattr(Tensor, "record_stream", lambda self, one: None)
    monkeypatch.setattr(Tensor, "to", lambda self, device, **_: real(self, CPU))
    return stream


CUDA = torch.device("cuda", 0)


def made(count: int, seen: list[int]) -> Iterator[Tensor]:
    for number in range(count):
        seen.append(number)
        yield torch.tensor([number])


def running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "framesift-prefetch"]


def test_on_a_cpu_nothing_is_made_ahead() -> None:
    seen: list[int] = []
    batches = on_device(made(3, seen), CPU)
    assert next(batches).item() == 0
    assert seen == [0]
    assert [x.item() for x in batches] == [1, 2]


def test_order_and_waiting_for_the_copy(computing: Stream) -> None:
    assert [x.item() for x in on_device(made(7, []), CUDA)] == list(range(7))
    assert computing.waited == 7, "every batch is computed on after its copy"
    assert not running()


def test_few_batches_are_ahead(computing: Stream) -> None:
    seen: list[int] = []
    batches = on_device(made(50, seen), CUDA, ahead=2)
    next(batches)
    deadline = time.monotonic() + 5
    while len(seen) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert len(seen) == 4, "one is used, two wait, one is ready for their queue"
    batches.close()
    assert not running()


def test_an_error_comes_where_the_batch_would(computing: Stream) -> None:
    def broken() -> Iterator[Tensor]:
        yield torch.tensor([0])
        raise ValueError("no picture")

    batches = on_device(broken(), CUDA)
    assert next(batches).item() == 0
    with pytest.raises(ValueError, match="no picture"):
        next(batches)
    assert not running()
