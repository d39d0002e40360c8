"""How a build is cut into chunks, and what a node does with one."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="ray is not installed: pip install 'framesift[ray]'")

from ray.data.exceptions import ExecutionTimeoutError
from ray.exceptions import RayError

from colour_model import write_clip
from framesift.errors import ClusterError, FingerprintError, UnknownModelError
from framesift.hub import load
from framesift.index import BuildConfig
from framesift.index.files import File, Todo, list_files
from framesift.index.schema import IndexMeta
from framesift.jobs import chunks, ray_index
from framesift.jobs.chunks import Chunk, ChunkEncoder, Loading
from framesift.jobs.cluster import Cluster, Node
from framesift.jobs.ray_index import CHUNK_VIDEOS, chunks_of, encode_on

MODEL = "storyboard-xpool"
QUICK = BuildConfig(workers=0)


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node knows its address from Ray, which does not run here."""
    monkeypatch.setattr(chunks, "_here", lambda: "somewhere (10.0.0.7)")


@pytest.fixture(scope="module")
def meta() -> IndexMeta:
    model = load(MODEL, device="cpu")
    return IndexMeta(
        fingerprint=model.fingerprint(),
        dim=model.dim,
        num_frames=model.num_frames,
        moments="whole",
        model=MODEL,
    )


def todo(count: int) -> list[Todo]:
    return [(File(uri=f"/{i}.mp4", size_bytes=1, mtime_ns=1), None) for i in range(count)]


@pytest.mark.parametrize(("videos", "actors"), [(1, 1), (7, 4), (100, 2), (5000, 3), (1, 50)])
def test_every_file_is_in_one_chunk_and_all_actors_have_work(videos: int, actors: int) -> None:
    files = todo(videos)
    cut = chunks_of(files, actors)
    assert [one for chunk in cut for one in chunk.todo] == files
    assert [chunk.number for chunk in cut] == list(range(len(cut)))
    assert max(len(chunk.todo) for chunk in cut) <= CHUNK_VIDEOS
    assert len(cut) >= min(videos, 4 * actors)


def test_a_chunk_becomes_rows_and_errors(tmp_path: Path, meta: IndexMeta) -> None:
    write_clip(tmp_path / "red.mp4", ["red"])
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    files, _ = list_files([tmp_path])
    gone = File(uri=str(tmp_path / "gone.mp4"), size_bytes=1, mtime_ns=1)
    other = File(uri=files[1].uri, size_bytes=files[1].size_bytes + 1, mtime_ns=1)
    encoder = ChunkEncoder(meta, QUICK, Loading(reference=MODEL, device="cpu"), 0)
    chunk = Chunk(number=3, todo=[(file, None) for file in [*files, gone, other]])
    (answer,) = encoder({"chunk": [pickle.dumps(chunk)]})["outcome"]
    outcome = pickle.loads(answer)
    assert (outcome.number, outcome.failure) == (3, None)
    encoded = outcome.encoded
    assert {os.path.basename(r.uri): r.status for r in encoded.records} == {
        "red.mp4": "ok",
        "broken.mp4": "failed",
    }
    assert len(encoded.moments) == 1
    assert encoded.computed_by == {"torch fp32": {}}
    assert [error.path for error in encoded.failed] == [str(tmp_path / "broken.mp4")]
    # neither is a fault of the file, so that nothing is stored of it
    assert [file for file, _ in encoded.put_off] == [gone, other]
    assert "node somewhere (10.0.0.7) does not see it" in str(encoded.put_off[0][1])
    assert "sees" in str(encoded.put_off[1][1])


def test_a_node_without_the_model_says_so_with_every_chunk(meta: IndexMeta) -> None:
    encoder = ChunkEncoder(meta, QUICK, Loading(reference="storyboard-nothing", device="cpu"), 0)
    for number in (0, 1):
        outcome = encoder.outcome(Chunk(number=number, todo=todo(1)))
        assert isinstance(outcome.failure, UnknownModelError)
        assert str(outcome.failure).startswith("node somewhere (10.0.0.7): ")
        assert str(outcome.failure).count("node somewhere") == 1


def test_a_node_with_another_model_says_so(meta: IndexMeta) -> None:
    encoder = ChunkEncoder(meta, QUICK, Loading(reference="storyboard-seqtransf", device="cpu"), 0)
    outcome = encoder.outcome(Chunk(number=0, todo=todo(1)))
    assert isinstance(outcome.failure, FingerprintError)


@pytest.mark.parametrize("failure", [ExecutionTimeoutError("no progress"), RayError("the head is gone")])
def test_a_cluster_that_falls_silent_or_fails_is_told_as_such(
    failure: Exception, meta: IndexMeta, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outcomes(*arguments: object, **options: object) -> Iterator[chunks.Outcome]:
        raise failure
        yield

    node = Node(id="a", host="10.0.0.1", cpus=2, gpus=0)
    monkeypatch.setattr(ray_index, "check_nodes", lambda cluster, paths: [node])
    monkeypatch.setattr(ray_index, "_outcomes", outcomes)
    encode = encode_on(Cluster(address="10.0.0.1:6379", wants_token=True), Loading(reference=MODEL))
    with pytest.raises(ClusterError, match="what was committed is kept"):
        list(encode(todo(1), meta, QUICK))
