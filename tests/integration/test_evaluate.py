"""``framesift evaluate`` as a user meets it: real clips, a published matrix, and every mistake of an order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from framesift.cli.main import app
from framesift.data.catalog import load_split
from framesift.errors import DatasetError, FramesiftError, InputError
from framesift.storyboard import standard, write_split


def run(*arguments: str | Path, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    if isinstance(done.exception, FramesiftError):
        raise done.exception
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout


def as_json(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
    return json.loads(run(*arguments, "--json", code=code))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, real_data: Path) -> tuple[Path, Path, dict[str, Any]]:
    """The published matrix, the folder of annotation files, and the numbers to be had."""
    folder = real_data / "precomputed"
    if not folder.is_dir():
        pytest.skip(f"no published matrix at {folder}")
    expected = json.loads((folder / "expected.json").read_text())
    return folder / expected["matrix"], real_data / "annotations", expected


def assert_metrics(found: dict[str, Any], want: dict[str, float]) -> None:
    row = {f"R@{k}": value for k, value in found["recall_at"].items()}
    row |= {"MedR": found["median_rank"], "MeanR": found["mean_rank"]}
    assert row == pytest.approx({name: want[name] for name in row})


def test_the_published_matrix_is_judged(published: tuple[Path, Path, dict[str, Any]]) -> None:
    matrix, root, expected = published
    result = as_json("--similarity", matrix, "--benchmark", "msrvtt-1ka", "--root", root, "--ties", "optimistic",
                     "--dsl", "20", "--dsl", "100")  # fmt: skip
    for way in ("t2v", "v2t"):
        assert_metrics(result[way], expected[way]["opt"])
    assert (result["t2v"]["tied_queries"], result["v2t"]["tied_queries"]) == (0, 9)
    assert result["warnings"] == []
    for temperature, other in zip((20, 100), result["beside"].values(), strict=True):
        for name, want in expected[f"dsl_tau{temperature}"].items():
            assert_metrics(other[name[:3]], want)
        assert "transductive" in other["source"]


def test_querybank_normalization_gives_the_published_values(
    published: tuple[Path, Path, dict[str, Any]], tmp_path: Path
) -> None:
    matrix, root, expected = published
    x = np.load(matrix)
    np.save(tmp_path / "test.npy", x[:500])
    np.save(tmp_path / "bank.npy", x[500:])
    (tmp_path / "rows.json").write_text(json.dumps(list(range(500))))
    for beta in (20, 50, 100):
        result = as_json("--similarity", tmp_path / "test.npy", "--benchmark", "msrvtt-1ka", "--root", root,
                         "--texts", tmp_path / "rows.json", "--qb-norm", tmp_path / "bank.npy",
                         "--beta", str(beta))  # fmt: skip
        want = expected[f"qbnorm_dis_beta{beta}_k1"]
        assert_metrics(result["t2v"], want["before"])
        (column,) = result["beside"].values()
        assert_metrics(column["t2v"], want["test texts 0-499, bank texts 500-999, gallery all 1000 videos"])
        assert "bank.npy, 500 queries" in column["source"]
        assert "500 of the 1,000 texts" in result["warnings"][0]


def test_a_mixed_up_order_or_split_is_told(
    published: tuple[Path, Path, dict[str, Any]], tmp_path: Path
) -> None:
    matrix, root, _ = published
    split = load_split("msrvtt-1ka", "test", root)
    order = np.random.default_rng(0).permutation(1000)
    np.save(tmp_path / "shuffled.npy", np.load(matrix)[:, order])
    (tmp_path / "ids.txt").write_text("\n".join(split.videos[place] for place in order))
    plain = ["--similarity", tmp_path / "shuffled.npy", "--benchmark", "msrvtt-1ka", "--root", root]
    blind = as_json(*plain)
    assert "no better than chance" in blind["warnings"][-1]
    seen = as_json(*plain, "--videos", tmp_path / "ids.txt")
    assert seen["t2v"]["recall_at"]["1"] == 48.0
    assert f"your column 0 is the benchmark's column {order[0]}" in seen["warnings"][0]
    train = load_split("msrvtt-full", "train", root)
    (tmp_path / "other.txt").write_text("\n".join([*train.videos, *split.videos][: len(train.videos)]))
    with pytest.raises(DatasetError, match="videos of msrvtt-full train are among them"):
        run(*plain, "--videos", tmp_path / "other.txt")
    (tmp_path / "trained.txt").write_text("\n".join([*train.videos[:9], *split.videos[:4]]))
    tainted = as_json("--similarity", matrix, *plain[2:], "--trained-on", tmp_path / "trained.txt")
    assert tainted["trained_and_tested"]["videos"] == 4
    assert "4 of the 1,000 tested videos were trained on" in tainted["warnings"][-1]


def test_matrices_without_annotation_files(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(1000, 1000))
    np.save(tmp_path / "a.npy", x + 3 * np.eye(1000))
    np.save(tmp_path / "b.npy", x + 2 * np.eye(1000))
    order = np.random.default_rng(1).permutation(1000)
    np.save(tmp_path / "order.npy", order)
    np.save(tmp_path / "again.npy", (x + 3 * np.eye(1000))[order])
    np.save(tmp_path / "leak.npy", x[order] + 3 * np.eye(1000))
    plain = ["--similarity", tmp_path / "a.npy", "--benchmark", "msrvtt-1ka"]
    result = as_json(*plain, "--against", tmp_path / "b.npy")
    assert result["split"]["content_hash"] is None
    (r1,) = [row for row in result["differences"] if row["metric"] == "t2v_r1"]
    assert r1["low"] > 0
    assert r1["p"] < 1e-3
    proof = ["--permutation", tmp_path / "order.npy", "--permuted"]
    assert as_json(*plain, *proof, tmp_path / "again.npy")["leak_check"]["ok"]
    with pytest.raises(InputError, match="the scores leak"):
        run(*plain, *proof, tmp_path / "leak.npy")
    with pytest.raises(InputError, match="go together"):
        run(*plain, "--permuted", tmp_path / "again.npy")
    with pytest.raises(InputError, match="--root DIR is needed"):
        run("--similarity", tmp_path / "a.npy", "--benchmark", "msvd")
    assert "leaks: not checked" in run(*plain)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six captions: four clips that are there, one that is broken, one that is missing."""
    folder = tmp_path_factory.mktemp("own")
    board = standard(5)
    paths = write_split(board.videos, folder, size_px=64)
    paths[4].write_bytes(b"no video")
    rows = [f'{path.name},"{text}"' for path, text in zip(paths, board.texts, strict=True)]
    (folder / "own.csv").write_text("\n".join(["video,caption", *rows, "gone.mp4,a clip that is not here"]))
    return folder


def test_ones_own_clips_are_measured_and_what_is_missing_is_counted(own: Path, tmp_path: Path) -> None:
    first = tmp_path / "first.json"
    result = as_json("storyboard-xpool", "--data", own / "own.csv", "--split", "all", "--probe", "--dsl", "100",
                     "--output", first, code=3)  # fmt: skip
    assert (result["split"]["videos"], result["split"]["captions"]) == (4, 4)
    assert "2 of 6 videos are missing" in result["split"]["notes"][-1]
    assert result["missing_videos"] == ["gone.mp4"]
    assert len(result["failed_videos"]) == 1
    assert result["leak_check"]["ok"]
    assert result["temporal_probe"]["reversed"]["difference"]["value"] == 0, "X-Pool does not see order"
    assert list(result["beside"])
    second = tmp_path / "second.json"
    run("storyboard-clip", "--data", own / "own.csv", "--split", "all", "--output", second, code=3)
    compared = as_json("--compare", first, second)
    assert compared["split"]["content_hash"] == result["split"]["content_hash"]
    assert {row["metric"] for row in compared["differences"]} >= {"t2v_r1", "v2t_mnr"}
    assert "95 % interval" in run("--compare", first, second)
    assert as_json("--seeds", first, second)["t2v"]["R@1"]["n"] == 2
    assert "single seed" in run("--seeds", first)


def test_mistakes_are_named(own: Path, tmp_path: Path) -> None:
    for arguments, message in {
        (): "got 0 models",
        ("a", "b"): "got 2 models",
        ("storyboard-clip",): "say what to measure on",
        ("storyboard-clip", "--benchmark", "storyboard/nonsense"): "no slice 'nonsense'",
        ("storyboard-clip", "--benchmark", "msvd"): "--root DIR is needed",
        ("--compare", "a.json"): "two result files",
        ("--compare", "--seeds", "a", "b"): "one at a time",
        ("--seeds",): "got none",
        ("m", "--against", "x.npy", "--benchmark", "msvd"): "goes with --similarity",
        ("m", "--similarity", "x.npy", "--benchmark", "msvd"): "leave out the model",
        ("--similarity", "x.csv", "--benchmark", "msvd"): "cannot read",
    }.items():
        with pytest.raises(FramesiftError, match=message):
            run(*arguments)
