"""Checkpoints that others published, in their own layouts: OpenAI's CLIP, and X-Pool's (spec: section 3).

A layout is recognised by its parameter names. Weights are read from safetensors, or from pickles of nothing
but tensors and plain values.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from ..encoders.openai import clip_from_state
from ..encoders.tokenize import clip_tokenizer_from_merges, load_tokenizer
from ..encoders.weights import load_state, read_state
from ..errors import CheckpointError, InputError
from ..hub import DEFAULT_MATCHER
from ..matchers import build_matcher
from ..matchers.xpool import XPool, XPoolConfig
from ..model import LOGIT_SCALE_MAX, RetrievalModel
from ..temporal import Identity

__all__ = ["import_checkpoint", "import_state"]

CLIP_PREFIX = "clip."
XPOOL_PREFIX = "pool_frames."


def import_checkpoint(
    path: str | Path,
    *,
    merges: str | Path | None = None,
    tokenizer: str | Path | None = None,
    resize: str = "torch",
    num_heads: int = 1,
    name: str | None = None,
) -> RetrievalModel:
    """Read a published checkpoint file: CLIP under OpenAI's names, or X-Pool.

    Args:
        path: ``.safetensors``, or a pickle (``.pt``, ``.pth``, ``.bin``), read with ``weights_only=True``.
        merges: OpenAI's merge list ``bpe_simple_vocab_16e6.txt.gz``; this or ``tokenizer``.
        tokenizer: directory of a CLIP checkpoint, whose tokenizer is taken.
        resize: ``torch``, ``pil``, or for X-Pool's own numbers ``tensor`` (see :mod:`.encoders.preprocess`).
        num_heads: X-Pool's, which its checkpoints do not tell; every published one has 1.
        name: the model's name; default: that of the file.

    Raises:
        CheckpointError: the file is damaged, holds more than tensors, or is of an unknown layout.
        InputError: neither or both of ``merges`` and ``tokenizer``.
    """
    if (merges is None) == (tokenizer is None):
        raise InputError(
            "a file of weights has no tokenizer: give either the merge list (bpe_simple_vocab_16e6.txt.gz) or the"
            " directory of a CLIP checkpoint with the same tokenizer"
        )
    state = read_state(path)
    found = clip_tokenizer_from_merges(merges) if merges is not None else load_tokenizer(Path(str(tokenizer)))
    try:
        return import_state(
            state, found, resize=resize, num_heads=num_heads, name=Path(path).stem if name is None else name
        )
    except CheckpointError as error:
        raise CheckpointError(f"{str(path)!r}: {error}") from None


def import_state(
    state: dict[str, Tensor],
    tokenizer: Any,
    *,
    resize: str = "torch",
    num_heads: int = 1,
    name: str = "",
) -> RetrievalModel:
    """The same from named tensors and a tokenizer in hand."""
    clip = {key.removeprefix(CLIP_PREFIX): x for key, x in state.items() if key.startswith(CLIP_PREFIX)}
    head = {key: x for key, x in state.items() if not key.startswith(CLIP_PREFIX)}
    if not clip:  # a bare CLIP
        clip, head = head, {}
    foreign = sorted(key for key in head if not key.startswith(XPOOL_PREFIX))
    if foreign:
        raise CheckpointError(
            f"a layout that is not known: besides CLIP it holds {foreign[0]!r} (known: OpenAI CLIP, X-Pool)"
        )
    encoder = clip_from_state(clip, tokenizer, resize=resize)
    if head:
        matcher = XPool(XPoolConfig(dim=encoder.dim, num_heads=num_heads))
        load_state(matcher, _xpool_names(head), source="the X-Pool head")
    else:
        matcher = build_matcher(DEFAULT_MATCHER, {})
    scale = LOGIT_SCALE_MAX if encoder.logit_scale is None else encoder.logit_scale
    return RetrievalModel(encoder, Identity(), matcher, logit_scale=scale, name=name).eval()


def _xpool_names(head: dict[str, Tensor]) -> dict[str, Tensor]:
    """X-Pool's parameter names as those of :class:`.matchers.XPool`."""
    return {key.removeprefix(XPOOL_PREFIX): x for key, x in head.items()}
