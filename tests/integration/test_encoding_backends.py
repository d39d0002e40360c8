"""From the command line to the facts of an index: what computes the encoder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from framesift.cli.main import app
from framesift.errors import InputError
from framesift.hub import load
from framesift.index import BuildConfig, Index
from framesift.storyboard import storyboards, write_split


@pytest.fixture(autouse=True)
def _nothing_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No towers of other runs, and nothing said in the environment about the arithmetic."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("FRAMESIFT_BACKEND", "FRAMESIFT_PRECISION", "FRAMESIFT_FORCE_PRECISION"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, [str(part) for part in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_index_search_and_info(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index, videos = tmp_path / "an.index", tmp_path / "videos"
    paths = write_split(storyboards("test", 3), videos)
    build = ("index", "--index", index, "-m", "storyboard-clip", "--workers", "0", "--json")
    run(*build, "--precision", "bf16", "--backend", "torch", *paths[:2])
    monkeypatch.setenv("FRAMESIFT_PRECISION", "fp32")
    monkeypatch.setenv("FRAMESIFT_BACKEND", "openvino")
    run(*build, paths[2])
    encoded = json.loads(run("info", "--index", index, "--json"))["encoded"]
    assert list(encoded) == ["torch bf16", "openvino fp32"]
    assert 0.998 < encoded["torch bf16"]["frame_least"] < 1
    assert encoded["openvino fp32"] == {}
    assert "torch bf16 (cosine to fp32 0.99" in run("info", "--index", index)

    found = {}
    for backend in ("torch", "openvino"):
        hits = json.loads(
            run(
                "search",
                "a red circle",
                "--index",
                index,
                "--backend",
                backend,
                "--precision",
                "fp32",
                "--json",
            )
        )["hits"]
        found[backend] = [(hit["video"], round(hit["score"], 4)) for hit in hits]
    assert len(found["torch"]) == 3
    assert found["torch"] == found["openvino"]


def test_facts_name_what_encoded_and_keep_what_others_entered_meanwhile(tmp_path: Path) -> None:
    path, here = tmp_path / "an.index", BuildConfig(workers=0)
    videos = write_split(storyboards("test", 2), tmp_path / "videos")
    exact = load("storyboard-clip", device="cpu", backend="torch")
    with Index.create(path, model=exact, moments="whole") as early:
        coarse = load("storyboard-clip", device="cpu", backend="torch", dtype="bf16")
        with Index.open(path, model=coarse) as other:
            other.add(videos[0], config=here)
        early.add(videos[0], config=here)
        assert list(early.info().encoded) == ["torch bf16"], "nothing was encoded in fp32"
        early.add(videos[1], config=here)
        assert list(early.info().encoded) == ["torch bf16", "torch fp32"]


def test_what_cannot_be_computed_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    paths = write_split(storyboards("test", 1), tmp_path / "videos")
    index = tmp_path / "an.index"
    with pytest.raises(InputError, match=r"int8.*pip install 'framesift\[openvino\]'"):
        run(
            "index",
            "--index",
            index,
            "-m",
            "storyboard-clip",
            "--precision",
            "int8",
            "--backend",
            "torch",
            *paths,
        )
    assert not index.exists()
