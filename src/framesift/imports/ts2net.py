"""TS2-Net's checkpoints (spec: section 2): those of CLIP4Clip's seqTransf, and the net that scores tokens.

The blocks with token shift are those whose attention has the name ``attn.net``. Two parts that the released code saves
but never uses, ``text_token_selector`` and ``visual_prompt_encoder``, are checked where they are present, and left out.
"""

from __future__ import annotations

import re

from ..encoders import TokenShiftClipEncoder
from ..encoders.openai import HEAD_WIDTH, clip_from_state
from ..encoders.weights import check_shapes, load_state
from ..errors import CheckpointError
from ..matchers import SelectedTokens
from ..model import RetrievalModel
from ..temporal import TokenSelection, TokenSelectionConfig
from .layout import CLIP_PREFIX, Layout, Options, Shape, State, clip_shapes

__all__ = ["TS2NET"]

POSITIONS = "frame_position_embeddings.weight"
SELECTOR = "visual_token_selector."
BLOCKS = "transformerClip.resblocks."

# ours -> published prefix
PUBLISHED = {
    "scorer.": f"{SELECTOR}score_predictor.",
    "position_embedding.": "frame_position_embeddings.",
    "blocks.": BLOCKS,
}
_SHIFTED = re.compile(rf"{re.escape(CLIP_PREFIX)}visual\.transformer\.resblocks\.(\d+)\.attn\.net\.")


def _recognises(state: State) -> bool:
    return any(name.startswith(SELECTOR) for name in state)


def _build(state: State, options: Options) -> RetrievalModel:
    shifted = sorted({int(match[1]) for name in state if (match := _SHIFTED.match(name))})
    clip = {
        _SHIFTED.sub(lambda match: match[0].removesuffix("net."), name): x
        for name, x in state.items()
        if name.startswith(CLIP_PREFIX)
    }
    temporal = TokenSelection(_config(clip, state, options))
    own = temporal.state_dict()
    published = {_published_name(name): name for name in own}
    shapes = clip_shapes(clip)
    expected = {_shifted_name(name, shifted): shape for name, shape in shapes.items()}
    expected |= {theirs: tuple(own[ours].shape) for theirs, ours in published.items()}
    expected |= {name: shape for name, shape in _unused(shapes).items() if name in state}
    check_shapes(state, expected, source=TS2NET.title)
    head = {ours: state[theirs] for theirs, ours in published.items()}
    load_state(temporal, head, source=f"{TS2NET.title}'s head")
    weights = {name.removeprefix(CLIP_PREFIX): x for name, x in clip.items()}
    plain = clip_from_state(weights, options.tokenizer, resize=options.resize)
    encoder = TokenShiftClipEncoder.from_clip(plain, shift_layers=shifted)
    scale = state[f"{CLIP_PREFIX}logit_scale"].item()
    return RetrievalModel(encoder, temporal, SelectedTokens(), logit_scale=scale, name=options.name).eval()


TS2NET = Layout(title="TS2-Net", recognises=_recognises, build=_build)
"""The layout of TS2-Net's ``pytorch_model.bin.{epoch}``."""


def _config(clip: State, state: State, options: Options) -> TokenSelectionConfig:
    shapes = clip_shapes(clip)
    positions = state.get(POSITIONS)
    if positions is None:
        raise CheckpointError(f"the weights of {TS2NET.title} lack {POSITIONS}")
    numbers = [name.removeprefix(BLOCKS).split(".")[0] for name in state if name.startswith(BLOCKS)]
    return TokenSelectionConfig(
        dim=shapes[f"{CLIP_PREFIX}text_projection"][1],
        num_layers=1 + max((int(number) for number in numbers if number.isdecimal()), default=0),
        num_heads=options.num_heads or shapes[f"{CLIP_PREFIX}positional_embedding"][1] // HEAD_WIDTH,
        num_positions=len(positions),
    )


def _published_name(name: str) -> str:
    """Our parameter name as the one in the file."""
    ours, theirs = next((ours, theirs) for ours, theirs in PUBLISHED.items() if name.startswith(ours))
    return theirs + name.removeprefix(ours)


def _shifted_name(name: str, shifted: list[int]) -> str:
    """CLIP's parameter name as the one in the file, where the attention of shifted blocks is wrapped."""
    for i in shifted:
        block = f"{CLIP_PREFIX}visual.transformer.resblocks.{i}.attn."
        if name.startswith(block):
            return f"{block}net.{name.removeprefix(block)}"
    return name


def _unused(clip: dict[str, Shape]) -> dict[str, Shape]:
    """What the released code saves and never reads."""
    _, dim = clip[f"{CLIP_PREFIX}text_projection"]
    kernel = clip[f"{CLIP_PREFIX}visual.conv1.weight"]
    half, width = dim // 2, kernel[0]
    text, prompt = "text_token_selector.score_predictor.", "visual_prompt_encoder."
    return {
        f"{text}in_conv.0.weight": (dim,),
        f"{text}in_conv.0.bias": (dim,),
        f"{text}in_conv.1.weight": (half, dim),
        f"{text}in_conv.1.bias": (half,),
        f"{text}out_conv.0.weight": (half, dim),
        f"{text}out_conv.2.weight": (1, half),
        f"{prompt}positional_embedding": (4, width),
        f"{prompt}conv1.weight": kernel,
        f"{prompt}layer_norm.weight": (width,),
        f"{prompt}layer_norm.bias": (width,),
    }
