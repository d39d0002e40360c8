"""CrossTVR's ablations, trained for two steps each on tiny sizes, interrupted, and compared by their experiment."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import framesift as fs
from framesift.cli.main import app
from framesift.config import load_toml
from framesift.encoders.scratch import ClipSizes
from framesift.errors import CheckpointError, ConfigError
from framesift.hub import load
from framesift.rerankers import CrossTVR
from framesift.training import storyboard_variants
from framesift.training.fit import FitConfig
from framesift.training.published import RECIPES
from framesift.training.recipe import Part
from framesift.training.storyboard_heads import HeadRecipe, _build, train_head
from framesift.training.storyboard_models import ClipRecipe, train_clip
from framesift.training.storyboard_variants import comparison, train_variants, variant_recipes

DIM, WIDTH = 16, 32
SIZES = ClipSizes(
    dim=DIM,
    image_size_px=32,
    patch_size_px=8,
    vision_width=WIDTH,
    vision_layers=1,
    vision_heads=2,
    text_width=32,
    text_layers=1,
    text_heads=2,
)
FIT = FitConfig(steps=2, batch_size=3, lr=1e-3, warmup_steps=1, log_every=1, evaluate_every=2)
QFORMER = {
    "visual_width": WIDTH,
    "hidden": 16,
    "num_layers": 2,
    "num_heads": 2,
    "ffn_width": 16,
    "cross_every": 1,
    "num_queries": 2,
    "vocab_size": 8,
    "max_positions": 64,
    "dropout": 0.0,
}
RERANKER = Part(
    name="cross_tvr",
    config={"word_width": DIM, "max_words": 64, "selection_samples": 10, "qformer": QFORMER},
)
NAMES = ["both", "spatial", "temporal", "unshared", "selected-2"]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> HeadRecipe:
    """Of a CrossTVR over a tiny first stage, from a tiny Q-Former."""
    folder = tmp_path_factory.mktemp("variants")
    lines: list[str] = []
    clip = ClipRecipe(sizes=SIZES, fit=FIT, num_captions=1, corpus_videos=20, validation_videos=4)
    train_clip(clip, folder / "clip", report=lines.append)
    plain = HeadRecipe(
        encoder=str(folder / "clip" / "model"),
        name="tiny",
        fit=FIT,
        pairs={"order": 1},
        clips=str(folder / "clips"),
        negatives=2,
        train_videos=6,
        train_pairs=1,
        validation_videos=4,
        validation_pairs=1,
    )
    qformer = replace(plain, name="qformer", reranker=RERANKER, single_frames=True)
    train_head(qformer, folder / "qformer", report=lines.append)
    return replace(
        plain,
        reranker=RERANKER,
        first_stage=str(folder / "clip" / "model"),
        start=str(folder / "qformer" / "model"),
    )


@pytest.fixture(scope="module")
def trained(recipe: HeadRecipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path]]:
    output = tmp_path_factory.mktemp("runs")
    found = train_variants(variant_recipes(recipe, selected=[2]), output, report=lambda line: None)
    return output, found[0]


def test_each_variant_differs_in_one_thing(trained: tuple[Path, dict[str, Path]]) -> None:
    output, models = trained
    assert list(models) == NAMES
    configs = {}
    for name, directory in models.items():
        assert directory == output / name / "seed-0" / "model"
        model = fs.load(directory, device="cpu")
        assert model.name == f"tiny-{name}"
        assert isinstance(model.reranker, CrossTVR)
        configs[name] = model.reranker.config
    base = configs["both"]
    assert (base.passes, base.shared, base.num_selected) == ("both", True, 4)
    assert configs["spatial"] == replace(base, passes="spatial")
    assert configs["temporal"] == replace(base, passes="temporal")
    assert configs["unshared"] == replace(base, shared=False)
    assert configs["selected-2"] == replace(base, num_selected=2)


def test_all_start_from_the_same_weights(recipe: HeadRecipe) -> None:
    rerankers = {name: _build(one).reranker for name, one in variant_recipes(recipe, selected=[2]).items()}
    base = rerankers["both"].state_dict()
    for reranker in rerankers.values():
        state = reranker.state_dict()
        assert all(torch.equal(state[name], x) for name, x in base.items())
    own = rerankers["unshared"].state_dict()
    second = [name for name in own if name.startswith("temporal.")]
    assert second, "a set of layers for each pass"
    assert all(torch.equal(own[n], base[n.replace("temporal.", "qformer.encoder.", 1)]) for n in second)


def test_what_is_done_is_not_done_again(recipe: HeadRecipe, trained: tuple[Path, dict[str, Path]]) -> None:
    output, models = trained
    before = {name: (path / "head.safetensors").stat().st_mtime_ns for name, path in models.items()}
    lines: list[str] = []
    train_variants(variant_recipes(recipe, selected=[2]), output, report=lines.append)
    assert all("is trained already" in line for line in lines)
    assert before == {name: (path / "head.safetensors").stat().st_mtime_ns for name, path in models.items()}
    longer = replace(recipe, fit=replace(recipe.fit, steps=3))
    with pytest.raises(CheckpointError, match="another recipe"):
        train_variants(variant_recipes(longer), output, report=lines.append)


def test_a_model_that_was_not_finished_is_trained(
    recipe: HeadRecipe, trained: tuple[Path, dict[str, Path]]
) -> None:
    """The loop was through, and the power went while the model was written: it is written again, the same."""
    output, models = trained
    weights = (models["spatial"] / "head.safetensors").read_bytes()
    (models["spatial"] / "recipe.json").unlink()
    (models["spatial"] / "head.safetensors").write_bytes(b"half")
    recipes = variant_recipes(recipe, selected=[2])
    train_variants({"spatial": recipes["spatial"]}, output, report=lambda line: None)
    assert (models["spatial"] / "head.safetensors").read_bytes() == weights


def test_the_experiment_compares_them(trained: tuple[Path, dict[str, Path]], tmp_path: Path) -> None:
    _, models = trained
    command = shlex.split(comparison(models, output=str(tmp_path)))
    assert command[:3] == ["framesift", "experiment", "crosstvr-ablations"]
    done = CliRunner().invoke(app, [*command[1:], "--videos", "4", "rerank_depth=2"])
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "crosstvr-ablations.json").read_text(encoding="utf-8"))
    assert result["x"]["values"] == ["first stage", *NAMES]
    parameters = {row[0]: row[-1] for row in result["tables"][0]["rows"]}
    assert parameters["unshared"] > parameters["both"] == parameters["spatial"]


def test_recipes_of_the_package_have_variants() -> None:
    for name in ("xpool", "seqtransf", "ts2net"):
        recipe = load_toml(RECIPES / f"storyboard-crosstvr-{name}.toml", HeadRecipe)
        found = variant_recipes(recipe)
        assert list(found) == [
            "both",
            "spatial",
            "temporal",
            "unshared",
            "selected-1",
            "selected-2",
            "selected-8",
        ]
        assert {one.start for one in found.values()} == {"runs/qformer/seed-0/model"}


def test_what_has_no_variants_is_refused(recipe: HeadRecipe, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no ablations"):
        variant_recipes(replace(recipe, reranker=None))
    with pytest.raises(ConfigError, match=r"no variant 'spacial'.* did you mean 'spatial'"):
        storyboard_variants.main(
            [str(RECIPES / "storyboard-crosstvr-xpool.toml"), "--output", str(tmp_path), "--only", "spacial"]
        )
    assert load(recipe.first_stage, device="cpu").reranker is None
