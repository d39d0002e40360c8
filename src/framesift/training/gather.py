"""Several processes as one: features gathered for a loss over the whole batch, with the gradient of a single process.

Every process encodes its share of a batch, gathers what the others made, and computes the loss of the whole batch. As
each of them does so, a gathered value gets as many equal gradients as there are processes: backwards they are summed,
and :meth:`World.average` then takes the mean of every parameter's gradient over the processes. What comes out is the
gradient that one process with the whole batch would have, for parameters before and after the gathering alike.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import InputError
from ..features import TextFeatures, VideoFeatures

__all__ = ["ALONE", "World", "join_world", "leave_world"]

F = TypeVar("F", TextFeatures, VideoFeatures)

TIMEOUT = timedelta(hours=12)  # the others wait while one process evaluates
BUCKET = 2**25  # numbers that travel together: 128 MiB


@dataclass(frozen=True, kw_only=True)
class World:
    """The processes that train together.

    Attributes:
        rank: the number of this one; 0 alone writes files.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process evaluates, logs and writes."""
        return self.rank == 0

    def share(self, rows: int) -> slice:
        """Which of the ``rows`` of a batch are this process's."""
        own = rows // self.size
        return slice(self.rank * own, (self.rank + 1) * own)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()

    def gather(self, x: Tensor, *, own_gradient: bool = False) -> Tensor:
        """The rows of all processes, in their order; all must have equal shapes. Differentiable.

        Args:
            own_gradient: backwards, each process keeps its own gradient of its own rows, as CLIP4Clip does: after
                :meth:`average`, 1 / size of the true one.
        """
        if self.size == 1:
            return x
        if not x.is_floating_point():
            return _collect(x.to(torch.uint8) if x.dtype == torch.bool else x, self.size).to(x.dtype)
        gathered: Tensor = _Gather.apply(x, self, own_gradient)
        return gathered

    def gather_features(self, features: F, *, own_gradient: bool = False) -> F:
        """The features of all processes."""
        if self.size == 1:
            return features
        given = {field.name: getattr(features, field.name) for field in fields(features)}
        return replace(
            features,
            **{name: self.gather(x, own_gradient=own_gradient) for name, x in given.items() if x is not None},
        )

    @torch.no_grad()
    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes; one that no process has stays absent."""
        if self.size == 1:
            return
        known = list(parameters)
        used = torch.tensor([p.grad is not None for p in known], dtype=torch.int32, device=known[0].device)
        dist.all_reduce(used, op=dist.ReduceOp.MAX)
        shared = [p for p, somewhere in zip(known, used.tolist(), strict=True) if somewhere]
        for bucket in _buckets(shared):
            flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in bucket])
            dist.all_reduce(flat)
            flat /= self.size
            for p, mean in zip(bucket, flat.split([p.numel() for p in bucket]), strict=True):
                p.grad = mean.view_as(p)


ALONE = World()
"""One process."""


def join_world(device: torch.device) -> World:
    """The processes that ``torchrun`` started, on one machine or several; :data:`ALONE` without it.

    Raises:
        InputError: the processes cannot reach one another.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ALONE
    try:
        if not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"WORLD_SIZE={size}, but the processes cannot meet ({str(error).splitlines()[0]}); start them with torchrun"
        ) from None
    return World(rank=dist.get_rank(), size=dist.get_world_size())


def leave_world() -> None:
    """Close the connections to the other processes."""
    if dist.is_initialized():
        dist.destroy_process_group()


class _Gather(torch.autograd.Function):
    """Rows of all processes; backwards the sum over processes of the gradients of one's own rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, world: World, own_gradient: bool) -> Tensor:
        ctx.world, ctx.own_gradient = world, own_gradient
        return _collect(x, world.size)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        grad = grads[0].contiguous()
        if not ctx.own_gradient:
            grad = grad.clone()
            dist.all_reduce(grad)
        return grad[ctx.world.share(len(grad))], None, None


def _collect(x: Tensor, size: int) -> Tensor:
    parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(size)]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)


def _buckets(parameters: Iterable[nn.Parameter]) -> Iterable[list[nn.Parameter]]:
    bucket: list[nn.Parameter] = []
    for p in parameters:
        if bucket and (sum(q.numel() for q in bucket) + p.numel() > BUCKET or p.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(p)
    if bucket:
        yield bucket
