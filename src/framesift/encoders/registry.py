"""The encoders by name, and loading one from a directory or hub id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from ..errors import CheckpointError, FramesiftError, suggest
from .base import Encoder
from .clip import ClipEncoder
from .fetch import fetch
from .preprocess import Preprocess
from .siglip import Siglip2Encoder, SiglipEncoder
from .token_shift import TokenShiftClipEncoder
from .tokenize import load_tokenizer
from .weights import load_state, read_directory

__all__ = ["ENCODERS", "load_encoder"]

ENCODERS: dict[str, type[Encoder]] = {
    "clip": ClipEncoder,
    "siglip": SiglipEncoder,
    "siglip2": Siglip2Encoder,
    "token_shift_clip": TokenShiftClipEncoder,
}
"""By the ``model_type`` of a checkpoint's ``config.json``."""


def load_encoder(
    name: str | Path,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "fp32",
    backend: str = "auto",
    resize: str = "torch",
    revision: str | None = None,
    local_files_only: bool = False,
) -> Encoder:
    """Load a dual encoder from a directory or a hub id ``owner/name``.

    Args:
        device, dtype, backend: as for :meth:`.Encoder.use`.
        resize: ``torch`` (fast) or ``pil`` (exactly as published); see :mod:`.preprocess`.
        revision: branch, tag or commit of a hub repository.
        local_files_only: do not use the network.

    Raises:
        UnknownModelError: no such directory or hub id, or it cannot be downloaded.
        CheckpointError: a file is missing or damaged, or of an architecture that is not in ``ENCODERS``.
    """
    directory = fetch(name, revision=revision, local_files_only=local_files_only)
    config = _read_config(directory)
    kind = str(config.get("model_type"))
    if kind not in ENCODERS:
        raise CheckpointError(
            f"model_type {kind!r} in {str(directory / 'config.json')!r} is not supported"
            f" (supported: {', '.join(ENCODERS)}){suggest(kind, ENCODERS)}"
        )
    cls = ENCODERS[kind]
    try:
        model = cls.build(config)
    except FramesiftError:
        raise
    except Exception as error:  # transformers' validation raises many kinds
        reason = (str(error).strip().splitlines() or [""])[0]
        raise CheckpointError(f"cannot build {str(directory)!r} from its config.json: {reason}") from None
    state = {key: x for key, x in read_directory(directory).items() if not key.endswith("position_ids")}
    load_state(model, state, source=repr(str(directory)))
    encoder = cls(model, load_tokenizer(directory), _read_preprocessing(directory, resize))
    return encoder.use(device=device, dtype=dtype, backend=backend)


def _read_config(directory: Path) -> dict[str, Any]:
    path = directory / "config.json"
    if not path.is_file():
        raise CheckpointError(
            f"no config.json in {str(directory)!r}: it is not the directory of a checkpoint"
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {str(path)!r}: {error}") from None
    if not isinstance(config, dict):
        raise CheckpointError(f"{str(path)!r}: expected a JSON object")
    return config


def _read_preprocessing(directory: Path, resizer: str) -> Preprocess:
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (directory / name).is_file():
            return Preprocess.load(directory / name, resizer=resizer)
    raise CheckpointError(f"no preprocessor_config.json in {str(directory)!r}")
