"""Which models are at hand, and what they are made of."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from .encoders import ENCODERS
from .hub import find, load

__all__ = ["cache_folder", "cached_models", "describe"]


def cache_folder() -> Path:
    """Where models of the Hugging Face hub are kept."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def cached_models() -> list[str]:
    """Hub ids of the dual encoders that can be loaded without a network."""
    found: set[str] = set()
    for path in cache_folder().glob("models--*/snapshots/*/config.json"):
        try:
            kind = json.loads(path.read_text(encoding="utf-8")).get("model_type")
        except (OSError, ValueError, AttributeError):
            continue  # not ours to complain about
        if kind in ENCODERS:
            found.add(path.parts[-4].removeprefix("models--").replace("--", "/", 1))
    return sorted(found)


def describe(name: str | Path) -> dict[str, Any]:
    """A model's parts, sizes and card, as JSON-ready values.

    Raises:
        UnknownModelError, CheckpointError: as for :func:`framesift.load`.
    """
    model = load(name, device="cpu")
    directory = find(name)
    card = directory / "README.md"
    return {
        "name": model.name,
        "encoder": model.encoder.name,
        "temporal": model.temporal.name,
        "matcher": model.matcher.name,
        "reranker": model.reranker.name if model.reranker else None,
        "dim": model.dim,
        "num_frames": model.num_frames,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "fingerprint": model.fingerprint(),
        "size_bytes": sum(path.stat().st_size for path in _files(directory)),
        "card": card.read_text(encoding="utf-8", errors="replace") if card.is_file() else "",
    }


def _files(directory: Path) -> list[Path]:
    return [Path(folder) / name for folder, _, names in os.walk(directory) for name in names]
