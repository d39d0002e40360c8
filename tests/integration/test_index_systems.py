"""Every first-stage system through an index, from files to hits: what evaluation scores is what a search finds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from colour_model import write_clip
from framesift.encoders import Encoder, load_encoder
from framesift.index import BuildConfig, Index
from framesift.matchers import MATCHERS, MeanPool, MultiGrained, MultiGrainedConfig, XPool, XPoolConfig
from framesift.matchers.selected_tokens import SelectedTokens
from framesift.model import RetrievalModel
from framesift.temporal import Identity, Temporal
from framesift.temporal.lstm import TemporalLSTM, TemporalLSTMConfig
from framesift.temporal.token_selection import TokenSelection, TokenSelectionConfig
from framesift.temporal.transformer import TemporalTransformer, TemporalTransformerConfig
from framesift.video.decode import decode
from framesift.video.sampling import Uniform
from tiny_models import tiny_clip, tiny_token_shift_clip

DIM, FRAMES = 24, 4
CLIPS = {
    "a.mp4": ["red", "green"],
    "b.mp4": ["blue", "white", "cyan"],
    "c.mp4": ["yellow"],
    "d.mp4": ["cyan", "red"],
}
QUERIES = ["a red circle moves to the left", "a small blue square turns green"]


def _transformer(**more: object) -> Temporal:
    return TemporalTransformer(TemporalTransformerConfig(dim=DIM, num_heads=2, num_layers=1, **more))


def _selection(**more: object) -> Temporal:
    config = TokenSelectionConfig(dim=DIM, num_heads=2, num_layers=1, num_selected=2, **more)
    return TokenSelection(config)


def _multi_grained(**more: object) -> MultiGrained:
    return MultiGrained(MultiGrainedConfig(dim=DIM, max_words=16, max_frames=FRAMES, **more))


SYSTEMS: dict[str, tuple[Callable[[Path], Path], Callable[[], Temporal], Callable[[], torch.nn.Module]]] = {
    "clip4clip meanP": (tiny_clip, Identity, MeanPool),
    "clip4clip seqTransf": (tiny_clip, _transformer, MeanPool),
    "clip4clip seqLSTM": (tiny_clip, lambda: TemporalLSTM(TemporalLSTMConfig(dim=DIM)), MeanPool),
    "xpool": (tiny_clip, Identity, lambda: XPool(XPoolConfig(dim=DIM))),
    "xclip": (
        tiny_clip,
        lambda: _transformer(keep_frames=True),
        lambda: _multi_grained(needs_video=True),
    ),
    "ts2net": (tiny_token_shift_clip, _selection, SelectedTokens),
    "token selection, all tokens": (tiny_clip, lambda: _selection(all_tokens=True), MeanPool),
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    return [write_clip(folder / name, colours, size_px=48) for name, colours in CLIPS.items()]


@pytest.mark.parametrize("name", SYSTEMS)
def test_what_is_evaluated_is_what_is_searched(name: str, clips: list[Path], tmp_path: Path) -> None:
    make, temporal, matcher = SYSTEMS[name]
    torch.manual_seed(0)
    encoder: Encoder = load_encoder(make(tmp_path / "clip"))
    model = RetrievalModel(encoder, temporal(), matcher(), num_frames=FRAMES, name=name).eval()
    with torch.no_grad():
        for parameter in [*model.temporal.parameters(), *model.matcher.parameters()]:
            parameter += 0.1 * torch.randn(parameter.shape)
    frames = [decode(path, Uniform(num_frames=FRAMES)) for path in clips]
    expected = model.similarity(model.encode_text(QUERIES), model.encode_video(frames))
    with Index.create(tmp_path / "index", model=model, moments="whole") as index:
        report = index.add(clips, config=BuildConfig(workers=0))
        assert (report.added, report.failed) == (len(clips), [])
        assert index.verify().problems == []
        for row, query in enumerate(QUERIES):
            hits = index.search(query, k=10)
            found = {hit.video: hit.score for hit in hits}
            scores = [found[str(path)] for path in clips]
            assert scores == pytest.approx(expected[row].tolist(), abs=3e-3)  # stored as fp16
            for hit in hits:
                assert len(hit.attention) == len(hit.frame_times_s)
                assert sum(hit.attention) == pytest.approx(1.0, abs=1e-4)


def test_no_matcher_is_left_out() -> None:
    tried = {getattr(matcher(), "name", "") for _, _, matcher in SYSTEMS.values()}
    pools = {"top_k", "softmax_pool"}  # mean pooling with other weights
    assert tried | pools == set(MATCHERS)
