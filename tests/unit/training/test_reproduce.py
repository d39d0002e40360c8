"""Reproducing a recipe: what is there, which runs there are, and what the result says."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from framesift.errors import CheckpointError, DatasetError, InputError, UnknownModelError
from framesift.evaluation.report.reproduction import reproduction_blocks
from framesift.hub import save
from framesift.training.build import build_model
from framesift.training.published import find_recipe
from framesift.training.readiness import check_data, check_models
from framesift.training.recipe import Recipe, read_recipe
from framesift.training.reproduce import RESULT_FILE, column_names, reproduce
from msrvtt_maker import write_msrvtt
from tiny_models import tiny_clip


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_msrvtt(tmp_path_factory.mktemp("bench") / "msrvtt", num_train=5, num_test=3)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_clip(tmp_path_factory.mktemp("encoder")))


def shipped(name: str, *overrides: str) -> Recipe:
    return read_recipe(find_recipe(name), overrides=overrides)


class Untrained:
    """A trainer that takes no step: the model as it is initialised, where the trainer would leave the chosen one."""

    def __init__(self, encoder: str) -> None:
        self.encoder = encoder
        self.runs: list[tuple[Recipe, Path]] = []

    def __call__(self, recipe: Recipe, root: Path, folder: Path, report: Callable[[str], None]) -> Path:
        self.runs.append((recipe, folder))
        model = build_model(replace(recipe, encoder=self.encoder), device="cpu", report=report)
        save(model, folder / "best", encoder_from=self.encoder)
        return folder / "best"


def test_both_selections_stand_beside_the_paper(bench: Path, encoder: str, tmp_path: Path) -> None:
    trainer, lines = Untrained(encoder), list[str]()
    recipe = shipped("xpool-msrvtt-9k", f"encoder={encoder}")
    folder = tmp_path / "xpool-msrvtt-9k"
    document = reproduce(recipe, root=bench, folder=folder, trainer=trainer, workers=0, report=lines.append)
    runs = {run.select.on: (run, place) for run, place in trainer.runs}
    assert set(runs) == {"test", "val"}
    assert runs["test"][0].select.holdout == 0, "the papers trained on all videos"
    assert runs["val"][0].select.holdout == 0.05, (
        "this benchmark has no val, so that a part of train is held out"
    )
    assert {run.seed for run, _ in runs.values()} == {24}
    assert runs["test"][1] != runs["val"][1]
    assert list(document["columns"]) == ["paper", "selected_on_test", "selected_on_val"]
    assert document["columns"]["paper"]["t2v"] == {
        "recall_at": {"1": 46.9, "5": 72.8, "10": 82.2},
        "median_rank": 2.0,
        "mean_rank": 14.3,
    }
    assert document["columns"]["paper"]["v2t"]["recall_at"]["1"] == 44.4, "from the table that has it"
    assert document["columns"]["selected_on_test"]["t2v"]["ties"] == "xpool", "as the paper's code ranks"
    assert document["columns"]["selected_on_val"]["t2v"]["ties"] == "pessimistic"
    assert document["column_names"]["selected_on_test"] == "selected on test, as they did"
    assert document["split"]["videos"] == 3
    assert document["recipe"] == {"name": recipe.name, "hash": recipe.content_hash, "seeds": [24]}
    assert document["settings"]["optim"]["lr_head"] == 3e-5
    assert any("not the published settings" in warning for warning in document["warnings"])
    assert any("1,000 were published" in warning for warning in document["warnings"])
    written = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
    assert written["columns"] == document["columns"]
    assert written["provenance"]["commit"]
    (table,) = [block for block in reproduction_blocks(written) if hasattr(block, "rows")]
    assert len(table.rows) == 3, "the report shows it"


def test_seeds_give_mean_and_spread(bench: Path, encoder: str, tmp_path: Path) -> None:
    trainer = Untrained(encoder)
    recipe = shipped("clip4clip-seqtransf-msrvtt-9k", f"encoder={encoder}", "start=random")
    document = reproduce(
        recipe,
        root=bench,
        folder=tmp_path / "run",
        select=["val"],
        seeds=[0, 1, 2],
        trainer=trainer,
        workers=0,
    )
    assert [run.seed for run, _ in trainer.runs] == [0, 1, 2]
    runs = document["runs"]["selected_on_val"]
    values = [run["t2v"]["mean_rank"] for run in runs]
    found = document["columns"]["selected_on_val"]["t2v"]["mean_rank"]
    assert found["mean"] == pytest.approx(sum(values) / 3)
    mean = found["mean"]
    assert found["sd"] == pytest.approx(math.sqrt(sum((value - mean) ** 2 for value in values) / 2))
    assert list(document["columns"]) == ["paper", "selected_on_val"]
    with pytest.raises(InputError, match="no seed twice"):
        reproduce(recipe, root=bench, folder=tmp_path, seeds=[1, 1], trainer=trainer, workers=0)


def test_a_second_stage_trains_its_first_one_and_finds_it_again(
    bench: Path, encoder: str, tmp_path: Path
) -> None:
    trainer, lines = Untrained(encoder), list[str]()
    small = [
        "hidden=8",
        "num_heads=1",
        "num_layers=2",
        "ffn_width=8",
        "num_queries=2",
        "max_positions=40",
        "visual_width=48",
    ]
    recipe = shipped(
        "crosstvr-base-clip4clip-msrvtt-9k",
        f"encoder={encoder}",
        "rerank.start_from=",
        "rerank.depth=2",
        "reranker.config.encoder=",
        *(f"reranker.config.qformer.{pair}" for pair in small),
    )
    base = tmp_path / "crosstvr"
    reproduce(
        recipe, root=bench, folder=base, select=["test"], trainer=trainer, workers=0, report=lines.append
    )
    assert [run.name for run, _ in trainer.runs] == ["clip4clip-seqtransf-msrvtt-9k", recipe.name]
    first, second = trainer.runs
    assert second[0].rerank.first_stage == str(first[1] / "best")
    assert first[1].is_relative_to(tmp_path / "clip4clip-seqtransf-msrvtt-9k"), "beside the second stage"
    assert first[0].seed == 42
    document = reproduce(
        recipe, root=bench, folder=base, select=["test"], trainer=trainer, workers=0, report=lines.append
    )
    assert len(trainer.runs) == 3, "the first stage is there"
    assert document["columns"]["selected_on_test"]["t2v"]["num_queries"] == 3


def test_dual_softmax_rows_are_a_table_of_their_own(bench: Path, encoder: str, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    text = find_recipe("xpool-msrvtt-9k").read_text(encoding="utf-8").replace('"xpool-msrvtt-9k"', '"own"')
    row = '[[expected]]\npaper = "P"\ntable = 1\nrow = "X*"\nt2v = { R1 = 50.0 }\nnormalization = "dual softmax"\n'
    path.write_text(f"{text}\n{row}", encoding="utf-8")
    recipe = read_recipe(path, overrides=[f"encoder={encoder}"])
    document = reproduce(
        recipe, root=bench, folder=tmp_path / "run", select=["test"], trainer=Untrained(encoder), workers=0
    )
    ((label, columns),) = document["normalized"].items()
    assert "dual softmax" in label
    assert columns["paper"] == {"t2v": {"recall_at": {"1": 50.0}}}
    assert columns["selected_on_test"]["t2v"]["num_queries"] == 3
    assert document["columns"]["paper"]["t2v"]["recall_at"]["1"] == 46.9, "the plain row stays the headline"
    assert not any("not the published" in warning for warning in document["warnings"]), (
        "no recipe of the package"
    )


def test_what_is_missing_is_listed_before_anything_is_trained(encoder: str, tmp_path: Path) -> None:
    root = write_msrvtt(tmp_path / "msrvtt", num_train=3, num_test=2)
    recipe = shipped("xpool-msrvtt-9k", f"encoder={encoder}")
    assert check_data(recipe, root).complete
    (root / "videos" / "video1.mp4").unlink()
    (root / "videos" / "video4.mp4").unlink()
    found = check_data(recipe, root)
    assert not found.complete
    assert [one.missing for one in found.splits] == [("video1",), ("video4",)]
    assert found.to_dict()["splits"]["train"]["missing"] == ["video1"]
    trainer = Untrained(encoder)
    with pytest.raises(DatasetError, match="2 of 3 videos are there; missing: video1") as caught:
        reproduce(recipe, root=root, folder=tmp_path / "run", trainer=trainer, workers=0)
    assert "--allow-missing" in str(caught.value)
    assert caught.value.exit_code == 6
    assert not trainer.runs
    document = reproduce(
        recipe,
        root=root,
        folder=tmp_path / "run",
        select=["test"],
        allow_missing=True,
        trainer=trainer,
        workers=0,
    )
    assert document["split"]["videos"] == 1
    assert any("1 of 2 videos are missing" in warning for warning in document["warnings"])
    (root / "MSRVTT_train.9k.csv").unlink()
    with pytest.raises(DatasetError, match=r"MSRVTT_train\.9k\.csv"):
        reproduce(recipe, root=root, folder=tmp_path / "run", allow_missing=True, trainer=trainer, workers=0)


def test_zero_shot_needs_the_test_split_only(bench: Path, tmp_path: Path) -> None:
    recipe = shipped("clip-zeroshot-msrvtt-1ka")
    assert [one.name for one in check_data(recipe, bench).splits] == ["test"]
    with pytest.raises(UnknownModelError, match="encoder=DIR") as caught:
        reproduce(recipe, root=bench, folder=tmp_path / "run")
    assert "clip-vit-base-patch32" in str(caught.value)


def test_models_that_cannot_be_had_are_named_with_what_to_do(encoder: str) -> None:
    recipe = shipped("crosstvr-large-msrvtt-9k", f"encoder={encoder}")
    with pytest.raises(UnknownModelError, match=r"models import BLIP2\.pth --as blip2 --output blip2"):
        check_models(recipe)
    with pytest.raises(UnknownModelError, match=r"reranker\.config\.encoder"):
        check_models(shipped("crosstvr-base-separate-msrvtt-9k", f"encoder={encoder}", "rerank.start_from="))


def test_blip2_without_its_words_is_told_before_the_first_stage_is_trained(
    encoder: str, tmp_path: Path
) -> None:
    (tmp_path / "qformer.safetensors").touch()
    recipe = shipped("crosstvr-base-msrvtt-9k", f"encoder={encoder}", f"rerank.start_from={tmp_path}")
    with pytest.raises(CheckpointError, match=r"vocab\.txt"):
        check_models(recipe)
    (tmp_path / "vocab.txt").touch()
    check_models(recipe)


def test_columns_say_how_the_paper_selected() -> None:
    assert column_names(shipped("xpool-msvd"))["selected_on_test"].endswith("as they did")
    names = column_names(shipped("xclip-msvd-b32"))
    assert names["selected_on_val"] == "selected on val, as they did"
    assert names["selected_on_test"] == "selected on test"
    assert names["paper"] == "paper (CrossTVR, table 2)"


def test_only_the_first_process_measures(
    bench: Path, encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    recipe = shipped("xpool-msrvtt-9k", f"encoder={encoder}")
    trainer = Untrained(encoder)
    result: dict[str, Any] = reproduce(
        recipe, root=bench, folder=tmp_path / "run", trainer=trainer, workers=0
    )
    assert result == {}
    assert len(trainer.runs) == 2
    assert not (tmp_path / "run" / RESULT_FILE).exists()
