"""CLIP4Clip's checkpoints: every parameter of the published list finds its place, and nothing else is taken."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from framesift import hub
from framesift.cli.main import app
from framesift.encoders import load_encoder
from framesift.errors import CheckpointError, ConfigError
from framesift.imports import LAYOUTS, import_checkpoint, import_state
from framesift.matchers import MeanPool, SoftmaxPool
from framesift.model import RetrievalModel
from framesift.ranking import MemoryGallery, rank
from tiny_models import tiny_clip

TEXT, VISION, DIM, LAYERS, HEAD_LAYERS = 64, 128, 64, 2, 3
CONTEXT, PATCH, SIDE = 77, 8, 3  # 77 positions for the text, and for the frames; 3 x 3 patches
HEADS = ("meanP", "seqTransf", "seqLSTM", "tightTransf")


def block(prefix: str, width: int) -> dict[str, tuple[int, ...]]:
    """A residual attention block's published names."""
    return {
        f"{prefix}.attn.in_proj_weight": (3 * width, width),
        f"{prefix}.attn.in_proj_bias": (3 * width,),
        f"{prefix}.attn.out_proj.weight": (width, width),
        f"{prefix}.attn.out_proj.bias": (width,),
        f"{prefix}.ln_1.weight": (width,),
        f"{prefix}.ln_1.bias": (width,),
        f"{prefix}.ln_2.weight": (width,),
        f"{prefix}.ln_2.bias": (width,),
        f"{prefix}.mlp.c_fc.weight": (4 * width, width),
        f"{prefix}.mlp.c_fc.bias": (4 * width,),
        f"{prefix}.mlp.c_proj.weight": (width, 4 * width),
        f"{prefix}.mlp.c_proj.bias": (width,),
    }


def published(head: str, vocabulary: int, *, patches_3d: bool = False) -> dict[str, tuple[int, ...]]:
    """The published names of a small model and their shapes."""
    names: dict[str, tuple[int, ...]] = {
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
    }
    for i in range(LAYERS):
        names |= block(f"clip.transformer.resblocks.{i}", TEXT)
        names |= block(f"clip.visual.transformer.resblocks.{i}", VISION)
    if patches_3d:
        names["clip.visual.conv2.weight"] = (VISION, 3, 3, PATCH, PATCH)
    if head in ("seqTransf", "seqLSTM"):
        names["frame_position_embeddings.weight"] = (CONTEXT, DIM)
    if head == "seqTransf":
        for i in range(HEAD_LAYERS):
            names |= block(f"transformerClip.resblocks.{i}", DIM)
    if head == "seqLSTM":
        names |= {f"lstm_visual.weight_{kind}_l0": (4 * DIM, DIM) for kind in ("ih", "hh")}
        names |= {f"lstm_visual.bias_{kind}_l0": (4 * DIM,) for kind in ("ih", "hh")}
    if head == "tightTransf":
        names["cross.embeddings.position_embeddings.weight"] = (CONTEXT, DIM)
        for i in range(HEAD_LAYERS):
            names |= block(f"cross.transformer.resblocks.{i}", DIM)
        names |= {
            "cross.pooler.ln_pool.weight": (DIM,),
            "cross.pooler.ln_pool.bias": (DIM,),
            "cross.pooler.dense.weight": (DIM, DIM),
            "cross.pooler.dense.bias": (DIM,),
            "similarity_dense.weight": (1, DIM),
            "similarity_dense.bias": (1,),
        }
    return names


@pytest.fixture(scope="module")
def tokenizer_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("clip"))


def checkpoint(tokenizer_directory: Path, head: str, *, patches_3d: bool = False) -> dict[str, Tensor]:
    """Random weights, CLIP's matrices in half precision as the released code saves them."""
    vocabulary = len(load_encoder(tokenizer_directory, device="cpu").tokenizer)
    generator = torch.Generator().manual_seed(0)
    state = {
        name: 0.1 * torch.randn(shape, generator=generator)
        for name, shape in published(head, vocabulary, patches_3d=patches_3d).items()
    }
    state["clip.logit_scale"] = torch.tensor(4.5)
    return {name: x.half() if name.startswith("clip.") and x.ndim > 1 else x for name, x in state.items()}


def write(state: dict[str, Tensor], directory: Path) -> Path:
    path = directory / "pytorch_model.bin.4"
    torch.save(state, path)
    return path


class Clip:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 30, 40, 3), dtype=np.uint8)


class Shorter:
    pixels = np.random.default_rng(1).integers(0, 256, (3, 30, 40, 3), dtype=np.uint8)


def scores(model: RetrievalModel) -> Tensor:
    text = model.encode_text(["a red circle moves", "two cats jump"])
    video = model.encode_video([Clip(), Shorter()], batch_size=4)
    ranking = rank(text, MemoryGallery(video), model.matcher, reranker=model.reranker)
    return torch.zeros(2, 2).scatter(1, ranking.rows, ranking.scores)


@pytest.mark.parametrize("patches_3d", [False, True])
@pytest.mark.parametrize("head", HEADS)
def test_every_parameter_is_taken_and_survives_saving(
    head: str, patches_3d: bool, tokenizer_directory: Path, tmp_path: Path
) -> None:
    state = checkpoint(tokenizer_directory, head, patches_3d=patches_3d)
    model = import_checkpoint(write(state, tmp_path), tokenizer=tokenizer_directory, name="mine")
    assert isinstance(model.matcher, MeanPool)
    assert model.temporal.name == {"seqTransf": "transformer", "seqLSTM": "lstm"}.get(head, "identity")
    assert (model.reranker is not None) == (head == "tightTransf")
    assert model.logit_scale.item() == 4.5
    assert model.encoder.neighbours == int(patches_3d)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    unused = ["frame_position_embeddings.weight"] if head == "seqLSTM" else []
    unused += ["clip.visual.conv1.weight"] if patches_3d else []
    taken = sum(x.numel() for name, x in state.items() if name not in unused)
    assert (
        sum(p.numel() for p in model.parameters()) == taken + 1
    )  # the scale is the model's and the encoder's
    hub.save(model, tmp_path / "saved")
    again = hub.load(tmp_path / "saved", device="cpu")
    assert again.fingerprint() == model.fingerprint()
    assert torch.equal(scores(again), scores(model))
    assert scores(model).std() > 0


def test_the_number_of_heads(tokenizer_directory: Path) -> None:
    tokenizer = load_encoder(tokenizer_directory, device="cpu").tokenizer
    state = checkpoint(tokenizer_directory, "seqTransf")
    assert import_state(state, tokenizer).temporal.config.num_heads == 1  # 64 dimensions a head
    assert import_state(state, tokenizer, num_heads=4).temporal.config.num_heads == 4
    with pytest.raises(ConfigError, match="num_heads=5"):
        import_state(state, tokenizer, num_heads=5)


def test_meanp_is_clip_alone_but_with_its_matcher(tokenizer_directory: Path) -> None:
    tokenizer = load_encoder(tokenizer_directory, device="cpu").tokenizer
    state = checkpoint(tokenizer_directory, "meanP")
    assert isinstance(import_state(state, tokenizer).matcher, MeanPool)
    assert isinstance(import_state(state, tokenizer, layout="clip").matcher, SoftmaxPool)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("clip.ln_final.weight", None, "lack clip.ln_final.weight"),
        ("clip.visual.transformer.resblocks.0.mlp.c_fc.bias", None, "lack clip.visual.transformer.resblocks.0.mlp"),
        ("clip.visual.conv1.weight", None, "clip.visual.conv1.weight is missing"),
        ("clip.extra", (3,), "have the unknown clip.extra"),
        ("odd.weight", (3,), "odd.weight"),
        ("clip.ln_final.bias", (7,), r"have clip.ln_final.bias \[7\] instead of \[64\]"),
        ("clip.transformer.resblocks.1.attn.in_proj_weight", (3, 64), r"_weight \[3, 64\] instead of \[192, 64\]"),
        ("clip.visual.positional_embedding", (5,), "expected 2 dimensions"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_clip_is_named(
    head: str,
    name: str,
    changed: tuple[int, ...] | None,
    message: str,
    tokenizer_directory: Path,
    tmp_path: Path,
) -> None:
    state = checkpoint(tokenizer_directory, head)
    state.pop(name, None)
    if changed is not None:
        state[name] = torch.zeros(changed)
    with pytest.raises(CheckpointError, match=rf"pytorch_model\.bin\.4.*{message}"):
        import_checkpoint(write(state, tmp_path), tokenizer=tokenizer_directory, layout="clip4clip")


@pytest.mark.parametrize("head", HEADS[1:])
def test_every_missing_or_misshapen_parameter_of_a_head_is_named(
    head: str, tokenizer_directory: Path
) -> None:
    tokenizer = load_encoder(tokenizer_directory, device="cpu").tokenizer
    state = checkpoint(tokenizer_directory, head)
    for name in [name for name in state if not name.startswith("clip.")]:
        rest = {key: x for key, x in state.items() if key != name}
        if (head, name) != ("seqLSTM", "frame_position_embeddings.weight"):  # saved, but never read
            with pytest.raises(CheckpointError, match=f"CLIP4Clip lack {name}"):
                import_state(rest, tokenizer)
        with pytest.raises(CheckpointError, match=f"CLIP4Clip have {name}"):
            import_state({**rest, name: torch.zeros(*state[name].shape, 2)}, tokenizer)
    for extra in ("similarity_dense.extra", "transformerClip.resblocks.9.odd"):
        with pytest.raises(CheckpointError, match=r"CLIP4Clip (have the unknown|lack)"):
            import_state({**state, extra: torch.zeros(1)}, tokenizer)


def test_a_pickle_that_runs_code_is_refused(tokenizer_directory: Path, tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self):  # type: ignore[no-untyped-def]
            return os.mkdir, (str(tmp_path / "was here"),)

    state = checkpoint(tokenizer_directory, "seqTransf")
    for name, write_it in (
        ("a.bin", torch.save),
        ("b.bin", lambda x, path: path.write_bytes(pickle.dumps(x))),
    ):
        write_it({**state, "clip.logit_scale": Malicious()}, tmp_path / name)
        with pytest.raises(CheckpointError, match="holds more than tensors"):
            import_checkpoint(tmp_path / name, tokenizer=tokenizer_directory, layout="clip4clip")
    assert not (tmp_path / "was here").exists()


def test_a_layout_by_name(tokenizer_directory: Path, tmp_path: Path) -> None:
    path = write(checkpoint(tokenizer_directory, "seqLSTM"), tmp_path)
    with pytest.raises(ConfigError, match=r"no layout 'clip4clp'; did you mean 'clip4clip'.*xpool"):
        import_checkpoint(path, tokenizer=tokenizer_directory, layout="clip4clp")
    with pytest.raises(CheckpointError, match="lack"):
        import_checkpoint(path, tokenizer=tokenizer_directory, layout="xpool")


def test_layouts_are_told_apart_by_their_names(tokenizer_directory: Path) -> None:
    openai = checkpoint(tokenizer_directory, "meanP")
    head, cross = (checkpoint(tokenizer_directory, kind) for kind in ("seqTransf", "tightTransf"))
    one = torch.zeros(1)
    for expected, state in (
        ("clip4clip", openai),
        ("clip4clip", head),
        ("clip4clip", cross),
        ("xclip", {**head, "global_mat_weight": one}),
        ("xpool", {**openai, "pool_frames.linear_proj.weight": one}),
        ("clip", {name.removeprefix("clip."): x for name, x in openai.items()}),
        ("clip", {"clip.text_model.final_layer_norm.weight": one}),
    ):
        found = next(name for name, layout in LAYOUTS.items() if layout.recognises(state))
        assert found == expected, sorted(state)[-1]


def test_the_command_imports_as_a_layout(tokenizer_directory: Path, tmp_path: Path) -> None:
    path = write(checkpoint(tokenizer_directory, "tightTransf"), tmp_path)
    arguments = ["models", "import", str(path), "--tokenizer", str(tokenizer_directory)]
    done = CliRunner().invoke(
        app, [*arguments, "--as", "clip4clip", "--output", str(tmp_path / "out"), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert '"reranker": "cross_transformer"' in done.stdout
    help_text = " ".join(CliRunner().invoke(app, ["models", "import", "--help"]).stdout.split())
    for name in LAYOUTS:
        assert name in help_text
