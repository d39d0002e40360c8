"""The options that say what computes the encoder: the same for every verb that encodes."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum

import typer

from .output import talk

__all__ = [
    "BACKEND_OPTION",
    "FORCE_OPTION",
    "PRECISION_OPTION",
    "BackendName",
    "Precision",
    "for_one_query",
    "set_arithmetic",
    "tell_of_encoders",
]


class BackendName(StrEnum):
    """What computes the encoder."""

    auto = "auto"
    torch = "torch"
    openvino = "openvino"


class Precision(StrEnum):
    """Arithmetic of the encoder."""

    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"
    int8 = "int8"


# as encoders/arithmetic.py has them, which imports torch
BACKEND_VARIABLE, PRECISION_VARIABLE = "FRAMESIFT_BACKEND", "FRAMESIFT_PRECISION"
FORCE_VARIABLE = "FRAMESIFT_FORCE_PRECISION"

BACKEND_OPTION = typer.Option(
    None,
    "--backend",
    envvar=BACKEND_VARIABLE,
    help="What computes the encoder: torch; openvino, on CPUs; or auto (default): openvino on a CPU where it is "
    "installed and the encoder is large enough.",
)
PRECISION_OPTION = typer.Option(
    None,
    "--precision",
    envvar=PRECISION_VARIABLE,
    help="Arithmetic of the encoder: fp32 (default), bf16, int8 (CPUs, with openvino) or fp16 (CUDA). Below fp32 it is "
    "compared with fp32 at first, and refused where it is too far from it.",
)
FORCE_OPTION = typer.Option(
    False,
    "--force-precision",
    envvar=FORCE_VARIABLE,
    help="Take a precision that was found too far from fp32 all the same.",
)


def set_arithmetic(backend: BackendName | None, precision: Precision | None, force: bool = False) -> None:
    """Let every model that this process and its children load be computed so, and tell what is prepared for it.

    Through the environment, as with the number of threads: a server's jobs and an index that loads its own model when
    it needs it are to do the same.
    """
    if backend is not None:
        os.environ[BACKEND_VARIABLE] = backend.value
    if precision is not None:
        os.environ[PRECISION_VARIABLE] = precision.value
    if force:
        os.environ[FORCE_VARIABLE] = "1"
    tell_of_encoders()


def tell_of_encoders() -> None:
    """Let whoever waits for an encoder to be converted or compared read so, a line each on stderr."""
    logger = logging.getLogger("framesift.encoders")
    if not any(isinstance(handler, _Talking) for handler in logger.handlers):
        logger.addHandler(_Talking())
        logger.setLevel(logging.INFO)


@contextmanager
def for_one_query() -> Generator[None]:
    """Meanwhile, models are loaded for torch in fp32, unless something was said.

    OpenVINO saves some hundredths of a second a text; to start it takes nearly a second, and converting the text tower
    of CLIP ViT-B/32 for it, once, several.
    """
    precision = os.environ.get(PRECISION_VARIABLE) or Precision.fp32.value
    if os.environ.get(BACKEND_VARIABLE) or precision != Precision.fp32.value:
        yield
        return
    os.environ[BACKEND_VARIABLE] = BackendName.torch.value
    try:
        yield
    finally:
        del os.environ[BACKEND_VARIABLE]


class _Talking(logging.Handler):
    """What encoders tell while they are prepared, a line each on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        kind = "warning" if record.levelno >= logging.WARNING else "note"
        talk(f"{kind}: {record.getMessage()}")
