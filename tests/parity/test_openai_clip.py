"""OpenAI's CLIP checkpoints, imported: features and tokens equal the reference's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from framesift.encoders import ClipEncoder
from framesift.encoders.openai import clip_from_state
from framesift.features import unit
from golden_files import golden_files, read_golden

TOLERANCE = {"atol": 2e-5, "rtol": 1e-5}


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, int], ClipEncoder]:
    golden, metadata = read_golden(path)
    weights = {key.removeprefix("param."): x for key, x in golden.items() if key.startswith("param.")}
    return golden, metadata, clip_from_state(weights, tokenizer=None)


@pytest.mark.parametrize("path", golden_files("openai_clip_*.safetensors"))
def test_sizes_are_read_off_the_shapes(path: Path) -> None:
    _, metadata, encoder = read(path)
    vision, text = encoder.model.config.vision_config, encoder.model.config.text_config
    assert encoder.dim == metadata["embed_dim"]
    assert encoder.context_length == metadata["context_length"]
    assert (vision.num_hidden_layers, vision.num_attention_heads) == (
        metadata["vision_layers"],
        metadata["vision_heads"],
    )
    assert (text.num_hidden_layers, text.num_attention_heads) == (
        metadata["text_layers"],
        metadata["text_heads"],
    )
    assert encoder.preprocessing.crop == (metadata["image_resolution"],) * 2


@pytest.mark.parametrize("path", golden_files("openai_clip_*.safetensors"))
def test_images(path: Path) -> None:
    golden, _, encoder = read(path)
    frame, patch = encoder.encode_pixels(golden["image"], patches=True)
    torch.testing.assert_close(frame, golden["image_features"], **TOLERANCE)
    torch.testing.assert_close(encoder.encode_pixels(golden["image"]), golden["image_features"], **TOLERANCE)
    with torch.inference_mode():
        torch.testing.assert_close(
            encoder.model.visual_projection(patch), golden["visual_tokens_projected"], **TOLERANCE
        )
        raw = encoder.model.vision_model(golden["image"]).last_hidden_state
        torch.testing.assert_close(raw, golden["visual_tokens_after_transformer"], **TOLERANCE)


@pytest.mark.parametrize("path", golden_files("openai_clip_*.safetensors"))
def test_texts(path: Path) -> None:
    golden, _, encoder = read(path)
    ids = golden["input_ids"]
    features = encoder.encode_tokens(ids, ids > 0, words=True)
    torch.testing.assert_close(features.sentence, golden["text_features"], **TOLERANCE)
    torch.testing.assert_close(features.word, golden["text_tokens_projected"], **TOLERANCE)
    # without the padding, which the causal tower never sees
    for row, expected in zip(ids, golden["text_features"], strict=True):
        length = int(row.argmax()) + 1
        alone = encoder.encode_tokens(row[None, :length], row[None, :length] >= 0)
        torch.testing.assert_close(alone.sentence[0], expected, **TOLERANCE)


@pytest.mark.parametrize("path", golden_files("openai_clip_*.safetensors"))
def test_logits(path: Path) -> None:
    golden, _, encoder = read(path)
    ids = golden["input_ids"]
    text = unit(encoder.encode_tokens(ids, ids > 0).sentence)
    image = unit(encoder.encode_pixels(golden["image"]))
    scale = torch.tensor(encoder.logit_scale).exp()
    torch.testing.assert_close(scale * text @ image.T, golden["logits_per_text"], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("path", golden_files("openai_clip_*.safetensors"))
def test_import_saves_and_loads_as_an_ordinary_checkpoint(path: Path, tmp_path: Path) -> None:
    from framesift.encoders import load_encoder
    from tiny_models import tiny_clip

    golden, _, encoder = read(path)
    encoder.tokenizer = load_encoder(tiny_clip(tmp_path / "other")).tokenizer
    encoder.save(tmp_path / "imported")
    again = load_encoder(tmp_path / "imported", device="cpu")
    assert again.fingerprint() == encoder.fingerprint()
    ids = golden["input_ids"]
    assert torch.equal(
        again.encode_tokens(ids, ids > 0).sentence, encoder.encode_tokens(ids, ids > 0).sentence
    )
