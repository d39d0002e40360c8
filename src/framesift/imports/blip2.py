"""BLIP-2 in CrossTVR: the Q-Former and the frozen vision tower that LAVIS published.

The Q-Former is read under the names of LAVIS or of transformers, the tower under those of LAVIS; towers in
transformers' layout are loaded by :func:`.encoders.patches.load_patch_encoder`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ..encoders.patches import Blip2Patches
from ..encoders.preprocess import Preprocess
from ..encoders.weights import load_state, read_state, write_state
from ..errors import CheckpointError
from ..rerankers.cross_tvr import CrossTVR

__all__ = ["QFORMER_FILE", "import_blip2", "load_qformer", "patches_from_blip2", "qformer_from_blip2"]

QFORMER_FILE = "qformer.safetensors"

_MODEL = re.compile(r"^model\.")
_QFORMER = re.compile(r"^(Qformer\.bert|qformer)\.")
_EMBEDDINGS = re.compile(r"^embeddings\.(word|position)_embeddings\.")  # where transformers has them
_UNUSED = re.compile(r"^Qformer\.cls\.|position_ids$")  # the captioning head; a counter
_RENAMES = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"^embeddings\.word_embeddings\.", "word_embedding."),
        (r"^embeddings\.position_embeddings\.", "position_embedding."),
        (r"^(embeddings\.LayerNorm|layernorm)\.", "encoder.norm."),
        (r"^encoder\.layer\.", "encoder.layers."),
        (r"\.crossattention\.", ".cross_attention."),
        (r"attention\.(self|attention)\.", "attention."),
        (r"attention\.output\.dense\.", "attention.out."),
        (r"attention\.output\.LayerNorm\.", "attention.norm."),
        (r"\.intermediate_query\.dense\.", ".query_ffn.up."),
        (r"\.output_query\.dense\.", ".query_ffn.down."),
        (r"\.output_query\.LayerNorm\.", ".query_ffn.norm."),
        (r"\.intermediate\.dense\.", ".text_ffn.up."),
        (r"\.output\.dense\.", ".text_ffn.down."),
        (r"\.output\.LayerNorm\.", ".text_ffn.norm."),
    )
)
_TOWER = "visual_encoder."
_TOWER_NAMES = {
    "visual_encoder.cls_token": "embeddings.class_embedding",
    "visual_encoder.pos_embed": "embeddings.position_embedding",
    "visual_encoder.patch_embed.proj.weight": "embeddings.patch_embedding.weight",
    "visual_encoder.patch_embed.proj.bias": "embeddings.patch_embedding.bias",
    "ln_vision.weight": "post_layernorm.weight",
    "ln_vision.bias": "post_layernorm.bias",
}
_TOWER_BLOCK = re.compile(r"^visual_encoder\.blocks\.(\d+)\.(.+)$")
_BLOCK_NAMES = {
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "attn.qkv": "self_attn.qkv",
    "attn.proj": "self_attn.projection",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
_KEY_VALUE = re.compile(r"cross_attention\.(key|value)\.weight$")
_HEAD = "itm_head."
_QFORMER_PART = re.compile(r"(query_tokens$|Qformer\.bert\.|itm_head\.)")
_KNOWN = re.compile(
    r"(query_tokens$|temp$|Qformer\.|visual_encoder\.|ln_vision\.|itm_head\.|(vision|text|opt|t5|llm)_proj\."
    r"|(opt|t5|llm)_model\.)"
)


def import_blip2(
    path: str | Path, directory: str | Path, *, num_heads: int = 16, resize: str = "torch"
) -> None:
    """Convert what CrossTVR takes of a BLIP-2 file, in LAVIS' names.

    ``directory`` becomes the frozen vision tower, which :func:`.encoders.patches.load_patch_encoder` reads and
    ``CrossTVRConfig.encoder`` may name. Beside it lies ``qformer.safetensors`` for :func:`load_qformer`, under the
    names of the file. The language model, and the maps for contrastive training, are left out.

    Args:
        path: ``.safetensors``, or a pickle of nothing but tensors.
        num_heads, resize: as for :func:`patches_from_blip2`.

    Raises:
        CheckpointError: the file is damaged; it holds no tower or no Q-Former, or a tensor that is not known.
        InputError: the directory cannot be written.
    """
    state = {_MODEL.sub("", name): x for name, x in read_state(path).items()}
    foreign = sorted(name for name in state if not _KNOWN.match(name))
    if foreign:
        raise CheckpointError(f"{str(path)!r} is no BLIP-2: it holds {foreign[0]!r}")
    tower = patches_from_blip2(state, num_heads=num_heads, resize=resize, source=repr(str(path)))
    qformer_from_blip2(state)  # that it is one is checked before anything is written
    tower.save(directory)
    kept = {name: x for name, x in state.items() if _QFORMER_PART.match(name)}
    write_state(kept, Path(directory) / QFORMER_FILE)


def qformer_from_blip2(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a :class:`.rerankers.qformer.QFormer` in those of a BLIP-2, whose other parts are left out.

    Args:
        state: named tensors of LAVIS (what its files hold under ``model``) or of transformers' BLIP-2.

    Raises:
        CheckpointError: there is no Q-Former among them.
    """
    found: dict[str, Tensor] = {}
    for full_name, x in state.items():
        name = _MODEL.sub("", full_name)
        if name == "query_tokens":
            found[name] = x.reshape(x.shape[-2:])
        elif (_QFORMER.match(name) or _EMBEDDINGS.match(name)) and not _UNUSED.search(name):
            name = _QFORMER.sub("", name)
            for pattern, ours in _RENAMES:
                name = pattern.sub(ours, name)
            found[name] = x
    if "query_tokens" not in found or len(found) == 1:
        raise CheckpointError(
            "no Q-Former among the weights: expected query_tokens and Qformer.bert.* (LAVIS) or qformer.*"
            " (transformers)"
        )
    return found


def load_qformer(reranker: CrossTVR, state: Mapping[str, Tensor], *, source: str = "BLIP-2") -> list[str]:
    """Initialise ``reranker`` from BLIP-2: the Q-Former (for both passes), and the matching layer where there is one.

    Key and value maps of the cross-attention stay as they are where BLIP-2's image encoder has another width than
    ``visual_width``; everything else must fit.

    Args:
        state: as for :func:`qformer_from_blip2`.
        source: what messages call the weights.

    Returns:
        Names of the parameters that BLIP-2 did not set.

    Raises:
        CheckpointError: a tensor is missing, unknown, or of another shape.
    """
    weights = qformer_from_blip2(state)
    unset = {f"qformer.{name}" for name in _load(reranker.qformer, weights, source)}
    if reranker.temporal is not None:
        prefix = "encoder."
        encoder = {k.removeprefix(prefix): x for k, x in weights.items() if k.startswith(prefix)}
        unset |= {f"temporal.{name}" for name in _load(reranker.temporal, encoder, source)}
    head = {_MODEL.sub("", name): x for name, x in state.items()}
    head = {name.removeprefix(_HEAD): x for name, x in head.items() if name.startswith(_HEAD)}
    others: dict[str, nn.Module | None] = {
        "adapter": reranker.adapter,
        "word_map": reranker.word_map,
        "selector": reranker.selector,
    }
    if head:
        load_state(reranker.match, head, source=source)
    else:
        others["match"] = reranker.match
    for prefix, module in others.items():
        unset |= {f"{prefix}.{name}" for name in (module.state_dict() if module is not None else ())}
    return sorted(unset)


def patches_from_blip2(
    state: Mapping[str, Tensor], *, num_heads: int = 16, resize: str = "torch", source: str = "BLIP-2"
) -> Blip2Patches:
    """The frozen vision tower of a BLIP-2 under LAVIS' names, ``visual_encoder.*`` and ``ln_vision.*``.

    Args:
        num_heads: attention heads, which the weights do not tell; EVA-CLIP ViT-g/14 has 16.
        resize: resizer of the frames, see :mod:`framesift.encoders.preprocess`.
        source: what messages call the weights.

    Raises:
        CheckpointError: there is no such tower, or a tensor is missing, unknown or of another shape.
    """
    named = {_MODEL.sub("", name): x for name, x in state.items()}
    tower = {name: x for name, x in named.items() if name.startswith((_TOWER, "ln_vision."))}
    try:
        width = tower[f"{_TOWER}pos_embed"].shape[2]
        patch = tower[f"{_TOWER}patch_embed.proj.weight"].shape[3]
        grid = math.isqrt(tower[f"{_TOWER}pos_embed"].shape[1] - 1)
        inner = tower[f"{_TOWER}blocks.0.mlp.fc1.weight"].shape[0]
    except (KeyError, IndexError) as error:
        raise CheckpointError(f"no vision tower in the weights of {source}: lacks {error}") from None
    blocks = {int(found[1]) for found in map(_TOWER_BLOCK.match, tower) if found}
    config = {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": len(blocks),
        "num_attention_heads": num_heads,
        "image_size": grid * patch,
        "patch_size": patch,
    }
    preprocessing = Preprocess(
        size=(grid * patch, grid * patch), resizer=resize
    )  # LAVIS: BlipImageEvalProcessor
    return Blip2Patches.from_state(config, _tower_names(tower), preprocessing, source=source)


def _tower_names(tower: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """LAVIS' names -> transformers'. Keys have no bias; there queries and values have theirs apart."""
    renamed: dict[str, Tensor] = {}
    for name, x in tower.items():
        block = _TOWER_BLOCK.match(name)
        if block is None:
            renamed[_TOWER_NAMES.get(name, name)] = x
        elif block[2] == "attn.q_bias":
            values = tower.get(name.replace("q_bias", "v_bias"), x[:0])  # a missing one shows in the shape
            biases = torch.cat([x, torch.zeros_like(x), values])
            renamed[f"encoder.layers.{block[1]}.self_attn.qkv.bias"] = biases
        elif block[2] != "attn.v_bias":
            stem, _, kind = block[2].rpartition(".")
            renamed[f"encoder.layers.{block[1]}.{_BLOCK_NAMES.get(stem, stem)}.{kind}"] = x
    return renamed


def _load(module: nn.Module, weights: Mapping[str, Tensor], source: str) -> set[str]:
    """Load all but the key and value maps that do not fit; return their names."""
    own = module.state_dict()
    kept = {
        name.removesuffix("weight") + part
        for name, x in own.items()
        if _KEY_VALUE.search(name) and name in weights and weights[name].shape[1] != x.shape[1]
        for part in ("weight", "bias")
    }
    load_state(module, {**weights, **{name: own[name] for name in kept}}, source=source)
    return kept
