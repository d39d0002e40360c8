"""X-Pool's checkpoints (spec: section 3), and CLIP alone, under OpenAI's or Hugging Face's names."""

from __future__ import annotations

from ..encoders import ClipEncoder
from ..encoders.openai import clip_from_state
from ..encoders.weights import load_state
from ..hub import DEFAULT_MATCHER
from ..matchers import Matcher, build_matcher
from ..matchers.xpool import XPool, XPoolConfig
from ..model import LOGIT_SCALE_MAX, RetrievalModel
from ..temporal import Identity
from .layout import CLIP_PREFIX, Layout, Options, State

__all__ = ["CLIP", "XPOOL"]

XPOOL_PREFIX = "pool_frames."
NUM_HEADS = 1  # every published X-Pool


def _is_xpool(state: State) -> bool:
    return any(name.startswith(XPOOL_PREFIX) for name in state)


def _is_clip(state: State) -> bool:
    prefixed = [name.startswith(CLIP_PREFIX) for name in state]
    return all(prefixed) or not any(prefixed)


def _build_xpool(state: State, options: Options) -> RetrievalModel:
    clip = {name.removeprefix(CLIP_PREFIX): x for name, x in state.items() if name.startswith(CLIP_PREFIX)}
    head = {name: x for name, x in state.items() if not name.startswith(CLIP_PREFIX)}
    encoder = clip_from_state(clip, options.tokenizer, resize=options.resize)
    matcher = XPool(XPoolConfig(dim=encoder.dim, num_heads=options.num_heads or NUM_HEADS))
    load_state(
        matcher, {name.removeprefix(XPOOL_PREFIX): x for name, x in head.items()}, source="the X-Pool head"
    )
    return _model(encoder, matcher, options)


def _build_clip(state: State, options: Options) -> RetrievalModel:
    clip = {name.removeprefix(CLIP_PREFIX): x for name, x in state.items()}
    encoder = clip_from_state(clip, options.tokenizer, resize=options.resize)
    return _model(encoder, build_matcher(DEFAULT_MATCHER, {}), options)


def _model(encoder: ClipEncoder, matcher: Matcher, options: Options) -> RetrievalModel:
    scale = LOGIT_SCALE_MAX if encoder.logit_scale is None else encoder.logit_scale
    return RetrievalModel(encoder, Identity(), matcher, logit_scale=scale, name=options.name).eval()


XPOOL = Layout(title="X-Pool", recognises=_is_xpool, build=_build_xpool)
"""CLIP under ``clip.``, and the pooling under ``pool_frames.``."""

CLIP = Layout(title="CLIP", recognises=_is_clip, build=_build_clip)
"""CLIP alone; it gets a matcher that needs no training."""
