"""Milvus Lite behind the engine: filling, changing, killing, rebuilding; and how it stands to exact scoring."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from framesift.candidates import milvus, milvus_server, milvus_sync
from framesift.candidates.arrays import ArrayVectors
from framesift.candidates.config import CandidateConfig
from framesift.candidates.exact import ExactCandidates
from framesift.candidates.milvus import MilvusCandidates, open_milvus
from framesift.candidates.milvus_server import MilvusServer
from framesift.candidates.milvus_stamp import FORMAT, Stamp
from framesift.candidates.milvus_sync import MomentBatch, Source, rebuild, status, sync
from framesift.errors import (
    ConfigError,
    FingerprintError,
    IndexNotFoundError,
    IndexStateError,
    InputError,
    MissingExtraError,
    StaleCandidatesWarning,
)

pytest.importorskip("pymilvus")
pytest.importorskip("milvus_lite")

ROWS, DIM, BATCH = 600, 16, 100
QUERIES = np.random.default_rng(9).standard_normal((6, DIM)).astype(np.float32)
QUERIES /= np.linalg.norm(QUERIES, axis=1, keepdims=True)


def unit_vectors(count: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


VECTORS = unit_vectors(ROWS)


def moment_id(row: int) -> str:
    return f"v{row // 3}:{row % 3}"


def source(
    rows: np.ndarray | range = range(ROWS),
    vectors: np.ndarray = VECTORS,
    *,
    version: str = "1.1.0",
    fingerprint: str = "f" * 32,
) -> Source:
    """An index of some rows of ``vectors``."""
    rows = np.asarray(rows)

    def batches() -> Iterator[MomentBatch]:
        for first in range(0, len(rows), BATCH):
            some = rows[first : first + BATCH].tolist()
            yield MomentBatch(
                moment_ids=[moment_id(row) for row in some],
                vectors=vectors[some],
            )

    return Source(
        name="/some.index",
        fingerprint=fingerprint,
        dim=vectors.shape[1],
        version=version,
        moments=len(rows),
        batches=batches,
    )


def release(uri: str) -> None:
    """Milvus Lite's thread for a file would otherwise live as long as the tests' process."""
    from milvus_lite.server_manager import server_manager_instance

    server_manager_instance.release_server(uri)


@pytest.fixture
def uri(tmp_path: Path) -> Iterator[str]:
    path = str(tmp_path / "milvus.db")
    yield path
    release(path)


@pytest.fixture
def server(uri: str) -> Iterator[MilvusServer]:
    with MilvusServer(uri, timeout_s=10.0) as opened:
        yield opened


def engine(
    uri: str,
    rows: np.ndarray | range = range(ROWS),
    vectors: np.ndarray = VECTORS,
    *,
    version: tuple[int, ...] | None = (1, 1, 0),
    fingerprint: str = "f" * 32,
) -> MilvusCandidates:
    return open_milvus(
        CandidateConfig(kind="milvus", milvus_uri=uri, milvus_collection="films"),
        moment_ids=lambda: [moment_id(row) for row in rows],
        vectors=ArrayVectors(vectors[np.asarray(rows)]),
        fingerprint=fingerprint,
        name="",
        version=version,
    )


def assert_exact(found: MilvusCandidates, vectors: np.ndarray, depth: int, allowed: np.ndarray | None = None):
    expected = ExactCandidates(ArrayVectors(vectors)).search(QUERIES, depth, allowed=allowed)
    got = found.search(QUERIES, depth, allowed=allowed)
    np.testing.assert_array_equal(got.rows, expected.rows)
    np.testing.assert_allclose(got.scores, expected.scores, atol=1e-6)


def held(server: MilvusServer, name: str = "films") -> set[str]:
    return {each for moment_ids, _ in server.digests(name) for each in moment_ids}


# ---- searching


def test_candidates_are_those_of_exact_scoring(
    uri: str, server: MilvusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milvus, "EXACT_ROWS", 0)
    report = sync(server, "films", source())
    assert (report.sent, report.deleted, report.moments, report.collection) == (ROWS, 0, ROWS, "films_1")
    found = engine(uri)
    for depth in (1, 20, 200):
        assert_exact(found, VECTORS, depth)
    for allowed in (np.arange(ROWS) % 3 == 0, VECTORS @ QUERIES[0] < 0, np.arange(ROWS) < 7):
        assert_exact(found, VECTORS, 20, allowed)
    assert_exact(found, VECTORS, ROWS)


def test_threads_may_share_an_engine(uri: str, server: MilvusServer) -> None:
    sync(server, "films", source())
    found = engine(uri)
    expected = ExactCandidates(ArrayVectors(VECTORS)).search(QUERIES, 20)

    def ask(number: int) -> list[int]:
        return found.search(QUERIES[number : number + 1], 20).rows[0].tolist()

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(ask, range(len(QUERIES)))) == expected.rows.tolist()


def test_nothing_is_compared_where_the_collection_is_of_the_same_version(
    uri: str, server: MilvusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync(server, "films", source())
    monkeypatch.setattr(milvus, "_fresh_rows", lambda *_: pytest.fail("compared"))
    engine(uri)
    with pytest.raises(pytest.fail.Exception):
        engine(uri, version=(1, 2, 0))
    with pytest.raises(pytest.fail.Exception):
        engine(uri, version=None)


def test_appended_and_changed_moments_are_found_before_the_next_sync(uri: str, server: MilvusServer) -> None:
    sync(server, "films", source(range(500)))
    vectors = VECTORS.copy()
    vectors[:20] = unit_vectors(20, seed=5)
    with pytest.warns(StaleCandidatesWarning, match="lacks 120 of 600 moments.*framesift milvus sync"):
        found = engine(uri, vectors=vectors, version=(2, 2, 0))
    assert_exact(found, vectors, 30)
    sync(server, "films", source(vectors=vectors, version="2.2.0"))
    assert_exact(engine(uri, vectors=vectors, version=(2, 2, 0)), vectors, 30)


def test_moments_that_left_the_gallery_are_not_found(uri: str, server: MilvusServer) -> None:
    sync(server, "films", source())
    rows = np.arange(0, ROWS, 2)
    assert_exact(engine(uri, rows, version=(2, 2, 0)), VECTORS[rows], 30)  # no warning: it lacks nothing


# ---- filling


def test_a_second_sync_sends_nothing(server: MilvusServer) -> None:
    sync(server, "films", source())
    again = sync(server, "films", source(version="1.2.0"))
    assert (again.sent, again.deleted, again.moments, again.collection) == (0, 0, ROWS, "films_1")
    assert server.find("films").stamp.version == "1.2.0"


def test_sync_sends_what_is_new_or_changed_and_deletes_what_is_gone(server: MilvusServer) -> None:
    sync(server, "films", source(range(500)))
    vectors = VECTORS.copy()
    vectors[40:45] = unit_vectors(5, seed=5)
    report = sync(server, "films", source(range(30, ROWS), vectors, version="2.2.0"))
    assert (report.sent, report.deleted, report.moments) == (105, 30, 570)
    assert held(server) == {moment_id(row) for row in range(30, ROWS)}
    assert server.count("films") == 570


def test_no_search_sees_a_collection_before_it_is_complete(uri: str, server: MilvusServer) -> None:
    seen: list[bool] = []
    sync(
        server, "films", source(), progress=lambda done, total: seen.append(server.find("films") is not None)
    )
    assert seen == [False] * 6
    assert server.find("films") is not None


def test_progress_counts_to_the_end(server: MilvusServer) -> None:
    seen: list[tuple[int, int]] = []
    sync(server, "films", source(range(250)), progress=lambda *counts: seen.append(counts))
    assert seen == [(100, 250), (200, 250), (250, 250)]


# ---- rebuilding


def test_a_rebuild_is_searched_once_it_is_complete(uri: str, server: MilvusServer) -> None:
    sync(server, "films", source(range(100)))
    found = engine(uri, range(100))
    names: list[str] = []
    report = rebuild(
        server,
        "films",
        source(version="2.2.0"),
        progress=lambda done, total: names.append(server.find("films").name),
    )
    assert set(names) == {"films_1"}
    assert (report.collection, report.sent) == ("films_2", ROWS)
    assert list(server.generations("films")) == [2]
    assert_exact(found, VECTORS[:100], 10)  # an engine that was open goes on with the new one
    assert_exact(engine(uri, version=(2, 2, 0)), VECTORS, 30)


def test_a_rebuild_takes_over_another_model_and_another_index(server: MilvusServer) -> None:
    sync(server, "films", source())
    other = np.pad(VECTORS, ((0, 0), (0, 4)))
    rebuild(server, "films", replace(source(vectors=other, fingerprint="e" * 32), name="/other.index"))
    stamp = server.find("films").stamp
    assert (stamp.fingerprint, stamp.dim, stamp.source) == ("e" * 32, DIM + 4, "/other.index")


def test_a_rebuild_that_broke_off_goes_on(server: MilvusServer) -> None:
    sync(server, "films", source(range(100)))

    def break_off(done: int, total: int) -> None:
        if done == 300:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(server, "films", source(version="2.2.0"), progress=break_off)
    before = status(server, "films", source(version="2.2.0"))
    assert (before.collection, before.unfinished, before.current) == ("films_1", ("films_2",), False)
    report = rebuild(server, "films", source(version="2.2.0"))
    assert (report.collection, report.sent, report.moments) == ("films_2", 300, ROWS)
    after = status(server, "films", source(version="2.2.0"))
    assert (after.collection, after.unfinished, after.current) == ("films_2", (), True)


KILLED = """
import os, signal, sys
sys.path[:0] = {paths!r}
import test_milvus as tests
from framesift.candidates.milvus_server import MilvusServer

def die(done, total):
    if done >= {after}:
        os.kill(os.getpid(), signal.SIGKILL)

with MilvusServer({uri!r}) as server:
    getattr(tests, {verb!r})(server, "films", tests.source(version="2.2.0"), progress=die)
"""


@pytest.mark.parametrize(("verb", "after"), [("sync", 100), ("sync", 500), ("rebuild", 300)])
def test_a_process_that_was_killed_is_gone_on_with(tmp_path: Path, uri: str, verb: str, after: int) -> None:
    if verb == "rebuild":
        with MilvusServer(uri) as server:
            sync(server, "films", source(range(100)))
        release(uri)
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    code = KILLED.format(paths=paths, after=after, uri=uri, verb=verb)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with MilvusServer(uri) as server:
        half = status(server, "films", source(version="2.2.0"))
        assert not half.current
        assert half.collection == ("films_1" if verb == "rebuild" else None)  # nobody searches half of it
        report = (sync if verb == "sync" else rebuild)(server, "films", source(version="2.2.0"))
        assert report.sent == ROWS - after
        assert held(server) == {moment_id(row) for row in range(ROWS)}
        assert status(server, "films", source(version="2.2.0")).current
    assert_exact(engine(uri, version=(2, 2, 0)), VECTORS, 30)


RESTLESS = """
import sys
sys.path[:0] = {paths!r}
import numpy as np
import test_milvus as tests
from framesift.candidates.milvus_server import MilvusServer

with MilvusServer({uri!r}) as server:
    print("ready", flush=True)
    for turn in range(1000):
        change = tests.rebuild if turn % 3 == 2 else tests.sync
        rows = np.arange(turn % 50, tests.ROWS - 37 * turn % 90)
        change(server, "films", tests.source(rows, version=f"{{turn}}.0.0"))
"""


@pytest.mark.slow
def test_killed_at_any_time_it_is_gone_on_with(uri: str) -> None:
    """Syncs and rebuilds of ever other rows, killed at random; what follows repairs whatever was left."""
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    code = RESTLESS.format(paths=paths, uri=uri)
    random = np.random.default_rng(0)
    for turn in range(20):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(random.uniform(0.02, 4.0))
            process.kill()
        with MilvusServer(uri) as server:
            now = source(version=f"9.{turn}.0")
            (sync if turn % 2 else rebuild)(server, "films", now)
            assert status(server, "films", now).current
            assert held(server) == {moment_id(row) for row in range(ROWS)}
        assert_exact(engine(uri, version=(9, turn, 0)), VECTORS, 30)
        release(uri)


# ---- what goes wrong


def test_another_model_is_refused_and_nothing_changes(uri: str, server: MilvusServer) -> None:
    sync(server, "films", source())
    with pytest.raises(
        FingerprintError, match=r"another model \(ffffffffffff, 16 .*framesift milvus rebuild"
    ):
        sync(server, "films", source(fingerprint="e" * 32))
    with pytest.raises(FingerprintError, match="another model"):
        engine(uri, fingerprint="e" * 32)
    assert status(server, "films", source()).current
    assert not status(server, "films", source(fingerprint="e" * 32)).same_features


def test_another_width_is_refused(uri: str, server: MilvusServer) -> None:
    sync(server, "films", source())
    with pytest.raises(InputError, match="16 dimensions, the index has 20"):
        engine(uri, vectors=np.pad(VECTORS, ((0, 0), (0, 4))))


def test_another_index_does_not_take_a_collection_by_mistake(server: MilvusServer) -> None:
    sync(server, "films", source())
    with pytest.raises(IndexStateError, match=r"from the index '/some[.]index', not from '/other[.]index'"):
        sync(server, "films", replace(source(), name="/other.index"))
    assert server.count("films") == ROWS


def test_a_collection_of_somebody_else_is_left_alone(uri: str, server: MilvusServer) -> None:
    from pymilvus import MilvusClient

    client = MilvusClient(uri)
    client.create_collection("films", dimension=4)
    for action in (sync, rebuild, status):
        with pytest.raises(IndexStateError, match="was not made by framesift"):
            action(server, "films", source())
    assert client.list_collections() == ["films"]
    client.close()


def test_a_numbered_collection_is_not_filled_under_its_own_name(server: MilvusServer) -> None:
    sync(server, "films", source())
    for action in (sync, rebuild):
        with pytest.raises(IndexStateError, match="is a collection itself"):
            action(server, "films_1", source())


@pytest.mark.parametrize("other", [FORMAT - 1, FORMAT + 1])
def test_a_collection_of_another_format_is_told(uri: str, server: MilvusServer, other: int) -> None:
    sync(server, "films", source())
    server.stamp("films_1", Stamp(fingerprint="f" * 32, dim=DIM, source="/some.index", format=other))
    with pytest.raises(
        IndexStateError, match=f"format {other}, this framesift knows format {FORMAT}; fill it"
    ):
        engine(uri)
    rebuild(server, "films", source())
    engine(uri)


def test_a_collection_that_is_missing_is_told(uri: str, server: MilvusServer) -> None:
    with pytest.raises(IndexNotFoundError, match=r"no collection 'films' .*framesift milvus sync"):
        engine(uri)
    assert status(server, "films", source()).collection is None
    sync(server, "films", source())
    found = engine(uri)
    server._client.drop_alias("films")
    with pytest.raises(IndexStateError, match="does not exist; fill it with: framesift milvus sync"):
        found.search(QUERIES, 5)


def test_errors_are_said_once_and_not_logged(server: MilvusServer, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(IndexStateError, match="cannot search Milvus at"):
        server.search("nothing", QUERIES, 5)
    assert server.find("nothing") is None
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_a_server_that_is_away_is_told() -> None:
    with pytest.raises(
        IndexStateError, match=r"cannot connect to Milvus at http://127.0.0.1:1: .*is it running"
    ):
        MilvusServer("http://127.0.0.1:1", timeout_s=1.0)


def test_a_server_that_goes_away_is_told(uri: str, server: MilvusServer) -> None:
    sync(server, "films", source())
    gone = MilvusServer(uri, timeout_s=1.0)
    release(uri)
    with pytest.raises(IndexStateError, match="cannot search Milvus at"):
        gone.search("films", QUERIES, 5)
    gone.close()


def test_a_file_that_another_process_has_open_is_told(tmp_path: Path, uri: str) -> None:
    MilvusServer(uri).close()
    code = (
        "from framesift.candidates.milvus_server import MilvusServer\n"
        "from framesift.errors import IndexStateError\n"
        f"try: MilvusServer({uri!r})\nexcept IndexStateError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "is open in one process at a time" in done.stdout, done.stderr
    assert done.stderr == ""


def test_what_the_configuration_lacks() -> None:
    shared = {
        "name": "films",
        "moment_ids": list,
        "vectors": ArrayVectors(VECTORS),
        "fingerprint": "f" * 32,
    }
    with pytest.raises(ConfigError, match="milvus_uri is not set"):
        open_milvus(CandidateConfig(kind="milvus"), **shared)
    with pytest.raises(ConfigError, match="one vector a moment"):
        open_milvus(CandidateConfig(kind="milvus", milvus_uri="http://h:1", by="frame"), **shared)


@pytest.mark.parametrize("uri", ["localhost:19530", "milvus", "ftp://host", "http://", ""])
def test_what_is_no_address(uri: str) -> None:
    with pytest.raises(InputError, match="is no address of a Milvus server"):
        MilvusServer(uri)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(InputError, match="FRAMESIFT_MILVUS_TOKEN") as caught:
        MilvusServer("http://root:secret@host:19530")
    assert "secret" not in str(caught.value)


def test_a_token_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}

    class Server:
        def __init__(self, uri: str, **options: object) -> None:
            given.update(options)
            raise IndexStateError("far enough")

    monkeypatch.setattr(milvus, "MilvusServer", Server)
    monkeypatch.setenv("FRAMESIFT_MILVUS_TOKEN", "root:secret")
    with pytest.raises(IndexStateError, match="far enough"):
        engine("http://h:1")
    assert given == {"token": "root:secret"}


def test_without_pymilvus_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(MissingExtraError, match=r"framesift\[milvus\]"):
        MilvusServer("http://127.0.0.1:1")


def test_pymilvus_is_imported_when_it_is_needed() -> None:
    code = "import framesift.candidates.milvus, framesift.candidates.milvus_sync, sys; print('pymilvus' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_milvus_lite_listens_on_this_machine_only_and_leaves_no_process(server: MilvusServer) -> None:
    sync(server, "films", source())
    own = psutil.Process(os.getpid())
    listening = [each.laddr.ip for each in own.net_connections("inet") if each.status == psutil.CONN_LISTEN]
    assert listening
    assert {ip.removeprefix("::ffff:") for ip in listening} <= {"127.0.0.1", "::1"}
    assert own.children(recursive=True) == []


def test_a_large_request_is_cut_into_several(server: MilvusServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milvus_sync, "BATCH_BYTES", 4 * DIM * 30)
    monkeypatch.setattr(milvus_server, "LISTED_AT_ONCE", 70)
    monkeypatch.setattr(milvus_server, "DELETED_AT_ONCE", 9)
    sync(server, "films", source())
    assert sync(server, "films", source(range(50, ROWS))).deleted == 50
    assert held(server) == {moment_id(row) for row in range(50, ROWS)}


def test_many_queries_are_asked_in_several_requests(
    uri: str, server: MilvusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milvus_server, "HITS_AT_ONCE", 80)
    sync(server, "films", source())
    assert_exact(engine(uri), VECTORS, 20)
