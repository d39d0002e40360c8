"""BLIP-2's Q-Former in CrossTVR: the weights that LAVIS published, under its names or those of transformers."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn

from ..encoders.weights import load_state
from ..errors import CheckpointError
from ..rerankers.cross_tvr import CrossTVR

__all__ = ["load_qformer", "qformer_from_blip2"]

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
_KEY_VALUE = re.compile(r"cross_attention\.(key|value)\.weight$")
_HEAD = "itm_head."


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
