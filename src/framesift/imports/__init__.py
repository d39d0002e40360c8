"""Checkpoints that others published, in their own layouts: OpenAI's CLIP, X-Pool's, X-CLIP's, TS2-Net's,
CLIP4Clip's.

A layout is recognised by its parameter names, or given by name. Weights are read from safetensors, or from
pickles of nothing but tensors and plain values.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from ..encoders.tokenize import clip_tokenizer_from_merges, load_tokenizer
from ..encoders.weights import read_state
from ..errors import CheckpointError, ConfigError, InputError, suggest
from ..model import RetrievalModel
from .clip4clip import CLIP4CLIP
from .layout import CLIP_PREFIX, Layout, Options
from .ts2net import TS2NET
from .xclip import XCLIP
from .xpool import CLIP, XPOOL

__all__ = ["LAYOUTS", "import_checkpoint", "import_state"]

LAYOUTS: dict[str, Layout] = {
    "xpool": XPOOL,
    "xclip": XCLIP,
    "ts2net": TS2NET,
    "clip4clip": CLIP4CLIP,
    "clip": CLIP,
}
"""The layouts by name, in the order in which they are tried: X-CLIP and TS2-Net have CLIP4Clip's names, and more."""


def import_checkpoint(
    path: str | Path,
    *,
    layout: str | None = None,
    merges: str | Path | None = None,
    tokenizer: str | Path | None = None,
    resize: str = "torch",
    num_heads: int | None = None,
    name: str | None = None,
) -> RetrievalModel:
    """Read a published checkpoint file.

    Args:
        path: ``.safetensors``, or a pickle (``.pt``, ``.pth``, ``.bin``), read with ``weights_only=True``.
        layout: a key of :data:`LAYOUTS`; default: the first that recognises the parameter names.
        merges: OpenAI's merge list ``bpe_simple_vocab_16e6.txt.gz``; this or ``tokenizer``.
        tokenizer: directory of a CLIP checkpoint, whose tokenizer is taken.
        resize: ``torch``, ``pil`` (CLIP4Clip's own), or for X-Pool's own numbers ``tensor`` (see
            :mod:`.encoders.preprocess`).
        num_heads: attention heads of the head, which no checkpoint tells; default: as published (X-Pool 1, CLIP4Clip
            one for 64 dimensions).
        name: the model's name; default: that of the file.

    Raises:
        CheckpointError: the file is damaged, holds more than tensors, is of an unknown layout, or a tensor of its
            layout is missing, unknown or of another shape.
        InputError: no such layout; or neither or both of ``merges`` and ``tokenizer``.
    """
    if (merges is None) == (tokenizer is None):
        raise InputError(
            "a file of weights has no tokenizer: give either the merge list (bpe_simple_vocab_16e6.txt.gz) or the"
            " directory of a CLIP checkpoint with the same tokenizer"
        )
    _check_name(layout)
    state = read_state(path)
    found = clip_tokenizer_from_merges(merges) if merges is not None else load_tokenizer(Path(str(tokenizer)))
    name = Path(path).stem if name is None else name
    try:
        return import_state(state, found, layout=layout, resize=resize, num_heads=num_heads, name=name)
    except CheckpointError as error:
        raise CheckpointError(f"{str(path)!r}: {error}") from None


def import_state(
    state: dict[str, Tensor],
    tokenizer: Any,
    *,
    layout: str | None = None,
    resize: str = "torch",
    num_heads: int | None = None,
    name: str = "",
) -> RetrievalModel:
    """The same from named tensors and a tokenizer in hand."""
    _check_name(layout)
    chosen = _recognise(state) if layout is None else LAYOUTS[layout]
    options = Options(tokenizer=tokenizer, resize=resize, num_heads=num_heads, name=name)
    return chosen.build(state, options)


def _check_name(layout: str | None) -> None:
    if layout is not None and layout not in LAYOUTS:
        raise ConfigError(f"no layout {layout!r}{suggest(layout, LAYOUTS)} (known: {', '.join(LAYOUTS)})")


def _recognise(state: dict[str, Tensor]) -> Layout:
    for layout in LAYOUTS.values():
        if layout.recognises(state):
            return layout
    foreign = min(key for key in state if not key.startswith(CLIP_PREFIX))
    known = ", ".join(layout.title for layout in LAYOUTS.values())
    raise CheckpointError(f"a layout that is not known: besides CLIP it holds {foreign!r} (known: {known})")
