"""Experiments from the first line to the page, on tiny sizes: files, pictures, resuming, one's own data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from framesift import hub
from framesift.cli.main import app
from framesift.encoders.scratch import ClipSizes
from framesift.errors import DatasetError, InputError, UnknownModelError
from framesift.evaluation.experiments import EXPERIMENTS, crosstvr_encoders, frame_count, run_experiment
from framesift.evaluation.plots import plot_experiment
from framesift.rerankers import CrossTVR, CrossTVRConfig
from framesift.rerankers.qformer import QFormerConfig
from framesift.storyboard import standard, write_split

TINY = ClipSizes(
    image_size_px=32,
    vision_width=16,
    vision_layers=1,
    vision_heads=2,
    text_width=16,
    text_layers=1,
    text_heads=2,
    vocabulary=600,
)


@pytest.fixture(scope="module")
def crosstvr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory: the bundled encoder with an untrained, tiny CrossTVR."""
    model = hub.load("storyboard-clip", device="cpu")
    torch.manual_seed(0)
    qformer = QFormerConfig(
        visual_width=192, hidden=16, num_layers=2, num_heads=2, ffn_width=16, num_queries=2, vocab_size=8
    )
    model.reranker = CrossTVR(CrossTVRConfig(qformer=qformer, word_width=256, num_selected=2))
    folder = tmp_path_factory.mktemp("models") / "tiny-crosstvr"
    hub.save(model, folder, encoder_from="storyboard-clip")
    return folder


SMALL: dict[str, list[str]] = {
    "xpool-figure-3a": [],
    "xpool-figure-3b": ["num_frames=3"],
    "xpool-figure-4": ["most=1"],
    "crosstvr-depth": ["last=3"],
    "crosstvr-ablations": ["rerank_depth=3"],
    "crosstvr-encoders": [
        'encoders=["ViT-Ti/32"]',
        "num_frames=1",
        "batch_size=2",
        "steps=1",
        "qformer={hidden = 16, num_layers = 1, num_heads = 2, ffn_width = 16, num_queries = 2}",
    ],
    "frame-count": ["counts=[1, 2]", "timed_videos=1"],
    "pareto": ["rerank_depth=2", "timed_videos=1"],
}


def test_every_experiment_is_tried_here() -> None:
    assert list(SMALL) == list(EXPERIMENTS)


@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_an_experiment_writes_result_picture_and_page(
    name: str, crosstvr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(crosstvr_encoders.ENCODER_SIZES, "ViT-Ti/32", TINY)
    models = ["storyboard-xpool"]
    if name.startswith("crosstvr"):
        models = [str(crosstvr)]
    elif name == "pareto":
        models = ["storyboard-clip", f"second={crosstvr}"]
    if EXPERIMENTS[name].suits is None:
        models = []
    result = run_experiment(
        name, models=models, videos=4, output=tmp_path, device="cpu", overrides=SMALL[name], seed=3
    )
    written = json.loads((tmp_path / f"{name}.json").read_text())
    assert written.items() >= json.loads(json.dumps(result)).items()
    assert written["kind"] == "experiment"
    assert written["name"] == name
    assert written["settings"]["seed"] == 3
    assert "commit" in written["provenance"]
    if models:
        assert written["split"]["content_hash"]
        assert written["split"]["videos"] == 4
    places = len(written["x"]["values"])
    for panel in [written, *written["panels"]]:
        assert panel["series"]
        for one in panel["series"]:
            for values in (one["values"], one["low"], one["high"]):
                assert values is None or len(values) == places
        assert any(value is not None for one in panel["series"] for value in one["values"])
    for table in written["tables"]:
        assert table["rows"]
        assert {len(row) for row in table["rows"]} == {len(table["columns"])}
    with Image.open(tmp_path / f"{name}.png") as picture:
        assert picture.size[0] > 600
        assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 20
    page = (tmp_path / f"{name}.md").read_text()
    assert EXPERIMENTS[name].title in page
    assert f"]({name}.png)" in page
    assert result["shows"] in page
    assert not (tmp_path / f"{name}.partial.json").exists()


def test_measured_values_are_what_the_bundled_models_give(tmp_path: Path) -> None:
    result = run_experiment(
        "xpool-figure-4",
        models=["storyboard-xpool"],
        videos=6,
        output=tmp_path,
        overrides=["most=1"],
        device="cpu",
    )
    series = {one["name"]: one for one in result["series"]}
    assert set(series) == {
        "mean-pool",
        "top-k (k = 3)",
        "softmax-pool (T = 0.01)",
        "storyboard-xpool",
    }
    (gallery,) = result["panels"]
    for other in gallery["series"]:  # without foreign scenes, their source does not matter
        assert other["values"][0] == series[other["name"]]["values"][0]
    assert series["storyboard-xpool"]["values"][0] <= series["mean-pool"]["values"][0]


def test_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure, done = frame_count.encode_seconds, list[int]()

    def interrupted(bench: Any, name: str, count: int, **options: Any) -> float:
        if count == 2 and len(done) < 2:
            raise KeyboardInterrupt
        done.append(count)
        return measure(bench, name, count, **options)

    monkeypatch.setattr(frame_count, "encode_seconds", interrupted)

    def run(report: Any = None, seed: int = 0) -> dict[str, Any]:
        return run_experiment(
            "frame-count",
            models=["storyboard-clip"],
            videos=3,
            output=tmp_path,
            overrides=["counts=[1, 2]", "timed_videos=1"],
            device="cpu",
            seed=seed,
            report=report,
        )

    with pytest.raises(KeyboardInterrupt):
        run()
    assert (tmp_path / "frame-count.partial.json").exists()
    assert not (tmp_path / "frame-count.json").exists()
    done.append(0)
    said: list[str] = []
    run(said.append)
    assert done == [1, 0, 2], "one frame was not measured again"
    assert "going on after 1 points" in said[0]


def test_ones_own_videos_with_some_missing(tmp_path: Path) -> None:
    videos = standard(4)
    paths = write_split(videos.videos, tmp_path / "videos")
    paths[3].write_bytes(b"no video")
    rows = [f'{path.name},"{text}",test' for path, text in zip(paths, videos.texts, strict=True)]
    table = tmp_path / "own.csv"
    table.write_text("\n".join(["video,caption,split", *rows, 'gone.mp4,"a red circle",test']) + "\n")
    result = run_experiment(
        "xpool-figure-3a",
        models=["storyboard-clip"],
        benchmark=str(table),
        root=tmp_path / "videos",
        videos=0,
        output=tmp_path / "out",
        device="cpu",
    )
    split = result["split"]
    assert split["videos"] == 3
    assert len([note for note in split["notes"] if "left out" in note]) == 2
    assert split["notes"][0] in (tmp_path / "out" / "xpool-figure-3a.md").read_text()


def test_what_cannot_be_done_is_said(crosstvr: Path, tmp_path: Path) -> None:
    def run(name: str, **options: Any) -> None:
        run_experiment(name, output=tmp_path, device="cpu", **{"videos": 3, **options})

    with pytest.raises(InputError, match="did you mean 'xpool-figure-4'"):
        run("xpool-figure4")
    with pytest.raises(InputError, match="unknown key 'mots'; did you mean 'most'"):
        run("xpool-figure-4", overrides=["mots=2"])
    with pytest.raises(InputError, match="only Storyboard"):
        run("xpool-figure-4", benchmark="msvd", root=tmp_path)
    with pytest.raises(InputError, match="leave out --model"):
        run("crosstvr-encoders", models=["storyboard-clip"])
    with pytest.raises(InputError, match="has no reranker"):
        run("crosstvr-depth", models=["storyboard-clip"])
    with pytest.raises(InputError, match="label of its own"):
        run("pareto", models=["storyboard-clip", "storyboard-clip"])
    with pytest.raises(UnknownModelError):
        run("pareto", models=["label=storyboard-clap"])
    with pytest.raises(InputError, match="at least 2"):
        run("pareto", models=["storyboard-clip"], videos=1)
    with pytest.raises(InputError, match="no slice 'standart'; did you mean 'standard'"):
        run("pareto", models=["storyboard-clip"], benchmark="storyboard/standart")
    with pytest.raises(InputError, match="--root"):
        run("pareto", models=["storyboard-clip"], benchmark="msvd")
    with pytest.raises(DatasetError):
        run("pareto", models=["storyboard-clip"], benchmark="msvd", root=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_picture_with_gaps(tmp_path: Path) -> None:
    series = [
        {"name": "a", "values": [None, 2.0, 3.0], "low": [None, 1.0, 2.5], "high": [None, 3.0, 3.5]},
        {"name": "b", "values": [None, None, None], "low": None, "high": None},
        {"name": "paper", "values": [1.0, None, 5.0], "low": None, "high": None, "reference": True},
    ]
    result = {
        "title": "Gaps",
        "source": "none",
        "chart": "line",
        "x": {"label": "x", "values": [1, 2, 3]},
        "y": {"label": "y", "better": None},
        "series": [{"reference": False, **one} for one in series],
        "panels": [],
    }
    for chart in ("line", "bar"):
        plot_experiment({**result, "chart": chart}, tmp_path / f"{chart}.png")
        with Image.open(tmp_path / f"{chart}.png") as picture:
            assert picture.format == "PNG"


def test_the_command(tmp_path: Path) -> None:
    runner = CliRunner()
    listed = runner.invoke(app, ["experiment"])
    assert listed.exit_code == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(EXPERIMENTS)
    entries = json.loads(runner.invoke(app, ["experiment", "--json"]).stdout)
    assert [entry["name"] for entry in entries] == list(EXPERIMENTS)
    arguments = [
        "experiment",
        "xpool-figure-3b",
        "num_frames=2",
        "-m",
        "own=storyboard-clip",
        "--videos",
        "3",
    ]
    done = runner.invoke(app, [*arguments, "--output", str(tmp_path), "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert "own" in done.stdout
    assert "3 pairs" in done.stdout
    assert (tmp_path / "xpool-figure-3b.png").exists()
    done = runner.invoke(app, [*arguments, "--output", str(tmp_path), "--device", "cpu", "--json"])
    assert json.loads(done.stdout)["x"]["values"] == [1, 2]
