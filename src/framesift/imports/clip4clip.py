"""CLIP4Clip's checkpoints (spec: section 1): OpenAI's CLIP under ``clip.``, perhaps with 3-D patches, and one of four
heads.

=========== =========================================== ===================
head        published parameters                        ours
=========== =========================================== ===================
meanP       none                                        MeanPool
seqTransf   frame_position_embeddings, transformerClip  TemporalTransformer
seqLSTM     lstm_visual (and unused positions)          TemporalLSTM
tightTransf cross, similarity_dense                     CrossTransformer
=========== =========================================== ===================

Texts are cut at CLIP's 77 tokens, where CLIP4Clip cuts them at 32 (64 for paragraphs): shorter ones are the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from ..encoders.openai import HEAD_WIDTH, clip_from_state
from ..encoders.weights import check_shapes, load_state
from ..errors import CheckpointError
from ..matchers import MeanPool
from ..model import RetrievalModel
from ..rerankers import CrossTransformer, CrossTransformerConfig, Reranker
from ..temporal import (
    Identity,
    Temporal,
    TemporalLSTM,
    TemporalLSTMConfig,
    TemporalTransformer,
    TemporalTransformerConfig,
)
from .layout import CLIP_PREFIX, Layout, Options, State, clip_shapes

__all__ = ["CLIP4CLIP"]

POSITIONS = "frame_position_embeddings.weight"
CROSS_POSITIONS = "cross.embeddings.position_embeddings.weight"

# published prefix -> ours
TRANSFORMER = {"frame_position_embeddings.": "position_embedding.", "transformerClip.resblocks.": "blocks."}
LSTM = {"lstm_visual.": "lstm."}
CROSS = {
    "cross.embeddings.position_embeddings.": "position_embedding.",
    "cross.transformer.resblocks.": "blocks.",
    "cross.pooler.": "pooler.",
    "similarity_dense.": "similarity_dense.",
}


def _recognises(state: State) -> bool:
    heads = [name for name in state if not name.startswith(CLIP_PREFIX)]
    if heads:
        return any(name.startswith(tuple({**TRANSFORMER, **LSTM, **CROSS})) for name in heads)
    return f"{CLIP_PREFIX}visual.conv1.weight" in state  # meanP: CLIP alone, but under the prefix


def _build(state: State, options: Options) -> RetrievalModel:
    expected = {name: tuple(shape) for name, shape in clip_shapes(state).items()}
    width = expected[f"{CLIP_PREFIX}positional_embedding"][1]
    dim = expected[f"{CLIP_PREFIX}text_projection"][1]
    heads = options.num_heads or width // HEAD_WIDTH
    temporal: Temporal = Identity()
    reranker: Reranker | None = None
    head: nn.Module = temporal
    renamed: Mapping[str, str] = {}
    if _any(state, CROSS):
        config = CrossTransformerConfig(
            dim=dim,
            num_layers=_layers(state, "cross.transformer.resblocks."),
            num_heads=heads,
            max_frames=_rows(state, CROSS_POSITIONS) - 1,
        )
        head = reranker = CrossTransformer(config)
        renamed = CROSS
    elif _any(state, LSTM):
        head = temporal = TemporalLSTM(TemporalLSTMConfig(dim=dim))
        renamed = LSTM
        if POSITIONS in state:  # saved, but never read
            expected[POSITIONS] = (_rows(state, POSITIONS), dim)
    elif _any(state, TRANSFORMER):
        config = TemporalTransformerConfig(
            dim=dim,
            num_layers=_layers(state, "transformerClip.resblocks."),
            num_heads=heads,
            max_frames=_rows(state, POSITIONS),
        )
        head = temporal = TemporalTransformer(config)
        renamed = TRANSFORMER
    published = {_published(name, renamed): name for name in head.state_dict()}
    expected |= {theirs: tuple(head.state_dict()[ours].shape) for theirs, ours in published.items()}
    check_shapes(state, expected, source=CLIP4CLIP.title)
    load_state(
        head, {ours: state[theirs] for theirs, ours in published.items()}, source=f"{CLIP4CLIP.title}'s head"
    )
    clip = {name.removeprefix(CLIP_PREFIX): x for name, x in state.items() if name.startswith(CLIP_PREFIX)}
    encoder = clip_from_state(clip, options.tokenizer, resize=options.resize)
    scale = state[f"{CLIP_PREFIX}logit_scale"].item()
    return RetrievalModel(
        encoder, temporal, MeanPool(), reranker, logit_scale=scale, name=options.name
    ).eval()


CLIP4CLIP = Layout(title="CLIP4Clip", recognises=_recognises, build=_build)
"""The layout of CLIP4Clip's ``pytorch_model.bin.{epoch}``."""


def _any(state: State, prefixes: Mapping[str, str]) -> bool:
    return any(name.startswith(tuple(prefixes)) for name in state)


def _published(name: str, renamed: Mapping[str, str]) -> str:
    """Our parameter name as the one in the file."""
    theirs, ours = next((theirs, ours) for theirs, ours in renamed.items() if name.startswith(ours))
    return theirs + name.removeprefix(ours)


def _layers(state: State, prefix: str) -> int:
    """Number of blocks, by the largest index."""
    found = [name.removeprefix(prefix).split(".")[0] for name in state if name.startswith(prefix)]
    return 1 + max((int(number) for number in found if number.isdecimal()), default=0)


def _rows(state: State, name: str) -> int:
    """Rows of a table of positions."""
    table = state.get(name)
    if table is None:
        raise CheckpointError(f"the weights of {CLIP4CLIP.title} lack {name}")
    if table.ndim != 2 or len(table) < 2:
        raise CheckpointError(
            f"the weights of {CLIP4CLIP.title} have {name} {list(table.shape)} instead of [position, dim]"
        )
    return len(table)
