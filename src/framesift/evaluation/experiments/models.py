"""Which models an experiment is about, and how they are had."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ...errors import InputError
from ...hub import MODELS, load
from ...model import RetrievalModel
from ...rerankers import CrossTVR
from ...temporal import Identity

__all__ = ["any_model", "first_stage", "load_models", "plain_frames", "with_crosstvr"]


def any_model(model: RetrievalModel) -> bool:
    """Every model."""
    return True


def first_stage(model: RetrievalModel) -> bool:
    """Ranks by its matcher alone."""
    return model.reranker is None


def plain_frames(model: RetrievalModel) -> bool:
    """A first stage whose frames do not inform one another."""
    return model.reranker is None and isinstance(model.temporal, Identity)


def with_crosstvr(model: RetrievalModel) -> bool:
    """Has CrossTVR's second stage."""
    return isinstance(model.reranker, CrossTVR)


def load_models(
    wanted: Sequence[str], suits: Callable[[RetrievalModel], bool], *, device: str
) -> dict[str, RetrievalModel]:
    """Load models, by the names that the results show.

    Args:
        wanted: ``NAME`` or ``LABEL=NAME``, of bundled models, directories or the hub; none: all bundled ones that suit.

    Raises:
        InputError: a label twice, or no bundled model suits.
        UnknownModelError, CheckpointError: as for :func:`framesift.load`.
    """
    models: dict[str, RetrievalModel] = {}
    for entry in wanted:
        label, equals, name = entry.partition("=")
        if not equals or Path(entry).exists():
            label, name = Path(entry).name if Path(entry).is_dir() else entry, entry
        if not label or label in models:
            raise InputError(f"--model {entry!r}: expected a label of its own, LABEL=MODEL")
        models[label] = load(name, device=device)
    if wanted:
        return models
    for name in MODELS:
        model = load(name, device=device)
        if suits(model):
            models[name] = model
    if not models:
        raise InputError(
            "no bundled model has what this experiment measures; train one, and name it with --model DIRECTORY"
        )
    return models
