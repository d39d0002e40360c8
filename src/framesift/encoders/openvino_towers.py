"""The towers of an encoder run by OpenVINO on a CPU; what it cannot run is left to torch.

A tower is compiled when it is first needed: a search never waits for the vision tower. Threads may share the towers.
When the encoder's weights change, in training for instance, its compiled towers are no longer used.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError
from ..video.loader import available_cores
from .compiled_store import CompiledStore
from .conversion import Tower, import_openvino, network

if TYPE_CHECKING:
    from .base import Encoder

__all__ = ["OpenVinoTowers"]

logger = logging.getLogger(__name__)

MOST_STREAMS = 8  # threads that encode at once; a server's searches are fewer


class OpenVinoTowers:
    """The compiled towers of one encoder.

    Args:
        precision: ``fp32``, ``bf16`` or ``int8``.
        required: raise where a tower cannot be compiled, instead of leaving it to torch.
        store: where converted networks are kept; default: the user's cache.
    """

    def __init__(self, precision: str, *, required: bool = False, store: CompiledStore | None = None) -> None:
        self.precision = precision
        self._required = required
        self._store = store
        self._reset()

    def _reset(self) -> None:
        self._compiled: dict[Tower, _Compiled | None] = {}
        self._parameters: list[Tensor] = []  # held, so that no other takes their addresses
        self._weights: tuple[Any, ...] = ()
        self._compiling = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Copies, also those that go to other processes, compile anew: programs cannot be copied."""
        return {"precision": self.precision, "_required": self._required, "_store": self._store}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def text(
        self, encoder: Encoder, ids: Tensor, mask: Tensor, *, words: bool
    ) -> tuple[Tensor, Tensor | None] | None:
        """Sentences ``[text, dim]`` and, with ``words``, tokens ``[text, word, dim]``; None: torch has to."""
        if ids.shape[1] > encoder.context_length:
            return None  # torch says what is wrong
        return self._run(encoder, "text", (ids, mask), second=words)

    def vision(
        self, encoder: Encoder, pixels: Tensor, *, patches: bool
    ) -> tuple[Tensor, Tensor | None] | None:
        """Frames ``[frame, dim]`` and, with ``patches``, tokens ``[frame, patch, width]``; None as for :meth:`text`."""
        return self._run(encoder, "vision", (pixels,), second=patches)

    def _run(
        self, encoder: Encoder, tower: Tower, inputs: Sequence[Tensor], *, second: bool
    ) -> tuple[Tensor, Tensor | None] | None:
        if not len(inputs[0]) or inputs[0].device.type != "cpu":
            return None
        compiled = self._get(encoder, tower)
        return None if compiled is None or not compiled.takes(inputs[0]) else compiled(inputs, second=second)

    def _get(self, encoder: Encoder, tower: Tower) -> _Compiled | None:
        with self._compiling:  # a second thread waits for the first one's tower
            parameters: list[Tensor] = list(
                encoder.model.parameters()
            )  # each time: others may have taken their place
            if not self._parameters:
                self._parameters, self._weights = parameters, _state(parameters)
            if self._weights != _state(parameters):
                self._compiled.clear()
                return None
            if tower not in self._compiled:
                self._compiled[tower] = self._compile(encoder, tower)
            return self._compiled[tower]

    def _compile(self, encoder: Encoder, tower: Tower) -> _Compiled | None:
        if tower not in encoder.traceable:
            level = logging.WARNING if self._required else logging.INFO
            logger.log(
                level, "OpenVINO cannot take the %s tower of %r: torch computes it", tower, encoder.name
            )
            return None
        try:
            made = network(
                encoder,
                tower,
                int8=self.precision == "int8",
                store=self._store or CompiledStore(),
                fingerprint=encoder.fingerprint(),
            )
            return _Compiled(made, self.precision)
        except ModelError as error:
            if self._required:
                raise
            logger.warning("%s; torch computes it instead", error)
            return None


class _Compiled:
    """A network compiled for this CPU, and the requests that run it."""

    def __init__(self, made: Any, precision: str) -> None:
        ov = import_openvino()
        threads = torch.get_num_threads()
        streams = max(1, min(available_cores() // threads, MOST_STREAMS))
        properties = {
            # what stays unquantised in an int8 network, bf16 changes less than int8 did
            "INFERENCE_PRECISION_HINT": "f32" if precision == "fp32" or not _takes_bf16() else "bf16",
            "INFERENCE_NUM_THREADS": threads * streams,
            "NUM_STREAMS": streams,
            "ENABLE_CPU_PINNING": False,  # decoding processes want the same cores
        }
        try:
            self._program = ov.Core().compile_model(made, "CPU", properties)
        except RuntimeError as error:
            reason = (str(error).strip().splitlines() or [""])[0][:200]
            raise ModelError(f"OpenVINO cannot compile for this CPU: {reason}") from None
        self._idle: SimpleQueue[Any] = SimpleQueue()
        shape = self._program.input(0).partial_shape
        self._fixed = [(i, x.get_length()) for i, x in enumerate(shape) if not x.is_dynamic]

    def takes(self, x: Tensor) -> bool:
        """Whether an input has the sizes that are fixed in the network."""
        return all(x.shape[i] == length for i, length in self._fixed)

    def __call__(self, inputs: Sequence[Tensor], *, second: bool) -> tuple[Tensor, Tensor | None]:
        try:
            request = self._idle.get_nowait()
        except Empty:
            request = self._program.create_infer_request()
        arrays = [np.ascontiguousarray(x.numpy()) for x in inputs]
        request.infer(arrays, share_inputs=True)
        found = [torch.from_numpy(request.get_output_tensor(i).data.copy()) for i in range(1 + second)]
        self._idle.put(request)
        return found[0], found[1] if second else None


def _state(parameters: Sequence[Tensor]) -> tuple[Any, ...]:
    """Another value after every change of them."""
    return tuple((x.data_ptr(), x._version) for x in parameters)


def _takes_bf16() -> bool:
    return "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
