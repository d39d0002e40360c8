"""From a recipe to a model that searches, for every system; and what goes wrong with data."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import framesift as fs
from framesift.cli.main import app
from framesift.errors import CheckpointError, ConfigError, DatasetError, FramesiftError
from framesift.index import BuildConfig, Index
from framesift.storyboard import captions, storyboards, write_videos
from framesift.systems import SYSTEMS
from framesift.training.recipe import FramesRecipe, OptimRecipe, Part, Recipe, RerankRecipe, SelectRecipe
from framesift.training.train import TrainResult, train
from tiny_models import tiny_clip

TRAINABLE = [system for system in SYSTEMS if not system.name.endswith("zero-shot")]
TINY_QFORMER = {
    "hidden": 16,
    "num_heads": 2,
    "num_layers": 2,
    "ffn_width": 16,
    "num_queries": 2,
    "vocab_size": 8,
}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten clips, and a table of two captions each."""
    folder = tmp_path_factory.mktemp("clips")
    boards = storyboards("train", 10)
    with (folder / "my.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["video", "caption"])
        for board, path in zip(boards, write_videos(boards, folder, size_px=48), strict=True):
            table.writerows([path.name, caption.text] for caption in captions(board)[:2])
    return folder


def recipe(encoder: Path, system: str, **changes: object) -> Recipe:
    given: dict[str, object] = {
        "name": "run",
        "system": system,
        "encoder": str(encoder),
        "benchmark": "storyboard",
        "max_videos": 6,
        "frames": FramesRecipe(num_frames=3),
        "optim": OptimRecipe(steps=2, batch_size=4),
        "select": SelectRecipe(max_videos=3),
    }
    return Recipe(**{**given, **changes})  # type: ignore[arg-type]


def run(chosen: Recipe, folder: Path, **options: object) -> TrainResult:
    return train(chosen, folder=folder, device="cpu", workers=0, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("system", [system.name for system in TRAINABLE])
def test_every_system_trains_and_searches(system: str, encoder: Path, clips: Path, tmp_path: Path) -> None:
    changes: dict[str, object] = {}
    if system == "TS2-Net":
        changes["temporal"] = Part(config={"samples": 5})
    if system == "CrossTVR":
        changes["rerank"] = RerankRecipe(first_stage=str(encoder), token_gib=0.1, depth=2)
        changes["reranker"] = Part(config={"qformer": TINY_QFORMER, "selection_samples": 5})
    result = run(recipe(encoder, system, **changes), tmp_path / "run")
    assert result.steps == 2
    assert 0 <= result.evaluation["t2v"]["recall_at"]["1"] <= 100
    model = fs.load(result.model, device="cpu")
    assert type(model.reranker).__name__ == {
        "CrossTVR": "CrossTVR",
        "CLIP4Clip tightTransf": "CrossTransformer",
    }.get(system, "NoneType")
    with Index.create(tmp_path / "index", model=model, moments="whole") as index:
        assert (
            index.add(
                [clips / "my.csv", *sorted(clips.glob("*.mp4"))[:3]][1:], config=BuildConfig(workers=1)
            ).added
            == 3
        )
        assert len(index.search("a red circle", k=3)) == 3


@pytest.mark.parametrize("change", [{"precision": "bf16"}, {"chunk": 2}, {"freeze": "clip4clip"}])
def test_options_of_the_loop(change: dict[str, object], encoder: Path, tmp_path: Path) -> None:
    optim = OptimRecipe(steps=3, batch_size=4, lr_head=1e-3, **change)  # type: ignore[arg-type]
    result = run(recipe(encoder, "X-CLIP", optim=optim, mask_own=True, samples="videos"), tmp_path)
    assert all(entry["loss"] < 10 for entry in result.log)
    assert {"lr_head", "lr_encoder", "grad_norm", "samples_per_s", "logit_scale"} <= set(result.log[0])


def test_own_clips_from_the_command_line(clips: Path, tmp_path: Path) -> None:
    command = [
        "train",
        str(clips / "my.csv"),
        "--output",
        str(tmp_path / "run"),
        "--workers",
        "1",
        "--device",
        "cpu",
    ]
    done = CliRunner().invoke(app, [*command, "--json", "optim.epochs=3", "frames.num_frames=4"])
    assert done.exit_code == 0, done.output + repr(done.exception)
    told = json.loads(done.stdout)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert told["metrics"] == result["metrics"]
    assert result["provenance"]
    assert result["train"]["content_hash"] != result["evaluated_on"]["content_hash"]
    assert fs.load(told["model"], device="cpu").matcher.name == "xpool"
    other = CliRunner().invoke(app, [*command, "seed=5"])
    assert isinstance(other.exception, CheckpointError)
    assert "--restart" in str(other.exception)


def test_videos_that_cannot_be_read_are_left_out_and_listed(
    clips: Path, encoder: Path, tmp_path: Path
) -> None:
    table = (clips / "my.csv").read_text().splitlines()
    for path in clips.glob("*.mp4"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    lines = [
        table[0] + ",split",
        *(f"{line},{'train' if n < 14 else 'val'}" for n, line in enumerate(table[1:])),
    ]
    lines += ["broken.mp4,a broken one,train", "gone.mp4,a lost one,train"]
    (tmp_path / "my.csv").write_text("\n".join(lines))
    said: list[str] = []
    chosen = recipe(encoder, "X-Pool", benchmark=str(tmp_path / "my.csv"), max_videos=0)
    result = run(chosen, tmp_path / "run", report=said.append)
    assert list(result.failed) == ["broken.mp4"]
    assert result.missing == ("gone.mp4",)
    assert any("broken.mp4" in line for line in said)
    written = json.loads((tmp_path / "run" / "result.json").read_text())
    assert written["missing"] == ["gone.mp4"]
    assert any("missing" in note for note in written["train"]["notes"])

    for path in sorted(tmp_path.glob("*.mp4")):
        path.write_bytes(b"no video")
    with pytest.raises(DatasetError, match=r"cannot be read.*check the folder"):
        run(chosen, tmp_path / "again")
    for path in sorted(tmp_path.glob("*.mp4")):
        path.unlink()
    with pytest.raises(DatasetError, match=r"have no file.*check the folder"):
        run(chosen, tmp_path / "again")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"benchmark": "msrvt-9k"}, FramesiftError, "did you mean"),
        ({"benchmark": "msrvtt-9k", "root": None}, DatasetError, "--root DIR"),
        ({"system": "CLIP, zero-shot"}, ConfigError, "is not trained"),
        ({"encoder": "no-such-model"}, FramesiftError, "no model 'no-such-model'"),
        ({"system": "CrossTVR"}, ConfigError, "rerank.first_stage"),
        (
            {"system": "X-Pool's attention", "optim": OptimRecipe(freeze="encoder")},
            ConfigError,
            "nothing to train",
        ),
        (
            {"optim": OptimRecipe(freeze="encoder"), "frames": FramesRecipe(augmentation="xpool")},
            ConfigError,
            "computes features once",
        ),
        ({"max_videos": 1, "samples": "videos"}, DatasetError, "at least two"),
        ({"matcher": Part(config={"dropuot": 1})}, ConfigError, "did you mean 'dropout'"),
    ],
)
def test_what_cannot_be_trained(
    changes: dict[str, object], error: type[Exception], message: str, encoder: Path, tmp_path: Path
) -> None:
    given = {"system": "X-Pool", "encoder": encoder, "root": tmp_path, **changes}
    root, system, start = given.pop("root"), str(given.pop("system")), Path(str(given.pop("encoder")))
    with pytest.raises(error, match=message):
        run(recipe(start, system, **given), tmp_path / "run", root=root)


def test_a_folder_of_another_recipe_is_refused_unless_restarted(encoder: Path, tmp_path: Path) -> None:
    run(recipe(encoder, "X-Pool"), tmp_path)
    other = recipe(encoder, "X-Pool", seed=1)
    with pytest.raises(CheckpointError, match="another recipe"):
        run(other, tmp_path)
    assert run(other, tmp_path, resume=False).steps == 2


def test_an_empty_val_is_said(clips: Path, encoder: Path, tmp_path: Path) -> None:
    path = tmp_path / "two.csv"
    names = sorted(path.name for path in clips.glob("*.mp4"))[:2]
    path.write_text("video,caption,split\n" + "".join(f"{clips / name},a scene,train\n" for name in names))
    chosen = recipe(encoder, "X-Pool", benchmark=str(path), select=SelectRecipe(on="test"))
    with pytest.raises(DatasetError, match="no video in its split 'test'"):
        run(chosen, tmp_path / "run")
