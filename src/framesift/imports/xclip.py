"""X-CLIP's checkpoints (spec: section 4): those of CLIP4Clip, and the eight learned matrices of its attention.

The matrices fix the numbers of words and frames, with which texts are cut and videos sampled from then on. Padding
counts as in the released code: padded words by their own states, empty frames by the embedding of a blank picture.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import torch
from torch import Tensor

from ..encoders import Encoder
from ..encoders.weights import load_state
from ..errors import CheckpointError
from ..matchers import MultiGrained, MultiGrainedConfig
from ..model import RetrievalModel
from ..temporal import Identity
from .clip4clip import CLIP4CLIP
from .layout import Layout, Options, State

__all__ = ["XCLIP"]

GLOBAL = ("global_mat_weight", "local_mat_weight")
WORDS = ("word_logit_weight", "word_mat_weight", "word_mat_weight2")
FRAMES = ("frame_logit_weight", "frame_mat_weight", "frame_mat_weight2")


def _recognises(state: State) -> bool:
    return any(name in state for name in chain(GLOBAL, WORDS, FRAMES))


def _build(state: State, options: Options) -> RetrievalModel:
    matrices = {name: state[name] for name in chain(GLOBAL, WORDS, FRAMES) if name in state}
    rest = {name: x for name, x in state.items() if name not in matrices}
    model = CLIP4CLIP.build(rest, options)
    if model.reranker is not None:
        raise CheckpointError(
            f"{XCLIP.title} has no head of the kind tightTransf, but this checkpoint has one"
        )
    temporal = model.temporal
    encoded = not isinstance(temporal, Identity)
    if encoded:
        again = type(temporal).from_config(replace(temporal.config, keep_frames=True))
        again.load_state_dict(temporal.state_dict())
        temporal = again
    config = MultiGrainedConfig(
        dim=model.dim,
        max_words=_size(matrices, WORDS),
        max_frames=_size(matrices, FRAMES),
        mask_padding=False,
        needs_video=encoded,
    )
    matcher = MultiGrained(config)
    source = f"{XCLIP.title}'s attention"
    load_state(matcher, {**matrices, "padding_frame": _blank_frame(model.encoder)}, source=source)
    return RetrievalModel(
        model.encoder,
        temporal,
        matcher,
        logit_scale=model.logit_scale.item(),
        num_frames=config.max_frames,
        name=options.name,
    ).eval()


XCLIP = Layout(title="X-CLIP", recognises=_recognises, build=_build)
"""The layout of X-CLIP's ``pytorch_model.bin.{epoch}``."""


def _size(matrices: State, names: tuple[str, ...]) -> int:
    """Rows of the first of these matrices that is there: what all of them are to have."""
    found = next((matrices[name] for name in names if name in matrices), None)
    if found is None or not found.ndim:
        raise CheckpointError(f"the weights of {XCLIP.title}'s attention lack a matrix {names[0]}")
    return len(found)


def _blank_frame(encoder: Encoder) -> Tensor:
    """Embedding of the picture with which the released loader fills a short video: zeros, after normalisation."""
    height, width = encoder.preprocessing.crop or (0, 0)  # CLIP's always has one
    channels = 3 * (2 * encoder.neighbours + 1)
    frame = encoder.encode_pixels(torch.zeros(1, channels, height, width))
    assert isinstance(frame, Tensor)  # patches were not asked for
    return frame[0]
