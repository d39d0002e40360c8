"""TS2-Net's checkpoints: every parameter of the published list finds its place, and nothing else is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from framesift import hub
from framesift.encoders import TokenShiftClipEncoder, load_encoder
from framesift.errors import CheckpointError, InputError
from framesift.imports import import_checkpoint, import_state
from framesift.matchers import SelectedTokens
from framesift.model import RetrievalModel
from framesift.temporal import TokenSelection
from tiny_models import tiny_clip, tiny_siglip

TEXT, VISION, DIM, LAYERS, HEAD_LAYERS = 64, 128, 64, 2, 3
CONTEXT, PATCH, SIDE = 77, 8, 3  # 77 positions for the text, and for the tokens; 3 x 3 patches
SHIFTED = "clip.visual.transformer.resblocks.1.attn."  # the last of two blocks
UNUSED = {
    "text_token_selector.score_predictor.in_conv.0.weight": (DIM,),
    "text_token_selector.score_predictor.in_conv.0.bias": (DIM,),
    "text_token_selector.score_predictor.in_conv.1.weight": (DIM // 2, DIM),
    "text_token_selector.score_predictor.in_conv.1.bias": (DIM // 2,),
    "text_token_selector.score_predictor.out_conv.0.weight": (DIM // 2, DIM),
    "text_token_selector.score_predictor.out_conv.2.weight": (1, DIM // 2),
    "visual_prompt_encoder.positional_embedding": (4, VISION),
    "visual_prompt_encoder.conv1.weight": (VISION, 3, PATCH, PATCH),
    "visual_prompt_encoder.layer_norm.weight": (VISION,),
    "visual_prompt_encoder.layer_norm.bias": (VISION,),
}


def block(prefix: str, width: int, attention: str = "attn") -> dict[str, tuple[int, ...]]:
    """A residual attention block's published names."""
    return {
        f"{prefix}.{attention}.in_proj_weight": (3 * width, width),
        f"{prefix}.{attention}.in_proj_bias": (3 * width,),
        f"{prefix}.{attention}.out_proj.weight": (width, width),
        f"{prefix}.{attention}.out_proj.bias": (width,),
        **{f"{prefix}.{norm}.{kind}": (width,) for norm in ("ln_1", "ln_2") for kind in ("weight", "bias")},
        f"{prefix}.mlp.c_fc.weight": (4 * width, width),
        f"{prefix}.mlp.c_fc.bias": (4 * width,),
        f"{prefix}.mlp.c_proj.weight": (width, 4 * width),
        f"{prefix}.mlp.c_proj.bias": (width,),
    }


def names(vocabulary: int) -> dict[str, tuple[int, ...]]:
    """The published names of a small model and their shapes."""
    found: dict[str, tuple[int, ...]] = {
        "clip.positional_embedding": (CONTEXT, TEXT),
        "clip.text_projection": (TEXT, DIM),
        "clip.logit_scale": (),
        "clip.token_embedding.weight": (vocabulary, TEXT),
        "clip.ln_final.weight": (TEXT,),
        "clip.ln_final.bias": (TEXT,),
        "clip.visual.class_embedding": (VISION,),
        "clip.visual.positional_embedding": (SIDE * SIDE + 1, VISION),
        "clip.visual.proj": (VISION, DIM),
        "clip.visual.conv1.weight": (VISION, 3, PATCH, PATCH),
        "clip.visual.ln_pre.weight": (VISION,),
        "clip.visual.ln_pre.bias": (VISION,),
        "clip.visual.ln_post.weight": (VISION,),
        "clip.visual.ln_post.bias": (VISION,),
        "frame_position_embeddings.weight": (CONTEXT, DIM),
    }
    for i in range(LAYERS):
        found |= block(f"clip.transformer.resblocks.{i}", TEXT)
        attention = "attn.net" if i == LAYERS - 1 else "attn"
        found |= block(f"clip.visual.transformer.resblocks.{i}", VISION, attention)
    for i in range(HEAD_LAYERS):
        found |= block(f"transformerClip.resblocks.{i}", DIM)
    predictor = "visual_token_selector.score_predictor."
    return found | {
        f"{predictor}in_conv.0.weight": (DIM,),
        f"{predictor}in_conv.0.bias": (DIM,),
        f"{predictor}in_conv.1.weight": (DIM // 2, DIM),
        f"{predictor}out_conv.0.weight": (DIM // 2, DIM),
        f"{predictor}out_conv.2.weight": (1, DIM // 2),
        **UNUSED,
    }


@pytest.fixture(scope="module")
def tokenizer_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def tokenizer(tokenizer_directory: Path) -> Any:
    return load_encoder(tokenizer_directory, device="cpu").tokenizer


@pytest.fixture(scope="module")
def state(tokenizer: Any) -> dict[str, Tensor]:
    """Random weights, CLIP's matrices in half precision as the released code saves them."""
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: 0.1 * torch.randn(shape, generator=generator) for name, shape in names(len(tokenizer)).items()
    }
    weights["clip.logit_scale"] = torch.tensor(4.5)
    return {name: x.half() if name.startswith("clip.") and x.ndim > 1 else x for name, x in weights.items()}


class Clip:
    def __init__(self, frames: int) -> None:
        self.pixels = np.random.default_rng(frames).integers(0, 256, (frames, 30, 40, 3), dtype=np.uint8)


TEXTS = ["a red circle moves", "two cats jump"]


def scores(model: RetrievalModel) -> Tensor:
    return model.similarity(model.encode_text(TEXTS), model.encode_video([Clip(5), Clip(3), Clip(1)])).cpu()


def test_every_parameter_is_taken_and_survives_saving(
    state: dict[str, Tensor], tokenizer_directory: Path, tmp_path: Path
) -> None:
    path = tmp_path / "pytorch_model.bin.4"
    torch.save(state, path)
    model = import_checkpoint(path, tokenizer=tokenizer_directory, name="mine")
    assert isinstance(model.encoder, TokenShiftClipEncoder)
    assert model.encoder.shift_layers == (LAYERS - 1,)
    assert isinstance(model.temporal, TokenSelection)
    assert isinstance(model.matcher, SelectedTokens)
    assert model.logit_scale.item() == 4.5
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    taken = sum(x.numel() for name, x in state.items() if name not in UNUSED)
    # the scale is the model's and the encoder's
    assert sum(p.numel() for p in model.parameters()) == taken + 1
    hub.save(model, tmp_path / "saved")
    again = hub.load(tmp_path / "saved", device="cpu")
    assert again.fingerprint() == model.fingerprint()
    assert torch.equal(scores(again), scores(model))
    assert scores(model).std() > 0


def test_a_video_does_not_depend_on_its_batch_nor_on_patches_being_kept(
    state: dict[str, Tensor], tokenizer: Any
) -> None:
    model = import_state(state, tokenizer)
    videos = [Clip(5), Clip(3), Clip(0), Clip(1)]
    together = model.encode_video(videos)
    assert together.patch is None
    assert together.frame_mask.sum(dim=1).tolist() == [5, 3, 0, 1]
    kept = model.encode_video(videos, patches=True, batch_size=4)
    assert kept.patch is not None
    assert kept.patch.shape == (4, 5, 10, VISION)
    torch.testing.assert_close(kept.frame[kept.frame_mask], together.frame[together.frame_mask])
    for v, video in enumerate(videos):
        alone = model.encode_video([video], batch_size=2)
        torch.testing.assert_close(
            alone.frame[0][alone.frame_mask[0]],
            together.frame[v, together.frame_mask[v]],
            atol=1e-5,
            rtol=1e-5,
        )
    assert len(model.encode_video([])) == 0


def test_every_missing_unknown_or_misshapen_parameter_is_named(
    state: dict[str, Tensor], tokenizer: Any
) -> None:
    for name, x in state.items():
        if not name.startswith("clip.") or name.startswith(SHIFTED):
            rest = {key: value for key, value in state.items() if key != name}
            if name not in UNUSED:
                with pytest.raises(CheckpointError, match=f"TS2-Net lack {name}"):
                    import_state(rest, tokenizer, layout="ts2net")
            with pytest.raises(CheckpointError, match=f"have {name}"):
                import_state({**rest, name: torch.zeros(*x.shape, 2)}, tokenizer, layout="ts2net")
    for extra in ("clip.extra", "visual_token_selector.extra", "visual_prompt_encoder.extra"):
        with pytest.raises(CheckpointError, match=f"have the unknown {extra}"):
            import_state({**state, extra: torch.zeros(1)}, tokenizer, layout="ts2net")


def test_the_parts_that_are_never_used_may_be_absent(state: dict[str, Tensor], tokenizer: Any) -> None:
    stripped = {name: x for name, x in state.items() if name not in UNUSED}
    assert import_state(stripped, tokenizer).fingerprint() == import_state(state, tokenizer).fingerprint()


def test_clip4clip_is_not_taken_for_ts2net(state: dict[str, Tensor], tokenizer: Any) -> None:
    with pytest.raises(CheckpointError):
        import_state(state, tokenizer, layout="clip4clip")


def test_an_encoder_without_a_map_of_its_tokens_is_refused(tmp_path: Path) -> None:
    encoder = load_encoder(tiny_siglip(tmp_path), device="cpu")
    config = TokenSelection.Config(dim=encoder.dim, num_heads=2)
    model = RetrievalModel(encoder, TokenSelection(config), SelectedTokens())
    with pytest.raises(InputError, match="'siglip' have no map"):
        model.encode_video([Clip(2)])
