"""Temporal modules: how they start, what they keep, in a model directory, and that they learn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from framesift import hub
from framesift.encoders import load_encoder
from framesift.encoders.openai import clip_from_state, text_blocks
from framesift.errors import CheckpointError, ConfigError, ShapeError
from framesift.features import TextFeatures, VideoFeatures, masked_mean
from framesift.matchers import MeanPool
from framesift.metrics import t2v
from framesift.model import RetrievalModel
from framesift.temporal import (
    Identity,
    Temporal,
    TemporalLSTM,
    TemporalLSTMConfig,
    TemporalTransformer,
    TemporalTransformerConfig,
)
from framesift.training.losses import symmetric_contrastive
from golden_files import GOLDEN_DIR, read_golden
from tiny_models import tiny_clip

DIM, FRAMES = 32, 5


def transformer(*, keep_frames: bool = False, max_frames: int = 16) -> TemporalTransformer:
    return TemporalTransformer(
        TemporalTransformerConfig(
            dim=DIM, num_layers=2, num_heads=2, max_frames=max_frames, keep_frames=keep_frames
        )
    )


def lstm(*, keep_frames: bool = False) -> TemporalLSTM:
    return TemporalLSTM(TemporalLSTMConfig(dim=DIM, keep_frames=keep_frames))


def videos(count: int = 6) -> VideoFeatures:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([[5], [4], [3], [2], [1], [5]])[:count]
    return VideoFeatures(
        frame=torch.randn(count, FRAMES, DIM, generator=generator),
        frame_mask=torch.arange(FRAMES) < lengths,
    )


def text_tower() -> dict[str, torch.Tensor]:
    """A text tower of OpenAI's proportions: 64 wide, 2 blocks, 20 positions."""
    golden, _ = read_golden(GOLDEN_DIR / "clip4clip_e2e_meanP_b.safetensors")
    clip = {key.removeprefix("param.clip."): x for key, x in golden.items() if key.startswith("param.clip.")}
    text = text_blocks(clip_from_state(clip, tokenizer=None))
    assert text.keys() == {
        name for name in clip if name == "positional_embedding" or name.startswith("transformer.")
    }
    for name, x in text.items():
        assert torch.equal(x, clip[name]), name
    return text


@pytest.mark.parametrize("max_frames", [20, 12])
@pytest.mark.parametrize("num_layers", [2, 1])
def test_the_transformer_starts_from_the_text_tower(max_frames: int, num_layers: int) -> None:
    config = TemporalTransformerConfig(dim=64, num_layers=num_layers, num_heads=1, max_frames=max_frames)
    text, temporal = text_tower(), TemporalTransformer(config)
    temporal.start_from(text)
    assert torch.equal(temporal.position_embedding.weight, text["positional_embedding"][:max_frames])
    for i, block in enumerate(temporal.blocks):
        for name, x in block.state_dict().items():
            assert torch.equal(x, text[f"transformer.resblocks.{i}.{name}"]), name


def test_a_text_tower_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    text = text_tower()
    config = TemporalTransformerConfig(dim=64, num_layers=2, num_heads=1, max_frames=20)
    got = r"got width 64 \(256\), 20 positions and 2 blocks"
    for changed in ({"max_frames": 21}, {"num_layers": 3}, {"dim": 32}):
        with pytest.raises(ShapeError, match=got):
            TemporalTransformer(replace(config, **changed)).start_from(text)
    narrow = text_blocks(load_encoder(tiny_clip(tmp_path / "clip"), device="cpu"))
    with pytest.raises(ShapeError, match=r"width 32 \(in its MLPs 128\).* got width 32 \(64\)"):
        transformer().start_from(narrow)


def test_untrained_weights() -> None:
    torch.manual_seed(0)
    temporal = TemporalTransformer()
    assert temporal.position_embedding.weight.shape == (77, 512)
    assert len(temporal.blocks) == 4
    state = temporal.state_dict()
    for name in ("position_embedding.weight", "blocks.3.mlp.c_fc.weight", "blocks.0.attn.out_proj.weight"):
        assert state[name].std().item() == pytest.approx(0.02, rel=0.02), name
    assert all(bool((x == 0).all()) for name, x in state.items() if name.endswith("bias"))


@pytest.mark.parametrize("build", [transformer, lstm])
def test_original_frames_are_kept_when_asked_for(build) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    plain, keeping = build(), build(keep_frames=True)
    keeping.load_state_dict(plain.state_dict())
    video = videos()
    with torch.no_grad():
        encoded, kept = plain(video), keeping(video)
    assert encoded.video is None
    assert torch.equal(kept.frame, video.frame)
    assert torch.equal(kept.video, masked_mean(encoded.frame, video.frame_mask))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dim": 0}, "dim=0"),
        ({"num_heads": 5}, "num_heads=5: expected a divisor of dim=512"),
        ({"num_layers": 0}, "num_layers=0"),
        ({"max_frames": -1}, "max_frames=-1"),
    ],
)
def test_sizes_that_cannot_be_built(values: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TemporalTransformerConfig(**values)
    with pytest.raises(ConfigError, match="dim=0"):
        TemporalLSTMConfig(dim=0)


class Clip:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 36, 48, 3), dtype=np.uint8)


class Shorter:
    pixels = np.random.default_rng(1).integers(0, 256, (2, 36, 48, 3), dtype=np.uint8)


@pytest.mark.parametrize("build", [transformer, lstm])
@pytest.mark.parametrize("patches_3d", [False, True])
def test_a_model_directory_keeps_it(build, patches_3d: bool, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    encoder = load_encoder(tiny_clip(tmp_path / "clip", dim=DIM), device="cpu")
    if patches_3d:
        encoder = encoder.with_3d_patches()
        with torch.no_grad():
            encoder.model.vision_model.embeddings.patch_embedding.weight += 0.1
    temporal: Temporal = build().eval()
    plain = RetrievalModel(encoder, Identity(), MeanPool())
    model = RetrievalModel(encoder, temporal, MeanPool())
    assert model.fingerprint() != plain.fingerprint()  # stored frames have been through it
    hub.save(model, tmp_path / "model")
    again = hub.load(tmp_path / "model", device="cpu")
    assert type(again.temporal) is type(temporal)
    assert again.temporal.config == temporal.config
    assert again.fingerprint() == model.fingerprint()
    clips = [Clip(), Shorter()]
    for batch_size in (1, 3, 64):
        found = again.encode_video(clips, batch_size=batch_size).frame[:, :2]
        torch.testing.assert_close(found, model.encode_video(clips).frame[:, :2], atol=2e-6, rtol=1e-5)


def test_a_temporal_module_of_another_width_than_its_encoder_is_refused(tmp_path: Path) -> None:
    encoder = load_encoder(tiny_clip(tmp_path / "clip", dim=DIM), device="cpu")
    hub.save(RetrievalModel(encoder, lstm(), MeanPool()), tmp_path / "model")
    path = tmp_path / "model" / "framesift.json"
    layout = json.loads(path.read_text())
    layout["temporal"]["config"]["dim"] = 8
    path.write_text(json.dumps(layout))
    with pytest.raises(CheckpointError, match="the lstm temporal module is 8 wide, but the encoder gives 32"):
        hub.load(tmp_path / "model", device="cpu")


@pytest.mark.parametrize("build", [transformer, lstm])
def test_it_learns_a_few_pairs_by_heart(build) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    temporal, matcher, video = build(), MeanPool(), videos()
    text = TextFeatures(sentence=torch.randn(6, DIM, generator=torch.Generator().manual_seed(1)))
    optimizer = torch.optim.Adam(temporal.parameters(), lr=1e-2)
    for _ in range(40):
        loss = symmetric_contrastive(matcher(text, temporal(video)), torch.tensor(2.0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        similarity = matcher(text, temporal.eval()(video))
    assert t2v(similarity, torch.eye(6, dtype=torch.bool)).recall_at[1] == 100.0
