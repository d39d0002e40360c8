"""Importing BLIP-2: CrossTVR's image encoder and Q-Former from one file in LAVIS' names, every tensor accounted for."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from blip2_names import lavis
from framesift.cli.main import app
from framesift.encoders.patches import load_patch_encoder
from framesift.encoders.weights import read_state
from framesift.errors import CheckpointError
from framesift.imports.blip2 import QFORMER_FILE, import_blip2, load_qformer, patches_from_blip2
from framesift.rerankers import CrossTVR, CrossTVRConfig
from framesift.rerankers.qformer import QFormer, QFormerConfig

WIDTH, PATCH, GRID, LAYERS, HEADS = 32, 4, 3, 2, 2
QFORMER = {
    "visual_width": WIDTH,
    "hidden": 16,
    "num_layers": 2,
    "num_heads": 2,
    "ffn_width": 24,
    "num_queries": 3,
    "vocab_size": 11,
    "max_positions": 8,
    "dropout": 0.0,
}


def published() -> dict[str, Tensor]:
    """A small BLIP-2 as LAVIS publishes one, with the parts that CrossTVR does not take."""
    generator = torch.Generator().manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {
        "visual_encoder.cls_token": (1, 1, WIDTH),
        "visual_encoder.pos_embed": (1, GRID * GRID + 1, WIDTH),
        "visual_encoder.patch_embed.proj.weight": (WIDTH, 3, PATCH, PATCH),
        "visual_encoder.patch_embed.proj.bias": (WIDTH,),
        "ln_vision.weight": (WIDTH,),
        "ln_vision.bias": (WIDTH,),
        "temp": (),
        "vision_proj.weight": (8, 16),
        "text_proj.weight": (8, 16),
        "itm_head.weight": (2, 16),
        "itm_head.bias": (2,),
        "Qformer.cls.predictions.bias": (11,),
    }
    for block in range(LAYERS):
        for name, shape in {
            "norm1.weight": (WIDTH,),
            "norm1.bias": (WIDTH,),
            "norm2.weight": (WIDTH,),
            "norm2.bias": (WIDTH,),
            "attn.qkv.weight": (3 * WIDTH, WIDTH),
            "attn.q_bias": (WIDTH,),
            "attn.v_bias": (WIDTH,),
            "attn.proj.weight": (WIDTH, WIDTH),
            "attn.proj.bias": (WIDTH,),
            "mlp.fc1.weight": (48, WIDTH),
            "mlp.fc1.bias": (48,),
            "mlp.fc2.weight": (WIDTH, 48),
            "mlp.fc2.bias": (WIDTH,),
        }.items():
            shapes[f"visual_encoder.blocks.{block}.{name}"] = shape
    state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    torch.manual_seed(1)
    qformer: nn.Module = QFormer(QFormerConfig(**QFORMER))
    return state | {lavis(name): x for name, x in qformer.state_dict().items()}


def _save(state: dict[str, Tensor], path: Path) -> Path:
    torch.save({"model": state}, path)
    return path


def test_both_parts_come_back(tmp_path: Path) -> None:
    state = published()
    import_blip2(_save(state, tmp_path / "blip2.pth"), tmp_path / "out", num_heads=HEADS)
    pixels = torch.randn(2, 3, GRID * PATCH, GRID * PATCH)
    saved = load_patch_encoder(tmp_path / "out", device="cpu")
    with torch.no_grad():
        torch.testing.assert_close(saved(pixels), patches_from_blip2(state, num_heads=HEADS)(pixels))
    reranker = CrossTVR(CrossTVRConfig(qformer=QFormerConfig(**QFORMER), max_words=8))
    unset = load_qformer(reranker, read_state(tmp_path / "out" / QFORMER_FILE))
    assert not [name for name in unset if name.startswith(("qformer.", "match."))]
    torch.testing.assert_close(reranker.qformer.state_dict()["query_tokens"], state["query_tokens"])


@pytest.mark.parametrize(
    ("name", "change", "named"),
    [
        ("visual_encoder.blocks.1.norm2.bias", None, "norm2.bias|layer_norm2.bias"),
        ("query_tokens", None, "query_tokens"),
        ("clip.logit_scale", torch.zeros(()), "clip.logit_scale"),
        ("visual_encoder.blocks.0.mlp.fc2.bias", torch.zeros(5), "fc2.bias"),
    ],
)
def test_a_tensor_that_is_missing_unknown_or_misshapen_is_named(
    tmp_path: Path, name: str, change: Tensor | None, named: str
) -> None:
    state = published()
    if change is None:
        del state[name]
    else:
        state[name] = change
    with pytest.raises(CheckpointError, match=named):
        import_blip2(_save(state, tmp_path / "blip2.pth"), tmp_path / "out", num_heads=HEADS)
    assert not (tmp_path / "out").exists()


def test_a_pickle_of_more_than_tensors_is_refused(tmp_path: Path) -> None:
    class Malice:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'broken-in'}",)

    torch.save({"model": Malice()}, tmp_path / "blip2.pth")
    with pytest.raises(CheckpointError):
        import_blip2(tmp_path / "blip2.pth", tmp_path / "out")
    assert not (tmp_path / "broken-in").exists()


def test_on_the_command_line(tmp_path: Path) -> None:
    state = published() | {"t5_model.shared.weight": torch.zeros(2, 2)}
    path = _save(state, tmp_path / "blip2.pth")
    output = tmp_path / "out"
    arguments = ["models", "import", str(path), "--as", "blip2", "-o", str(output), "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["qformer"] == str(output / QFORMER_FILE)
    assert load_patch_encoder(output, device="cpu").width == WIDTH
