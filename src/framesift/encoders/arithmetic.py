"""What computes an encoder's towers, and in which numbers: chosen from what is asked, installed and built in.

torch is the reference and computes everything. OpenVINO (``framesift[openvino]``) computes the towers of large encoders
on CPUs: in fp32 with the same result but for rounding, in bf16, and in int8. None of it is part of a fingerprint.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias

import torch

from ..errors import InputError, MissingExtraError, suggest

__all__ = [
    "BACKENDS",
    "BACKEND_VARIABLE",
    "FORCE_VARIABLE",
    "PRECISIONS",
    "PRECISION_VARIABLE",
    "Arithmetic",
    "Backend",
    "asked",
    "choose",
    "forced",
    "has_openvino",
    "instructions",
    "speeds_up",
]

logger = logging.getLogger(__name__)

Backend: TypeAlias = Literal["torch", "openvino"]

BACKENDS = ("auto", "torch", "openvino")
PRECISIONS = ("fp32", "bf16", "fp16", "int8")

BACKEND_VARIABLE = "FRAMESIFT_BACKEND"
PRECISION_VARIABLE = "FRAMESIFT_PRECISION"
FORCE_VARIABLE = "FRAMESIFT_FORCE_PRECISION"

WORTH_COMPILING = 30_000_000
"""Parameters from which ``auto`` takes OpenVINO. Below, starting it takes longer than most searches gain by it: the
bundled encoders have 4 million and encode a picture in a few milliseconds, CLIP ViT-B/32 has 151 million."""

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "int8": torch.float32}
_NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}

_INSTRUCTIONS = {
    "bf16": ("avx512_bf16", "amx_bf16", "bf16"),
    "int8": ("avx512_vnni", "avx_vnni", "amx_int8", "i8mm", "asimddp"),
}
"""What makes a precision faster than fp32, as /proc/cpuinfo names it: on x86, and on ARM the names without a number."""

_SHOWN = ("avx2", "avx512f", *(name for names in _INSTRUCTIONS.values() for name in names))


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """What computes the towers.

    Attributes:
        backend: ``torch`` or ``openvino``.
        precision: ``fp32``, ``bf16``, ``fp16`` or ``int8``.
    """

    backend: Backend = "torch"
    precision: str = "fp32"

    @property
    def dtype(self) -> torch.dtype:
        """Type of what torch computes, which with int8 is the rest: fp32."""
        return _DTYPES[self.precision]

    @property
    def reduced(self) -> bool:
        """Whether its results differ from fp32 by more than the order of additions."""
        return self.precision != "fp32"

    def __str__(self) -> str:
        return f"{self.backend} {self.precision}"


def asked(
    backend: str | None, precision: str | torch.dtype | None, environment: Mapping[str, str] | None = None
) -> tuple[str, str | torch.dtype]:
    """What to choose by: the given values, else the environment's, else ``auto`` and ``fp32``.

    Raises:
        InputError: the environment has an unknown value.
    """
    variables = os.environ if environment is None else environment
    if backend is None:
        backend = variables.get(BACKEND_VARIABLE) or BACKENDS[0]
        _known(backend, BACKENDS, BACKEND_VARIABLE)
    if precision is None:
        precision = variables.get(PRECISION_VARIABLE) or PRECISIONS[0]
        _known(precision, PRECISIONS, PRECISION_VARIABLE)
    return backend, precision


def forced(environment: Mapping[str, str] | None = None) -> bool:
    """Whether the environment says to take a precision that is too far from fp32."""
    value = (os.environ if environment is None else environment).get(FORCE_VARIABLE, "")
    # as the command line reads it
    return value.strip().lower() not in ("", "0", "false", "f", "no", "n", "off")


def choose(
    *, backend: str, precision: str | torch.dtype, device: torch.device, parameters: int
) -> Arithmetic:
    """What computes an encoder of so many parameters.

    Args:
        backend: ``auto``, ``torch`` or ``openvino``. ``auto`` is OpenVINO on a CPU where it is installed and the
            encoder is large enough for it to pay, or where only it can do what is asked.
        precision: ``fp32``, ``bf16``, ``int8``, or ``fp16`` on CUDA.
        device: where the weights will be.

    Raises:
        InputError: an unknown name, or the backend or the device cannot compute in that precision.
        MissingExtraError: OpenVINO is asked for and not installed.
    """
    _known(backend, BACKENDS, "backend")
    precision = _NAMES.get(precision, str(precision)) if isinstance(precision, torch.dtype) else precision
    _known(precision, PRECISIONS, "dtype")
    if precision == "fp16" and device.type == "cpu":
        raise InputError(
            "dtype='fp16' is for CUDA only (on a CPU it is slower than fp32); use 'fp32' or 'bf16'"
        )
    if device.type != "cpu":
        if backend == "openvino" or precision == "int8":
            given = f"backend={backend!r}" if backend == "openvino" else f"dtype={precision!r}"
            raise InputError(f"{given} is for CPUs; on {device} use backend='torch' with 'fp32' or 'bf16'")
        return Arithmetic(precision=precision)
    if backend == "torch":
        if precision == "int8":
            raise InputError(
                "dtype='int8' is computed by OpenVINO, not by torch; leave out backend='torch', and install what it"
                " needs: pip install 'framesift[openvino]'"
            )
        return Arithmetic(precision=precision)
    if backend == "openvino" or precision == "int8":
        if not has_openvino():
            raise MissingExtraError("openvino", "openvino")
        return Arithmetic(backend="openvino", precision=precision)
    pays = parameters >= WORTH_COMPILING and has_openvino()
    return Arithmetic(backend="openvino" if pays else "torch", precision=precision)


def has_openvino() -> bool:
    """Whether OpenVINO is installed; imports nothing."""
    return find_spec("openvino") is not None


@cache
def instructions() -> tuple[str, ...]:
    """Those of this CPU that encoders profit from, as Linux names them; none where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return ()
    flags = next(
        (line.split(":", 1)[1].split() for line in lines if line.startswith(("flags", "Features"))), []
    )
    return tuple(name for name in dict.fromkeys(_SHOWN) if name in flags)


def speeds_up(precision: str) -> bool:
    """Whether this CPU has instructions that make ``precision`` faster than fp32."""
    return any(name in instructions() for name in _INSTRUCTIONS.get(precision, ()))


def _known(value: str, choices: tuple[str, ...], what: str) -> None:
    if value not in choices:
        raise InputError(f"{what}={value!r}: expected one of {', '.join(choices)}{suggest(value, choices)}")
