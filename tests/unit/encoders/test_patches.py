"""Frozen image encoders: EVA's equations, the published names, files and fingerprints."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, gelu, layer_norm
from transformers import Blip2Config, Blip2ForImageTextRetrieval

from framesift.encoders import load_encoder
from framesift.encoders.patches import Blip2Patches, PatchEncoder, load_patch_encoder
from framesift.encoders.preprocess import Preprocess
from framesift.errors import CheckpointError, InputError
from framesift.imports.blip2 import patches_from_blip2
from tiny_models import tiny_clip, tiny_siglip

CLOSE = {"atol": 2e-5, "rtol": 1e-5}
WIDTH, INNER, HEADS, BLOCKS, PATCH, GRID = 24, 32, 3, 2, 8, 4


@dataclass(frozen=True)
class Clip:
    pixels: np.ndarray


def clips(*lengths: int) -> list[Clip]:
    random = np.random.default_rng(0)
    return [Clip(random.integers(0, 256, (n, 36, 48, 3), dtype=np.uint8)) for n in lengths]


def published(seed: int = 0) -> dict[str, Tensor]:
    """A small tower under LAVIS' names."""
    generator = torch.Generator().manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "visual_encoder.cls_token": (1, 1, WIDTH),
        "visual_encoder.pos_embed": (1, GRID * GRID + 1, WIDTH),
        "visual_encoder.patch_embed.proj.weight": (WIDTH, 3, PATCH, PATCH),
        "visual_encoder.patch_embed.proj.bias": (WIDTH,),
        "ln_vision.weight": (WIDTH,),
        "ln_vision.bias": (WIDTH,),
    }
    for i in range(BLOCKS):
        for name, shape in {
            "norm1.weight": (WIDTH,),
            "norm1.bias": (WIDTH,),
            "attn.qkv.weight": (3 * WIDTH, WIDTH),
            "attn.q_bias": (WIDTH,),
            "attn.v_bias": (WIDTH,),
            "attn.proj.weight": (WIDTH, WIDTH),
            "attn.proj.bias": (WIDTH,),
            "norm2.weight": (WIDTH,),
            "norm2.bias": (WIDTH,),
            "mlp.fc1.weight": (INNER, WIDTH),
            "mlp.fc1.bias": (INNER,),
            "mlp.fc2.weight": (WIDTH, INNER),
            "mlp.fc2.bias": (WIDTH,),
        }.items():
            shapes[f"visual_encoder.blocks.{i}.{name}"] = shape
    return {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def naive_tokens(weights: dict[str, Tensor], picture: Tensor) -> Tensor:
    """One picture through pre-norm blocks with biases on queries and values only, then ``ln_vision``."""
    w = {name.removeprefix("visual_encoder."): x for name, x in weights.items()}
    patches = conv2d(picture, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=PATCH)
    x = torch.cat([w["cls_token"][0], patches.flatten(1).T]) + w["pos_embed"][0]
    for i in range(BLOCKS):
        b = {name.removeprefix(f"blocks.{i}."): v for name, v in w.items() if name.startswith(f"blocks.{i}.")}
        y = layer_norm(x, (WIDTH,), b["norm1.weight"], b["norm1.bias"], eps=1e-6)
        q, k, v = (y @ b["attn.qkv.weight"].T).split(WIDTH, dim=1)
        q, v = q + b["attn.q_bias"], v + b["attn.v_bias"]
        heads = []
        for qh, kh, vh in zip(*(part.split(WIDTH // HEADS, dim=1) for part in (q, k, v)), strict=True):
            heads.append(torch.softmax(qh @ kh.T / (WIDTH // HEADS) ** 0.5, dim=1) @ vh)
        x = x + torch.cat(heads, dim=1) @ b["attn.proj.weight"].T + b["attn.proj.bias"]
        y = layer_norm(x, (WIDTH,), b["norm2.weight"], b["norm2.bias"], eps=1e-6)
        y = gelu(y @ b["mlp.fc1.weight"].T + b["mlp.fc1.bias"])
        x = x + y @ b["mlp.fc2.weight"].T + b["mlp.fc2.bias"]
    return layer_norm(x, (WIDTH,), w["ln_vision.weight"], w["ln_vision.bias"], eps=1e-5)


@pytest.fixture(params=["clip", "blip2"])
def encoder(request: pytest.FixtureRequest, tmp_path: Path) -> PatchEncoder:
    if request.param == "clip":
        return load_patch_encoder(tiny_clip(tmp_path / "clip"), device="cpu")
    return patches_from_blip2(published(), num_heads=HEADS)


def test_the_tower_equals_its_equations() -> None:
    encoder = patches_from_blip2(published(), num_heads=HEADS)
    pixels = torch.randn(2, 3, GRID * PATCH, GRID * PATCH, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for picture, tokens in zip(pixels, encoder(pixels), strict=True):
            torch.testing.assert_close(tokens, naive_tokens(published(), picture), **CLOSE)


def test_tokens_of_a_clip_are_those_of_the_first_stage(tmp_path: Path) -> None:
    directory = tiny_clip(tmp_path / "clip")
    videos = clips(3, 1)
    theirs = load_encoder(directory, device="cpu").encode_video(videos, patches=True)
    ours = load_patch_encoder(directory, device="cpu").encode_video(videos)
    torch.testing.assert_close(ours.patch, theirs.patch, **CLOSE)
    assert torch.equal(ours.frame_mask, theirs.frame_mask)


def test_lengths_and_batches(encoder: PatchEncoder) -> None:
    together = encoder.encode_video(clips(2, 0, 5), batch_size=2)
    assert together.patch is not None
    assert together.patch.shape[:2] == (3, 5)
    assert together.patch.shape[3] == encoder.width
    assert together.frame_mask.sum(dim=1).tolist() == [2, 0, 5]
    again = encoder.encode_video(clips(2, 0, 5))
    torch.testing.assert_close(together.patch, again.patch, **CLOSE)
    assert len(encoder.encode_video([])) == 0
    assert encoder.encode_video(clips(0)).frame_mask.shape == (1, 0)
    with pytest.raises(InputError, match="batch_size=0"):
        encoder.encode_video(clips(1), batch_size=0)


def test_it_is_frozen(encoder: PatchEncoder) -> None:
    encoder.train()
    assert not encoder.training
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_fingerprint_tells_weights_and_preprocessing() -> None:
    same, again = (patches_from_blip2(published(), num_heads=HEADS) for _ in range(2))
    assert same.fingerprint() == again.fingerprint()
    other = patches_from_blip2(published(seed=1), num_heads=HEADS)
    resized = patches_from_blip2(published(), num_heads=HEADS, resize="pil")
    assert len({same.fingerprint(), other.fingerprint(), resized.fingerprint()}) == 3


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    encoder = patches_from_blip2(published(), num_heads=HEADS)
    encoder.save(tmp_path)
    again = load_patch_encoder(tmp_path, device="cpu")
    assert isinstance(again, Blip2Patches)
    assert again.fingerprint() == encoder.fingerprint()
    ours, theirs = encoder.encode_video(clips(2)).patch, again.encode_video(clips(2)).patch
    assert ours is not None
    assert theirs is not None
    assert torch.equal(ours, theirs)


def test_the_tower_of_a_whole_blip2_in_the_layout_of_transformers(tmp_path: Path) -> None:
    config = Blip2Config(
        vision_config={
            "hidden_size": WIDTH,
            "intermediate_size": INNER,
            "num_hidden_layers": BLOCKS,
            "num_attention_heads": HEADS,
            "image_size": GRID * PATCH,
            "patch_size": PATCH,
        },
        qformer_config={
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 24,
            "encoder_hidden_size": WIDTH,
            "vocab_size": 30,
            "use_qformer_text_input": True,
        },
        num_query_tokens=3,
        image_text_hidden_size=8,
    )
    torch.manual_seed(0)
    model = Blip2ForImageTextRetrieval(config).eval()
    for parameter in model.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path)
    size_px = GRID * PATCH
    preprocessor = Preprocess(size=(size_px, size_px)).to_mapping()
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    pixels = torch.randn(2, 3, size_px, size_px)
    with torch.no_grad():
        found = load_patch_encoder(tmp_path, device="cpu")(pixels)
        torch.testing.assert_close(found, model.vision_model(pixels).last_hidden_state, atol=1e-4, rtol=1e-4)


def test_bf16_is_close(tmp_path: Path) -> None:
    encoder = patches_from_blip2(published(), num_heads=HEADS)
    exact = encoder.encode_video(clips(2)).frame
    close = encoder.use(device="cpu", dtype="bf16").encode_video(clips(2)).frame
    assert close.dtype == torch.float32
    assert torch.cosine_similarity(exact, close, dim=-1).min() > 0.99
    with pytest.raises(InputError, match="fp16"):
        encoder.use(device="cpu", dtype="fp16")


def test_what_is_no_tower_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no vision tower"):
        patches_from_blip2({"query_tokens": torch.zeros(1, 2, 3)})
    damaged = published()
    del damaged["visual_encoder.blocks.1.norm2.bias"]
    with pytest.raises(CheckpointError, match=r"lack encoder\.layers\.1\.layer_norm2\.bias"):
        patches_from_blip2(damaged, num_heads=HEADS)
    damaged = published()
    del damaged["visual_encoder.blocks.1.attn.v_bias"]
    with pytest.raises(CheckpointError, match=r"qkv\.bias"):
        patches_from_blip2(damaged, num_heads=HEADS)
    with pytest.raises(CheckpointError, match="no patch encoder"):
        load_patch_encoder(tiny_siglip(tmp_path / "siglip"), device="cpu")
