"""Every system learns a few Storyboard pairs by heart: R@1 = 100 in both directions, on the bundled encoder."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import framesift as fs
from framesift.evaluation.storyboard import frames_of
from framesift.features import TextFeatures, VideoFeatures
from framesift.matchers import (
    MeanPool,
    MultiGrained,
    MultiGrainedConfig,
    SoftmaxPool,
    TopK,
    XPool,
    XPoolConfig,
)
from framesift.matchers.selected_tokens import SelectedTokens
from framesift.metrics import t2v, v2t
from framesift.model import RetrievalModel
from framesift.rerankers import CrossTransformer, CrossTransformerConfig
from framesift.storyboard import standard
from framesift.temporal import Identity
from framesift.temporal.lstm import TemporalLSTM, TemporalLSTMConfig
from framesift.temporal.token_selection import TokenSelection, TokenSelectionConfig
from framesift.temporal.transformer import TemporalTransformer, TemporalTransformerConfig
from framesift.training.losses import symmetric_contrastive

PAIRS, DIM, FRAMES = 8, 256, 12
STEPS, SCALE = 25, 20.0


@pytest.fixture(scope="module")
def encoded() -> tuple[RetrievalModel, TextFeatures, VideoFeatures]:
    """The bundled dual encoder, and features of a few pairs that it alone does not tell apart."""
    model = fs.load("storyboard-clip", device="cpu")
    board = standard(PAIRS)
    texts = [board.captions[board.relevance[:, video].nonzero()[0][0]].text for video in range(PAIRS)]
    text = model.encoder.encode_text(texts, words=True, num_words=32)
    video = model.encoder.encode_video([frames_of(one, FRAMES) for one in board.videos], patches=True)
    return model, text, video


def _transformer(**more: object) -> TemporalTransformer:
    return TemporalTransformer(TemporalTransformerConfig(dim=DIM, num_heads=4, num_layers=1, **more))


SYSTEMS: dict[str, Callable[[], tuple[nn.Module, nn.Module]]] = {
    "seqTransf": lambda: (_transformer(), MeanPool()),
    "seqLSTM": lambda: (TemporalLSTM(TemporalLSTMConfig(dim=DIM)), MeanPool()),
    "top-k": lambda: (_transformer(), TopK()),
    "softmax": lambda: (_transformer(), SoftmaxPool()),
    "X-Pool": lambda: (Identity(), XPool(XPoolConfig(dim=DIM, dropout=0.0))),
    "X-CLIP": lambda: (
        _transformer(keep_frames=True),
        MultiGrained(MultiGrainedConfig(dim=DIM, max_words=32, max_frames=FRAMES, needs_video=True)),
    ),
    "TS2-Net": lambda: (
        TokenSelection(TokenSelectionConfig(dim=DIM, num_heads=4, num_layers=1, samples=20)),
        SelectedTokens(),
    ),
}


def _learn(parts: nn.Module, score: Callable[[], Tensor]) -> Tensor:
    """The similarity after some steps on all pairs at once."""
    optimizer = torch.optim.AdamW([p for p in parts.parameters() if p.requires_grad], lr=2e-3)
    parts.train()
    for _ in range(STEPS):
        optimizer.zero_grad()
        symmetric_contrastive(score(), torch.tensor(SCALE).log()).backward()
        optimizer.step()
    parts.eval()
    with torch.no_grad():
        return score()


@pytest.mark.parametrize("name", SYSTEMS)
def test_first_stages(name: str, encoded: tuple[RetrievalModel, TextFeatures, VideoFeatures]) -> None:
    bundled, text, video = encoded
    torch.manual_seed(0)
    temporal, matcher = SYSTEMS[name]()
    model = RetrievalModel(bundled.encoder, temporal, matcher, num_frames=FRAMES)
    similarity = _learn(nn.ModuleList([temporal, matcher]), lambda: matcher(text, model.inform(video)))
    assert t2v(similarity).recall_at[1] == 100.0
    assert v2t(similarity).recall_at[1] == 100.0


def test_tight_transformer(encoded: tuple[RetrievalModel, TextFeatures, VideoFeatures]) -> None:
    _, text, video = encoded
    torch.manual_seed(0)
    reranker = CrossTransformer(CrossTransformerConfig(dim=DIM, num_layers=1, num_heads=4))
    pairs = torch.cartesian_prod(torch.arange(PAIRS), torch.arange(PAIRS))
    similarity = _learn(reranker, lambda: reranker(text, video, pairs).view(PAIRS, PAIRS) / SCALE)
    assert t2v(similarity).recall_at[1] == 100.0
    assert v2t(similarity).recall_at[1] == 100.0


def test_there_is_something_to_learn(encoded: tuple[RetrievalModel, TextFeatures, VideoFeatures]) -> None:
    _, text, video = encoded
    assert t2v(MeanPool()(text, video)).recall_at[1] < 100.0
