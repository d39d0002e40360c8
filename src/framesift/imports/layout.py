"""What a published layout is: how to tell it by its parameter names, and how to make a model of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor

from ..errors import CheckpointError
from ..model import RetrievalModel

__all__ = ["CLIP_PREFIX", "Layout", "Options", "Shape", "State", "clip_shapes"]

State: TypeAlias = Mapping[str, Tensor]
Shape: TypeAlias = tuple[int, ...]

CLIP_PREFIX = "clip."
"""Before the names of CLIP's own parameters, in every layout but that of CLIP itself."""

_BLOCK = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a file of weights does not say.

    Attributes:
        tokenizer: that of the weights.
        resize: resizer of the frames, see :mod:`framesift.encoders.preprocess`.
        num_heads: attention heads of the head; None for what the layout was published with.
        name: the model's name.
    """

    tokenizer: Any
    resize: str = "torch"
    num_heads: int | None = None
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A way in which others name the parameters of a model.

    Attributes:
        title: whose it is, in messages.
        recognises: whether a checkpoint with these parameters is of this layout.
        build: the model of such a checkpoint; raises CheckpointError with the names that are missing, unknown or of
            another shape.
    """

    title: str
    recognises: Callable[[State], bool]
    build: Callable[[State, Options], RetrievalModel]


def clip_shapes(state: State) -> dict[str, Shape]:
    """The names that OpenAI's CLIP (ViT) has under ``clip.`` in a checkpoint, and the shapes that go together.

    Sizes are read off a few tensors of ``state``; with ``visual.conv2.weight`` (CLIP4Clip's 3-D patches) in it, that
    is expected too.

    Raises:
        CheckpointError: one of these tensors is missing or has another number of dimensions.
    """

    def size(name: str, dimensions: int) -> Shape:
        if CLIP_PREFIX + name not in state:
            raise CheckpointError(f"no CLIP (ViT) weights: {CLIP_PREFIX}{name} is missing")
        shape = tuple(state[CLIP_PREFIX + name].shape)
        if len(shape) != dimensions:
            raise CheckpointError(
                f"{CLIP_PREFIX}{name} has shape {list(shape)}, expected {dimensions} dimensions"
            )
        return shape

    context, text_width = size("positional_embedding", 2)
    vocabulary, _ = size("token_embedding.weight", 2)
    _, dim = size("text_projection", 2)
    positions, vision_width = size("visual.positional_embedding", 2)
    _, _, patch, _ = size("visual.conv1.weight", 4)
    shapes: dict[str, Shape] = {
        "logit_scale": (),
        "token_embedding.weight": (vocabulary, text_width),
        "positional_embedding": (context, text_width),
        "ln_final.weight": (text_width,),
        "ln_final.bias": (text_width,),
        "text_projection": (text_width, dim),
        "visual.class_embedding": (vision_width,),
        "visual.positional_embedding": (positions, vision_width),
        "visual.conv1.weight": (vision_width, 3, patch, patch),
        "visual.ln_pre.weight": (vision_width,),
        "visual.ln_pre.bias": (vision_width,),
        "visual.ln_post.weight": (vision_width,),
        "visual.ln_post.bias": (vision_width,),
        "visual.proj": (vision_width, dim),
    }
    if f"{CLIP_PREFIX}visual.conv2.weight" in state:
        shapes["visual.conv2.weight"] = (vision_width, 3, 3, patch, patch)
    for tower, width in (("", text_width), ("visual.", vision_width)):
        numbers = [
            int(match[2])
            for name in state
            if (match := _BLOCK.match(name.removeprefix(CLIP_PREFIX))) and (match[1] or "") == tower
        ]
        for i in range(max(numbers, default=0) + 1):
            block = _block_shapes(width).items()
            shapes |= {f"{tower}transformer.resblocks.{i}.{name}": shape for name, shape in block}
    return {CLIP_PREFIX + name: shape for name, shape in shapes.items()}


def _block_shapes(width: int) -> dict[str, Shape]:
    return {
        "attn.in_proj_weight": (3 * width, width),
        "attn.in_proj_bias": (3 * width,),
        "attn.out_proj.weight": (width, width),
        "attn.out_proj.bias": (width,),
        "ln_1.weight": (width,),
        "ln_1.bias": (width,),
        "mlp.c_fc.weight": (4 * width, width),
        "mlp.c_fc.bias": (4 * width,),
        "mlp.c_proj.weight": (width, 4 * width),
        "mlp.c_proj.bias": (width,),
        "ln_2.weight": (width,),
        "ln_2.bias": (width,),
    }
