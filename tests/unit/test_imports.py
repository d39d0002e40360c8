"""Published checkpoint layouts: X-Pool's, with CLIP under Hugging Face's or OpenAI's names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from framesift import hub
from framesift.encoders import load_encoder
from framesift.encoders.openai import from_openai_names
from framesift.errors import CheckpointError, InputError
from framesift.imports import import_checkpoint, import_state
from framesift.matchers import SoftmaxPool, XPool
from tiny_models import tiny_clip

DIM = 32


@pytest.fixture(scope="module")
def tokenizer_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def clip(tokenizer_directory: Path) -> CLIPModel:
    """A CLIP that follows OpenAI's rule of 64 channels a head."""
    tower = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "projection_dim": DIM}
    vocabulary = len(load_encoder(tokenizer_directory, device="cpu").tokenizer)
    config = CLIPConfig(
        text_config={
            **tower,
            "num_attention_heads": 1,
            "vocab_size": vocabulary,
            "max_position_embeddings": 16,
            "eos_token_id": 2,
            "bos_token_id": 0,
            "pad_token_id": 1,
        },
        vision_config={**tower, "num_attention_heads": 1, "image_size": 24, "patch_size": 8},
        projection_dim=DIM,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CLIPModel(config).eval()


def head(generator: torch.Generator) -> dict[str, Tensor]:
    """X-Pool's parameters by their published names."""
    shapes = {
        **{f"cross_attn.{letter}_proj": (DIM, DIM) for letter in ("q", "k", "v", "out")},
        "linear_proj": (DIM, DIM),
        **{f"layer_norm{i}": (DIM,) for i in (1, 2, 3)},
    }
    state: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        state[f"pool_frames.{name}.weight"] = torch.randn(shape, generator=generator)
        state[f"pool_frames.{name}.bias"] = torch.randn(DIM, generator=generator)
    return state


def to_openai_names(clip: CLIPModel) -> dict[str, Tensor]:
    """The inverse of the import, written from OpenAI's model file."""
    state = clip.state_dict()
    text, vision = "text_model.", "vision_model."
    named = {
        "logit_scale": state["logit_scale"],
        "text_projection": state["text_projection.weight"].T,
        "visual.proj": state["visual_projection.weight"].T,
        "token_embedding.weight": state[f"{text}embeddings.token_embedding.weight"],
        "positional_embedding": state[f"{text}embeddings.position_embedding.weight"],
        "visual.class_embedding": state[f"{vision}embeddings.class_embedding"],
        "visual.conv1.weight": state[f"{vision}embeddings.patch_embedding.weight"],
        "visual.positional_embedding": state[f"{vision}embeddings.position_embedding.weight"],
    }
    for kind in ("weight", "bias"):
        named[f"ln_final.{kind}"] = state[f"{text}final_layer_norm.{kind}"]
        named[f"visual.ln_pre.{kind}"] = state[f"{vision}pre_layrnorm.{kind}"]
        named[f"visual.ln_post.{kind}"] = state[f"{vision}post_layernorm.{kind}"]
        for tower, prefix in ((text, ""), (vision, "visual.")):
            for i in range(2):
                old = f"{tower}encoder.layers.{i}."
                new = f"{prefix}transformer.resblocks.{i}."
                parts = [state[f"{old}self_attn.{letter}_proj.{kind}"] for letter in "qkv"]
                named[f"{new}attn.in_proj_{kind}"] = torch.cat(parts)
                named[f"{new}attn.out_proj.{kind}"] = state[f"{old}self_attn.out_proj.{kind}"]
                named[f"{new}mlp.c_fc.{kind}"] = state[f"{old}mlp.fc1.{kind}"]
                named[f"{new}mlp.c_proj.{kind}"] = state[f"{old}mlp.fc2.{kind}"]
                named[f"{new}ln_1.{kind}"] = state[f"{old}layer_norm1.{kind}"]
                named[f"{new}ln_2.{kind}"] = state[f"{old}layer_norm2.{kind}"]
    return named


def test_names_round_trip(clip: CLIPModel) -> None:
    state = from_openai_names({**to_openai_names(clip), "input_resolution": torch.tensor(24)})
    assert state.keys() == clip.state_dict().keys()
    for name, x in clip.state_dict().items():
        assert torch.equal(state[name], x), name


@pytest.mark.parametrize("layout", ["huggingface", "openai"])
def test_xpool_checkpoint(layout: str, clip: CLIPModel, tokenizer_directory: Path, tmp_path: Path) -> None:
    pool = head(torch.Generator().manual_seed(1))
    named = to_openai_names(clip) if layout == "openai" else dict(clip.state_dict())
    if layout == "huggingface":  # buffers of transformers 4.6
        named["text_model.embeddings.position_ids"] = torch.arange(16)[None]
        named["vision_model.embeddings.position_ids"] = torch.arange(10)[None]
    state = {**{f"clip.{name}": x for name, x in named.items()}, **pool}
    path = tmp_path / "model_best.pth"
    torch.save(
        {"epoch": 3, "state_dict": state, "optimizer": {"state": {}, "param_groups": [{"lr": 1e-5}]}}, path
    )
    model = import_checkpoint(path, tokenizer=tokenizer_directory)
    assert model.name == "model_best"
    assert isinstance(model.matcher, XPool)
    assert model.matcher.config.dim == DIM
    assert model.matcher.config.num_heads == 1
    assert model.logit_scale.item() == pytest.approx(clip.logit_scale.item())
    pixels = torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        expected = clip.get_image_features(pixels).pooler_output
    assert torch.equal(model.encoder.encode_pixels(pixels), expected)
    saved = model.matcher.state_dict()
    for name, x in pool.items():
        assert any(torch.equal(x, own) for own in saved.values() if own.shape == x.shape), name
    hub.save(model, tmp_path / "saved")
    again = hub.load(tmp_path / "saved", device="cpu")
    assert again.fingerprint() == model.fingerprint()
    text = model.encode_text(["a red circle", "a dog"])

    class Clip:
        pixels = np.random.default_rng(0).integers(0, 256, (3, 30, 40, 3), dtype=np.uint8)

    video = model.encode_video([Clip()])
    assert torch.equal(again.similarity(text, video), model.similarity(text, video))


def test_bare_clip(clip: CLIPModel, tokenizer_directory: Path, tmp_path: Path) -> None:
    path = tmp_path / "clip.safetensors"
    save_file({name: x.contiguous() for name, x in to_openai_names(clip).items()}, path)
    model = import_checkpoint(path, tokenizer=tokenizer_directory, name="mine")
    assert isinstance(model.matcher, SoftmaxPool)
    assert model.name == "mine"
    half = {name: x.half() for name, x in to_openai_names(clip).items()}
    assert {p.dtype for p in import_state(half, model.encoder.tokenizer).parameters()} == {torch.float32}


def test_what_cannot_be_imported(clip: CLIPModel, tokenizer_directory: Path, tmp_path: Path) -> None:
    named = {f"clip.{name}": x for name, x in clip.state_dict().items()}

    def write(state: dict[str, Tensor]) -> Path:
        torch.save({"state_dict": state}, tmp_path / "a.pth")
        return tmp_path / "a.pth"

    with pytest.raises(CheckpointError, match=r"a\.pth.*besides CLIP it holds 'odd\.x'.*CLIP4Clip"):
        import_checkpoint(write({**named, "odd.x": torch.zeros(1)}), tokenizer=tokenizer_directory)
    with pytest.raises(CheckpointError, match=r"a\.pth.*no CLIP \(ViT\) weights"):
        import_checkpoint(write({"conv.weight": torch.zeros(1)}), tokenizer=tokenizer_directory)
    with pytest.raises(CheckpointError, match="not a parameter of OpenAI's CLIP"):
        import_checkpoint(
            write({**to_openai_names(clip), "odd": torch.zeros(1)}), tokenizer=tokenizer_directory
        )
    with pytest.raises(InputError, match="has no tokenizer"):
        import_checkpoint(write(named))
    with pytest.raises(CheckpointError, match="no file"):
        import_checkpoint(tmp_path / "missing.pt", tokenizer=tokenizer_directory)


def test_a_tokenizer_of_other_weights(clip: CLIPModel, real_data: Path, tmp_path: Path) -> None:
    torch.save(dict(clip.state_dict()), tmp_path / "clip.pt")
    merges = real_data / "clip_bpe" / "bpe_simple_vocab_16e6.txt.gz"
    with pytest.raises(CheckpointError, match="the tokenizer has 49408 tokens, but the weights know"):
        import_checkpoint(tmp_path / "clip.pt", merges=merges)
