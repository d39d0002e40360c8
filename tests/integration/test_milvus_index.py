"""An index whose candidates come from Milvus Lite: the hits of exact scoring, and what the command line says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from typer.testing import CliRunner

from colour_model import ColourModel
from framesift.candidates import CandidateConfig
from framesift.candidates import milvus as milvus_candidates
from framesift.cli.main import app
from framesift.errors import InputError, StaleCandidatesWarning
from framesift.index import Index
from framesift.index.milvus import milvus_status, rebuild_milvus, sync_milvus
from framesift.index.schema import VideoRecord, moments_schema
from framesift.ranking import Ranking, rank
from framesift.search.searcher import Searcher

pytest.importorskip("pymilvus")
pytest.importorskip("milvus_lite")

DIM, FRAMES, VIDEOS, MOMENTS = 4, 3, 60, 5
TEXTS = ["red", "blue and white", "something cyan", "green", "yellow or red"]


def record(number: int) -> VideoRecord:
    return VideoRecord(
        video_id=f"{number:032x}",
        uri=f"/films/{number % 3}/{number}.mp4",
        content_hash=f"{number}",
        mtime_ns=10**18 + number,
        size_bytes=1,
        duration_s=None if number % 7 == 0 else 50.0,
        added_at="2026-01-01T00:00:00+00:00",
    )


def moments(numbers: range) -> pa.Table:
    """Moments of random frames, with vectors as a build makes them."""
    rows = []
    for number in numbers:
        frames = np.random.default_rng(number).standard_normal((MOMENTS, FRAMES, DIM)).astype(np.float16)
        units = frames.astype(np.float32) / np.linalg.norm(frames.astype(np.float32), axis=-1, keepdims=True)
        means = units.mean(axis=1)
        rows += [
            {
                "moment_id": f"{number:032x}:{place}",
                "video_id": f"{number:032x}",
                "start_s": 10.0 * place,
                "end_s": 10.0 * place + 10.0,
                "vector": means[place] / np.linalg.norm(means[place]),
                "frames": frames[place].reshape(-1),
                "frame_times_s": [10.0 * place + second for second in (1.0, 5.0, 9.0)],
                "fingerprint": ColourModel().fingerprint(),
            }
            for place in range(MOMENTS)
        ]
    return pa.Table.from_pylist(rows, schema=moments_schema(DIM))


def put(index: Path, numbers: range) -> None:
    """Commit videos as a build does, without any file behind them."""
    with Index.open(index) as opened, opened._writing() as store:
        store.commit([record(number) for number in numbers], moments(numbers), known=())


@pytest.fixture
def index(tmp_path: Path) -> Path:
    path = tmp_path / "my films.index"
    Index.create(path, model=ColourModel()).close()
    put(path, range(VIDEOS))
    return path


@pytest.fixture
def uri(tmp_path: Path) -> Iterator[str]:
    from milvus_lite.server_manager import server_manager_instance

    path = str(tmp_path / "milvus.db")
    yield path
    server_manager_instance.release_server(path)


def ranked(index: Path, config: CandidateConfig) -> Ranking:
    model = ColourModel()
    with Index.open(index, candidates=config) as opened:
        return rank(model.encode_text(TEXTS), opened.gallery(), model.matcher, depth=30)


def assert_same_hits(index: Path, uri: str) -> None:
    """Not only candidates, but rows and scores after matching; and Milvus was asked for them."""
    asked: list[int] = []
    search = milvus_candidates.MilvusServer.search

    def watched(server: object, name: str, queries: np.ndarray, limit: int) -> list[list[str]]:
        asked.append(len(queries))
        return search(server, name, queries, limit)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(milvus_candidates.MilvusServer, "search", watched)
        found = ranked(index, CandidateConfig(kind="milvus", milvus_uri=uri))
    expected = ranked(index, CandidateConfig(kind="exact", by="mean"))
    assert sum(asked) >= len(TEXTS)
    assert found.rows.tolist() == expected.rows.tolist()
    torch.testing.assert_close(found.scores, expected.scores)


def test_hits_are_those_of_exact_candidates_after_every_change(index: Path, uri: str) -> None:
    report = sync_milvus(index, uri=uri)
    assert (report.name, report.sent) == ("framesift_my_films_index", VIDEOS * MOMENTS)
    assert_same_hits(index, uri)

    put(index, range(VIDEOS, VIDEOS + 4))
    with pytest.warns(StaleCandidatesWarning, match="lacks 20 of 320 moments"):
        assert_same_hits(index, uri)
    assert sync_milvus(index, uri=uri).sent == 20
    assert_same_hits(index, uri)

    with Index.open(index) as opened:
        opened.remove("/films/1")
    assert_same_hits(index, uri)
    report = sync_milvus(index, uri=uri)
    assert (report.sent, report.deleted, report.moments) == (0, 105, 215)
    assert_same_hits(index, uri)


def test_all_of_it_can_be_made_again_from_the_index(index: Path, uri: str, tmp_path: Path) -> None:
    sync_milvus(index, uri=uri)
    assert rebuild_milvus(index, uri=uri).collection == "framesift_my_films_index_2"
    assert_same_hits(index, uri)
    lost = str(tmp_path / "another.db")
    rebuild_milvus(index, uri=lost)
    assert_same_hits(index, lost)
    from milvus_lite.server_manager import server_manager_instance

    server_manager_instance.release_server(lost)


def found(index: Path, query: str, config: CandidateConfig) -> list[dict[str, object]]:
    with Index.open(index, model=ColourModel(), candidates=config) as opened:
        results = Searcher(opened).search(query, k=10, depth=30).results
    return [result.to_dict() for result in results]


@pytest.mark.parametrize("query", ["red folder:1", "blue shorter:60s", "green longer:1h", "red name:1*.mp4"])
def test_filters_act_before_the_cut(
    index: Path, uri: str, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milvus_candidates, "EXACT_ROWS", 0)  # Milvus is asked, however little is left
    sync_milvus(index, uri=uri)
    exact = found(index, query, CandidateConfig(kind="exact", by="mean"))
    assert found(index, query, CandidateConfig(kind="milvus", milvus_uri=uri)) == exact
    assert len(exact) == (0 if "1h" in query else 10)


def test_a_new_tag_can_be_filtered_by_and_has_nothing_sent(index: Path, uri: str) -> None:
    sync_milvus(index, uri=uri)
    with Index.open(index) as opened:
        opened.tag("/films/2/2.mp4", add=["Beach"])
    results = found(index, "red tag:beach", CandidateConfig(kind="milvus", milvus_uri=uri))
    assert {result["video"] for result in results} == {"/films/2/2.mp4"}
    assert not milvus_status(index, uri=uri).current  # it is of an earlier version, which costs a comparison
    assert sync_milvus(index, uri=uri).sent == 0
    assert milvus_status(index, uri=uri).current


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command itself: what it prints, and what its libraries print."""
    return subprocess.run(
        [sys.executable, "-m", "framesift", "milvus", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "200"} | environment,
    )


def test_the_command_says_what_it_did_and_nothing_else(index: Path, uri: str) -> None:
    shared = ("--index", str(index), "--uri", uri)
    done = run("sync", *shared, "--json", FRAMESIFT_MILVUS_TOKEN="root:secret")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert (report["moments"], report["sent"], report["collection"]) == (
        300,
        300,
        "framesift_my_films_index_1",
    )
    done = run("rebuild", *shared)
    assert done.returncode == 0
    assert done.stdout == ""
    assert "300 moments, 300 sent, 0 deleted" in done.stderr
    assert "secret" not in done.stderr


def test_the_command_tells_what_is_wrong(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from framesift.errors import IndexNotFoundError, IndexStateError

    runner = CliRunner()

    def error_of(*arguments: str) -> Exception:
        result = runner.invoke(app, ["milvus", "sync", *arguments])
        assert isinstance(result.exception, Exception)
        return result.exception

    away = error_of("--index", str(index), "--uri", "http://127.0.0.1:1")
    assert isinstance(away, IndexStateError)
    assert "is it running there" in str(away)
    nowhere = error_of("--index", str(tmp_path / "none"), "--uri", "http://127.0.0.1:1")
    assert isinstance(nowhere, IndexNotFoundError)
    unset = error_of("--index", str(index), "--uri", "http://127.0.0.1:1", "--token-env", "MISSPELT")
    assert isinstance(unset, InputError)
    assert "'MISSPELT' of --token-env is not set" in str(unset)
    assert isinstance(error_of("--index", str(index), "--uri", "nothing"), InputError)


def test_status_says_what_to_do(index: Path, uri: str) -> None:
    shared = ["--index", str(index), "--uri", uri]

    def status() -> str:
        result = CliRunner().invoke(app, ["milvus", "status", *shared])
        assert result.exit_code == 0, result.exception
        return result.stdout

    assert "is not there; fill it with: framesift milvus sync" in status()
    sync_milvus(index, uri=uri)
    assert "up to date" in status()
    put(index, range(VIDEOS, VIDEOS + 1))
    assert "300 of 305" in status()
    assert "behind: framesift milvus sync" in status()
    result = CliRunner().invoke(app, ["milvus", "status", *shared, "--json"])
    assert json.loads(result.stdout)["current"] is False
