"""The towers of an encoder as OpenVINO networks: traced, checked against torch, kept on disk. A room of openvino.

OpenVINO's tools would report their use over the network and keep an identifier in the home directory; they are kept
from that before they are loaded.
"""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from ..errors import InputError, ModelError
from .compiled_store import CompiledStore

if TYPE_CHECKING:
    from .base import Encoder

__all__ = ["Tower", "import_openvino", "network", "sample_inputs"]

logger = logging.getLogger(__name__)

Tower: TypeAlias = Literal["text", "vision"]

CLOSE = 1e-4
"""Largest difference of a converted tower from torch's in fp32, relative to the largest value: ten times what rounding
makes, and far below what a wrongly traced operation does."""

RECIPE = 1
"""Of how towers are converted and quantised, and by which pictures: what another one made is not taken for its own."""


def import_openvino() -> Any:
    """The package, its reporting of use switched off. Raises ModelError where what is installed is broken."""
    # what would import it takes a stub of its own where it cannot
    sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType]
    try:
        import openvino
    except ImportError as error:
        raise ModelError(
            f"OpenVINO is installed, but cannot be loaded ({error}); install it again: pip install"
            " 'framesift[openvino]', or use backend='torch'"
        ) from None
    return openvino


def network(encoder: Encoder, tower: Tower, *, int8: bool, store: CompiledStore, fingerprint: str) -> Any:
    """A tower as an OpenVINO network: read from the store, or converted (and quantised) and kept there.

    Args:
        int8: with quantised weights and, in the vision tower, activations.
        fingerprint: of the encoder.

    Raises:
        ModelError: it cannot be converted, or what comes out computes something else.
    """
    ov = import_openvino()
    version = ov.get_version().split("-")[0]
    key = f"{fingerprint}-{tower}-{'int8' if int8 else 'fp32'}-openvino{version}-{RECIPE}"
    found = _read(store, key)
    if found is not None:
        return found
    started = time.monotonic()
    what = f"the {tower} tower of {encoder.name!r} for OpenVINO"
    logger.info("%s %s, once; it is then kept on disk", "quantising" if int8 else "converting", what)
    made = None if not int8 else _read(store, key.replace("-int8-", "-fp32-"))
    if made is None:
        made = _convert(encoder, tower)
    if int8:
        from .quantisation import quantise

        made = quantise(made, encoder, tower)
    seconds = time.monotonic() - started
    facts = {"encoder": encoder.name, "tower": tower, "openvino": version, "seconds": round(seconds, 1)}

    def write(path: Path) -> None:
        try:
            ov.save_model(made, path, compress_to_fp16=False)
        except RuntimeError as error:  # OpenVINO's word for a full disk
            raise OSError((str(error).strip().splitlines() or [""])[-1][:200]) from None

    try:
        store.keep(key, write, facts)
    except OSError as error:
        logger.warning(
            "cannot keep %s in %r (%s): every process will make it again", what, str(store.folder), error
        )
        return made
    logger.info("%s is ready after %.0f s", what, time.monotonic() - started)
    kept = _read(store, key)  # mapped, so that processes share it; None if a disk kept something else
    return made if kept is None else kept


def sample_inputs(encoder: Encoder, tower: Tower, *, rows: int) -> tuple[Tensor, ...]:
    """Inputs of a tower of the right shapes: texts of different lengths, or noise of its pictures' size."""
    if tower == "text":
        texts = ["a dog", "two people dance on a stage while it rains", "red", "a man plays the guitar"]
        return encoder.tokenize([texts[row % len(texts)] for row in range(rows)])
    noise = torch.randint(
        0, 256, (rows, 48, 64, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    return (encoder.preprocess(noise.numpy()),)


class _Tower(nn.Module):
    """A tower as a module of its own, with tensors for inputs and outputs."""

    def __init__(self, encoder: Encoder, forward: Callable[..., tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.encoder = encoder
        self._forward = forward

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        return self._forward(*inputs)


def _convert(encoder: Encoder, tower: Tower) -> Any:
    ov = import_openvino()
    forward = encoder.forward_words if tower == "text" else encoder.forward_patches
    traced, checked = sample_inputs(encoder, tower, rows=2), sample_inputs(encoder, tower, rows=3)
    if tower == "text" and encoder.padded_length is None:
        checked = tuple(part[2:, :3] for part in checked)  # another number of texts, of another length
    training = encoder.training
    encoder.eval()
    chatter = logging.getLogger("transformers")  # which remarks on its own configuration while it is traced
    level = chatter.level
    chatter.setLevel(logging.ERROR)
    try:
        with (
            torch.no_grad(),
            warnings.catch_warnings(action="ignore"),
        ):  # of tracing: the result is checked below
            made = ov.convert_model(_Tower(encoder, forward), example_input=traced)
            expected = forward(*checked)
        found = ov.Core().compile_model(made, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(
            [x.numpy() for x in checked]
        )
    except InputError:
        raise
    except (
        Exception
    ) as error:  # of tracing, of OpenVINO's frontend and of its compiler: many kinds, all mean this
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ModelError(f"OpenVINO cannot take the {tower} tower of {encoder.name!r}: {reason}") from None
    finally:
        chatter.setLevel(level)
        encoder.train(training)
    for output, wanted in zip(found.values(), expected, strict=True):
        ours = torch.from_numpy(output)
        if ours.shape != wanted.shape or not bool((ours - wanted).abs().max() <= CLOSE * wanted.abs().max()):
            raise ModelError(
                f"OpenVINO's {tower} tower of {encoder.name!r} computes something else than torch's;"
                " use backend='torch'"
            )
    return made


def _read(store: CompiledStore, key: str) -> Any:
    """The network of an entry, or None where there is none or it cannot be read, and then it is deleted."""
    path = store.find(key)
    if path is None:
        return None
    try:
        return import_openvino().Core().read_model(path)
    except RuntimeError:
        store.drop(key)
        return None
