"""The model of a recipe, initialised as the papers do, before any training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..config import from_dict
from ..encoders import ClipEncoder, Encoder, TokenShiftClipEncoder
from ..encoders.openai import HEAD_WIDTH, text_blocks
from ..encoders.weights import read_state
from ..errors import CheckpointError, ConfigError, ShapeError, suggest
from ..hub import load, load_image_encoder
from ..imports.blip2 import QFORMER_FILE, load_qformer
from ..matchers import MATCHERS, build_matcher
from ..model import RetrievalModel
from ..rerankers import RERANKERS, CrossTransformer, CrossTVR, Reranker
from ..temporal import TEMPORALS, Temporal, TemporalTransformer, TokenSelection
from ..video import Frames
from .recipe import Part, Recipe

__all__ = ["build_model"]

TOKEN_SHIFT_BLOCKS = 2  # TS2-Net, released code: the last two of the visual tower
WORDS = 32  # CLIP4Clip's family, all sets but those of paragraphs
CROSS_TVR = CrossTVR.name


def build_model(
    recipe: Recipe, *, device: str | torch.device = "auto", report: Callable[[str], None]
) -> RetrievalModel:
    """Encoder, temporal module, matcher and reranker of a recipe; new parts are drawn from its seed.

    Args:
        report: hears what could not be initialised as published.

    Raises:
        ConfigError: the recipe names no such part, or its configuration does not fit.
        ModelError: the encoder, or the first stage, cannot be had.
    """
    system, names = recipe.published, {}
    for kind in ("temporal", "matcher", "reranker"):
        part: Part = getattr(recipe, kind)
        names[kind] = part.name or (getattr(system, kind) if system else "") or ""
    torch.manual_seed(recipe.seed)
    if names["reranker"] == CROSS_TVR:
        return _second_stage(recipe, device=device, report=report)
    start = load(recipe.encoder, device=device, backend="torch", dtype="fp32")
    encoder = start.encoder
    if system is not None and system.encoder == TokenShiftClipEncoder.name:
        encoder = _with_token_shift(encoder)
    frames, words = recipe.frames.num_frames, recipe.frames.num_words or WORDS
    keep = (
        names["matcher"] == "multi_grained"
    )  # X-CLIP compares the frames as well as what the temporal module makes
    known = {
        "dim": encoder.dim,
        "num_heads": max(1, encoder.dim // HEAD_WIDTH),
        "max_words": min(words, encoder.context_length),
    }
    temporal: Temporal = _registered(
        TEMPORALS, names["temporal"] or "identity", recipe.temporal.config, "temporal",
        {**known, "max_frames": max(frames, 77), "num_positions": max(4 * frames, 77), "keep_frames": keep},
    )  # fmt: skip
    matcher = build_matcher(
        names["matcher"],
        _filled(
            MATCHERS.get(names["matcher"]),
            recipe.matcher.config,
            {
                "dim": encoder.dim,
                "max_words": known["max_words"],
                "max_frames": frames,
                "needs_video": keep and temporal.name != "identity",
            },
        ),
    )
    reranker: Reranker | None = None
    if names["reranker"]:
        reranker = _registered(
            RERANKERS,
            names["reranker"],
            recipe.reranker.config,
            "reranker",
            {**known, "max_frames": max(frames, 76)},
        )
    if recipe.start == "text":
        for module in (temporal, reranker):
            _start_from_text(module, encoder, report)
    model = RetrievalModel(
        encoder,
        temporal,
        matcher,
        reranker,
        logit_scale=start.logit_scale.item(),
        num_frames=frames,
        name=recipe.name,
    )
    return model.to(encoder.device)


def _second_stage(
    recipe: Recipe, *, device: str | torch.device, report: Callable[[str], None]
) -> RetrievalModel:
    """A trained first stage with a new CrossTVR behind it."""
    if not recipe.rerank.first_stage:
        raise ConfigError(
            "CrossTVR is trained behind a first stage: give the name or directory of one as rerank.first_stage"
        )
    model = load(recipe.rerank.first_stage, device=device, backend="torch", dtype="fp32")
    if model.reranker is not None:
        raise ConfigError(f"rerank.first_stage={recipe.rerank.first_stage!r} has a reranker already")
    reranker = _cross_tvr(recipe, model, report)
    model.reranker = reranker.to(model.device)
    model.num_frames = recipe.frames.num_frames
    model.name = recipe.name
    return model


def _cross_tvr(recipe: Recipe, model: RetrievalModel, report: Callable[[str], None]) -> CrossTVR:
    """A CrossTVR from random weights, from BLIP-2's Q-Former, or from another model's CrossTVR."""
    start = recipe.rerank.start_from
    given: dict[str, Any] = dict(recipe.reranker.config)
    width = _token_width(model, given.get("encoder", ""))
    adapted = given.get("adapter_from") is not None
    sizes = {**({} if adapted else {"visual_width": width}), **given.get("qformer", {})}
    blip2 = Path(start).expanduser() / QFORMER_FILE if start else None
    if blip2 is None:
        report(
            "note: CrossTVR starts from random weights and reads the first stage's words (no rerank.start_from)"
        )
        given = {"word_width": model.dim, **given}
    reranker = CrossTVR.from_config(
        from_dict(CrossTVR.Config, {**given, "qformer": sizes}, where="reranker.config")
    )
    if blip2 is None:
        return reranker
    if blip2.is_file():
        fresh = load_qformer(reranker, read_state(blip2), source=repr(str(blip2)))
        report(f"note: {len(fresh)} tensors of CrossTVR are not BLIP-2's, and start from random numbers")
        if (blip2.parent / "vocab.txt").is_file():
            reranker.load_files(blip2.parent)
        elif reranker.word_map is None:
            raise CheckpointError(
                f"{str(blip2.parent)!r} has no vocab.txt: put that of bert-base-uncased there, whose words BLIP-2 reads"
            )
        return reranker
    started = load(start, device="cpu").reranker
    if not isinstance(started, CrossTVR):
        raise ConfigError(f"rerank.start_from={start!r} has no CrossTVR")
    return started


def _token_width(model: RetrievalModel, encoder: str) -> int:
    """Width of the image tokens of ``encoder``; empty: of the model's own."""
    if encoder:
        return load_image_encoder(encoder, device="cpu").width
    side = 64  # of a picture where the encoder takes any
    size = model.encoder.preprocessing.crop or model.encoder.preprocessing.size or (side, side)
    blank = Frames(np.zeros((1, *size, 3), np.uint8), np.zeros(1), "blank")
    patch = model.encoder.encode_video([blank], patches=True).patch
    assert patch is not None
    return patch.shape[-1]


def _with_token_shift(encoder: Encoder) -> TokenShiftClipEncoder:
    if isinstance(encoder, TokenShiftClipEncoder):
        return encoder
    if not isinstance(encoder, ClipEncoder):
        raise ConfigError(f"token shift (TS2-Net) is for CLIP encoders; this one is {encoder.name!r}")
    blocks = len(encoder.model.vision_model.encoder.layers)
    return TokenShiftClipEncoder.from_clip(
        encoder, shift_layers=range(max(0, blocks - TOKEN_SHIFT_BLOCKS), blocks)
    )


def _registered(
    registry: Mapping[str, Any], name: str, config: Mapping[str, Any], kind: str, known: Mapping[str, Any]
) -> Any:
    if name not in registry:
        raise ConfigError(f"no {kind} {name!r}{suggest(name, registry)} (known: {', '.join(registry)})")
    cls = registry[name]
    return cls.from_config(from_dict(cls.Config, _filled(cls, config, known), where=f"{kind}.config"))


def _filled(cls: type[Any] | None, config: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """``config`` with what follows from encoder and frames, where the class has such a field and it is not given."""
    if cls is None:
        return dict(config)
    has = {field.name for field in fields(cls.Config)}
    return {**{name: value for name, value in known.items() if name in has}, **config}


def _start_from_text(part: Any, encoder: Encoder, report: Callable[[str], None]) -> None:
    if not isinstance(part, TemporalTransformer | TokenSelection | CrossTransformer):
        return
    if not isinstance(encoder, ClipEncoder):
        report(f"the {part.name} starts from random weights: only CLIP's text tower can be copied")
        return
    text, own = text_blocks(encoder), part.position_embedding.weight.detach()
    table = text["positional_embedding"]
    if len(own) > len(table) and own.shape[1] == table.shape[1]:
        text["positional_embedding"] = torch.cat(
            [table, own[len(table) :].to(table)]
        )  # the rest stays random
    try:
        part.start_from(text)
    except ShapeError as error:
        report(
            f"the {part.name} starts from random weights, not from the text tower, which does not fit: {error}"
        )
