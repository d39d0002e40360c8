"""CLIP weights that come without a config: under OpenAI's parameter names, or under Hugging Face's.

Sizes are read off the shapes; what shapes do not tell is CLIP's rule (64 channels a head, QuickGELU). The text
is pooled at its largest id (spec: section 0.1).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError
from .clip import ClipEncoder, channels_of_3d
from .preprocess import Preprocess
from .weights import load_state

__all__ = ["clip_from_state", "from_openai_names", "text_blocks"]

HEAD_WIDTH = 64  # OpenAI CLIP, model.py: vision_heads = vision_width // 64, and the same for the text
LARGEST_ID = 2  # transformers: the eos_token_id that means pooling at the largest id, as OpenAI does

# OpenAI name -> Hugging Face name, and whether the matrix is transposed
_NAMES = {
    "logit_scale": ("logit_scale", False),
    "token_embedding.weight": ("text_model.embeddings.token_embedding.weight", False),
    "positional_embedding": ("text_model.embeddings.position_embedding.weight", False),
    "ln_final.weight": ("text_model.final_layer_norm.weight", False),
    "ln_final.bias": ("text_model.final_layer_norm.bias", False),
    "text_projection": ("text_projection.weight", True),
    "visual.class_embedding": ("vision_model.embeddings.class_embedding", False),
    "visual.conv1.weight": ("vision_model.embeddings.patch_embedding.weight", False),
    "visual.positional_embedding": ("vision_model.embeddings.position_embedding.weight", False),
    "visual.ln_pre.weight": ("vision_model.pre_layrnorm.weight", False),
    "visual.ln_pre.bias": ("vision_model.pre_layrnorm.bias", False),
    "visual.ln_post.weight": ("vision_model.post_layernorm.weight", False),
    "visual.ln_post.bias": ("vision_model.post_layernorm.bias", False),
    "visual.proj": ("visual_projection.weight", True),
}
_BLOCK = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+)")
_BLOCK_NAMES = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
_CONV_3D = "visual.conv2.weight"  # CLIP4Clip's 3-D patches; conv1 stays in the file, unused
_SIZES = ("input_resolution", "context_length", "vocab_size")  # scalars in OpenAI's archives


def clip_from_state(state: Mapping[str, Tensor], tokenizer: Any, *, resize: str = "torch") -> ClipEncoder:
    """A CLIP encoder from its weights under OpenAI's or Hugging Face's names.

    Args:
        tokenizer: CLIP's, see :func:`.tokenize.clip_tokenizer_from_merges`.

    Raises:
        CheckpointError: a weight is missing, unknown or of a shape that does not fit the others or the tokenizer.
    """
    if "visual.conv1.weight" in state:
        state = from_openai_names(state)
    weights = {name: x for name, x in state.items() if not name.endswith("position_ids")}
    config = _read_sizes(weights)
    vocabulary = config["text_config"]["vocab_size"]
    if tokenizer is not None and len(tokenizer) > vocabulary:
        raise CheckpointError(f"the tokenizer has {len(tokenizer)} tokens, but the weights know {vocabulary}")
    model = ClipEncoder.build(config)
    load_state(model, weights, source="the CLIP checkpoint")
    size = config["vision_config"]["image_size"]
    preprocessing = Preprocess(shortest_edge=size, crop=(size, size), resizer=resize)
    return ClipEncoder(model, tokenizer, preprocessing)


def from_openai_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """OpenAI's CLIP parameters, or CLIP4Clip's with 3-D patches, under the names of transformers' ``CLIPModel``."""
    if _CONV_3D in state:
        kernel = state[_CONV_3D]
        if kernel.ndim != 5 or kernel.shape[1:3] != (3, 3):
            shape = list(kernel.shape)
            raise CheckpointError(f"{_CONV_3D} is {shape}, expected [width, 3, 3, patch, patch]")
        state = {**state, "visual.conv1.weight": channels_of_3d(kernel)}
        del state[_CONV_3D]
    renamed: dict[str, Tensor] = {}
    for name, x in state.items():
        if name in _SIZES:
            continue
        block = _BLOCK.fullmatch(name)
        if block is None:
            if name not in _NAMES:
                raise CheckpointError(f"not a parameter of OpenAI's CLIP (ViT): {name!r}")
            new, transposed = _NAMES[name]
            renamed[new] = x.T if transposed else x
            continue
        tower = "vision_model" if block[1] else "text_model"
        prefix = f"{tower}.encoder.layers.{block[2]}"
        part, _, kind = block[3].rpartition(".")
        if part == "attn":  # in_proj_weight, in_proj_bias: queries, keys and values in one
            for letter, third in zip("qkv", x.chunk(3), strict=True):
                renamed[f"{prefix}.self_attn.{letter}_proj.{kind.removeprefix('in_proj_')}"] = third
        elif part in _BLOCK_NAMES:
            renamed[f"{prefix}.{_BLOCK_NAMES[part]}.{kind}"] = x
        else:
            raise CheckpointError(f"not a parameter of OpenAI's CLIP (ViT): {name!r}")
    return renamed


def text_blocks(encoder: ClipEncoder) -> dict[str, Tensor]:
    """Positions and blocks of the text tower under OpenAI's names: ``positional_embedding`` and
    ``transformer.resblocks.*``, from which CLIP4Clip starts its transformers over frames."""
    tower = encoder.model.text_model
    found = {"positional_embedding": tower.embeddings.position_embedding.weight.detach()}
    for i, layer in enumerate(tower.encoder.layers):
        own, prefix = layer.state_dict(), f"transformer.resblocks.{i}."
        for kind in ("weight", "bias"):
            thirds = [own[f"self_attn.{letter}_proj.{kind}"] for letter in "qkv"]
            found[f"{prefix}attn.in_proj_{kind}"] = torch.cat(thirds)
            for theirs, ours in _BLOCK_NAMES.items():
                found[f"{prefix}{theirs}.{kind}"] = own[f"{ours}.{kind}"]
    return found


def _read_sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The ``config.json`` that fits Hugging Face-named weights."""

    def tower(prefix: str, width: int) -> dict[str, Any]:
        layers = {name.split(".")[3] for name in state if name.startswith(f"{prefix}.encoder.layers.")}
        return {
            "hidden_size": width,
            "num_attention_heads": width // HEAD_WIDTH,
            "num_hidden_layers": len(layers),
            "intermediate_size": state[f"{prefix}.encoder.layers.0.mlp.fc1.weight"].shape[0],
            "projection_dim": dim,
        }

    try:
        dim = state["text_projection.weight"].shape[0]
        vocabulary, text_width = state["text_model.embeddings.token_embedding.weight"].shape
        vision_width, channels, patch, _ = state["vision_model.embeddings.patch_embedding.weight"].shape
        positions = state["vision_model.embeddings.position_embedding.weight"].shape[0]
        text_config = {
            **tower("text_model", text_width),
            "vocab_size": vocabulary,
            "max_position_embeddings": state["text_model.embeddings.position_embedding.weight"].shape[0],
            "eos_token_id": LARGEST_ID,
            "bos_token_id": vocabulary - 2,
            "pad_token_id": vocabulary - 1,
        }
        vision_config = {
            **tower("vision_model", vision_width),
            "num_channels": channels,
            "patch_size": patch,
            "image_size": patch * math.isqrt(positions - 1),  # one position is the class token's
        }
    except KeyError as error:
        raise CheckpointError(f"no CLIP (ViT) weights: {error.args[0]} is missing") from None
    return {
        "model_type": ClipEncoder.name,
        "projection_dim": dim,
        "text_config": text_config,
        "vision_config": vision_config,
    }
