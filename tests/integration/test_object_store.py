"""Indexes in an object store: a local server that speaks S3, and everything that may go wrong with one."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from typer.testing import CliRunner

from colour_model import COLOURS, ColourModel, write_clip
from framesift.cli.main import app
from framesift.errors import (
    IndexLockedError,
    IndexNotFoundError,
    IndexStateError,
    InputError,
    MissingExtraError,
)
from framesift.index import BuildConfig, Index
from framesift.index.location import ObjectUri
from framesift.index.object_store import lease as lease_module
from framesift.index.object_store.objects import Objects
from framesift.index.object_store.place import ObjectStorePlace
from framesift.index.store import Store
from framesift.storyboard import storyboards, write_split
from framesift.web.library import Libraries
from index_rows import META, moments, record
from object_store import BUCKET, ENVIRONMENT, object_store

TESTS = Path(__file__).parents[1]
HERE = BuildConfig(workers=0)

BUILD = """
import sys
sys.path.insert(0, sys.argv[1])
from colour_model import ColourModel
from framesift.index import BuildConfig, Index
with Index.open(sys.argv[2], model=ColourModel()) as index:
    def said(progress):
        print(progress.done, flush=True)
    index.add(sys.argv[3], config=BuildConfig(workers=0, batch_frames=4, commit_videos=1), progress=said)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    with object_store() as environment:
        yield environment


@pytest.fixture
def uri(
    server: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> str:
    """A place of one test, with the environment that leads there."""
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return f"s3://{BUCKET}/{request.node.name.replace('[', '-').replace(']', '')}/films"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for colour in COLOURS:
        write_clip(folder / f"{colour}.mp4", [colour])
    (folder / "red.srt").write_text("1\n00:00:00,000 --> 00:00:00,900\nthe fox is red\n")
    return folder


@pytest.fixture
def store(uri: str) -> Store:
    """An index with one video, made without one."""
    place = ObjectStorePlace(_parsed(uri))
    with place.writing():
        made = Store.create(place, META)
        META.write(place)
        made.commit([record("a")], moments(("a", 0.0)), known=[])
    return made


def _parsed(uri: str) -> ObjectUri:
    _, _, bucket, *parts = uri.split("/")
    return ObjectUri("s3", bucket, "/".join(parts))


def _objects(uri: str) -> dict[str, bytes]:
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    prefix = uri.removeprefix(f"s3://{BUCKET}/")
    listed = client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    found = {one["Key"]: client.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read() for one in listed}
    client.close()
    return found


def test_an_index_does_what_one_in_a_directory_does(uri: str, clips: Path, tmp_path: Path) -> None:
    hits = []
    for place in (uri, str(tmp_path / "films")):
        with Index.create(place, model=ColourModel(), moments="whole") as index:
            assert str(index.path) == place
            assert index.add(clips, config=HERE).added == len(COLOURS)
            assert index.add(clips, config=HERE).skipped == len(COLOURS)
            hits.append([(hit.video, round(hit.score, 5)) for hit in index.search("red or blue", k=9)])
            assert [hit.text for hit in index.subtitles.search("fox")] == ["the fox is red"]
            index.tag(clips / "red.mp4", add=["warm"])
            index.publish()
            assert index.remove(clips / "blue.mp4") == [str(clips / "blue.mp4")]
            assert index.prune() == []
            index.compact()
            assert index.verify().problems == []
            summary = index.info()
            assert (summary.videos, summary.moments, summary.cues) == (5, 5, 1)
            assert summary.size_bytes > 1000
            assert [one.tags for one in index.records_of(clips / "red.mp4")] == [("warm",)]
        with Index.open(place, model=ColourModel(), tag="live") as published:
            assert len(published) == len(COLOURS)
            assert len(published.search("blue", k=20, unit="video")) == len(COLOURS)
            with pytest.raises(IndexStateError, match="cannot be changed"):
                published.prune()
        with pytest.raises(IndexStateError, match="there is an index at"):
            Index.create(place, model=ColourModel())
    assert hits[0] == hits[1]
    assert not any(b"a-secret-that-is-never-shown" in content for content in _objects(uri).values())


def test_the_command_line_takes_a_uri_wherever_it_takes_a_directory(uri: str, tmp_path: Path) -> None:
    write_split(storyboards("test", 2), tmp_path / "videos")

    def run(*arguments: object) -> str:
        done = CliRunner().invoke(app, [*map(str, arguments), "-i", uri])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert done.exit_code == 0, done.output
        return done.stdout

    report = json.loads(run("index", tmp_path / "videos", "-m", "storyboard-xpool", "--workers", 0, "--json"))
    assert report["index"]["path"] == uri
    assert report["added"] == 2
    done = CliRunner().invoke(app, ["publish", "-i", uri])
    assert done.stdout.startswith("live is 2 videos")
    assert f"framesift serve --index {uri} --tag live" in done.stderr
    assert json.loads(run("search", "a red circle", "--tag", "live", "--json"))["hits"]
    assert run("info", "--verify").count("FAIL") == 0
    video = next((tmp_path / "videos").rglob("*.mp4"))
    assert "round" in run("tag", video, "--add", "round")
    video.unlink()
    assert json.loads(run("index", "--prune", "--compact", "--json"))["pruned"] == [str(video)]
    libraries = Libraries({"films": uri})
    assert [one.uri for one in libraries.get("films").catalogue.records] != [str(video)]
    assert libraries.get("films").info()["path"] == uri
    libraries.close()


def test_a_reader_sees_commits_of_others_soon(store: Store) -> None:
    reader = Store(ObjectStorePlace(store.index), refresh_s=0.2)
    patient = Store(ObjectStorePlace(store.index))
    assert reader.num_moments() == patient.num_moments() == 1
    with store.place.writing():
        store.commit([record("b")], moments(("b", 0.0)), known=[])
    assert patient.num_moments() == 1, "it looks every few seconds only"
    time.sleep(0.2)
    assert reader.num_moments() == 2
    patient.look_again()
    assert patient.num_moments() == 2


def test_of_two_writers_one_is_refused_with_the_other_named(store: Store, clips: Path) -> None:
    other = ObjectStorePlace(store.index)
    with store.place.writing():
        with (
            pytest.raises(IndexLockedError, match=rf"process {os.getpid()} on .* is writing") as caught,
            other.writing(),
        ):
            pass
        assert "may write from" in str(caught.value)
        store.commit([record("b")], moments(("b", 0.0)), known=[])
    with other.writing():
        assert len(Store(other).records()) == 2


def test_a_race_for_the_lease_has_one_winner(store: Store) -> None:
    start = threading.Barrier(6)
    held, refused = [], []

    def want() -> None:
        place = ObjectStorePlace(store.index)
        start.wait()
        try:
            with place.writing():
                held.append(1)
                assert len(held) == 1
                time.sleep(1.0)
                held.pop()
        except IndexLockedError as error:
            refused.append(error)

    threads = [threading.Thread(target=want) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 5


def test_a_lease_that_ran_out_is_taken_over_and_its_holder_cannot_commit(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "LEASE_S", 0.6)
    monkeypatch.setattr(lease_module, "SKEW_S", 0.1)
    monkeypatch.setattr(lease_module, "FRESH_S", 0.0)
    slow, quick = ObjectStorePlace(store.index), ObjectStorePlace(store.index)
    with monkeypatch.context() as patch:
        patch.setattr(lease_module.Lease, "_keep", lambda _: None)  # it hangs, or its network does
        with slow.writing():
            hanging = Store(slow, refresh_s=0.0)
            hanging.commit([record("b")], moments(("b", 0.0)), known=[])
            with pytest.raises(IndexLockedError, match="is writing"), quick.writing():
                pass
            time.sleep(0.8)
            with quick.writing():
                Store(quick, refresh_s=0.0).commit([record("c")], moments(("c", 0.0)), known=[])
                before = sorted(_objects(str(store.index)))
                with pytest.raises(IndexLockedError, match=r"lost the right to write .* writes to it now"):
                    hanging.commit([record("d")], moments(("d", 0.0)), known=[])
                with pytest.raises(IndexLockedError):
                    hanging.publish("live")
                assert sorted(_objects(str(store.index))) == before
            with pytest.raises(IndexLockedError):
                hanging.remove(["a"])  # it is over, even where the other has finished meanwhile
    assert [one.video_id for one in Store(quick).records()] == ["a", "b", "c"]


def test_an_object_store_that_ignores_conditions_is_refused(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Objects.put
    monkeypatch.setattr(
        Objects, "put", lambda self, name, content, *, mode="overwrite": put(self, name, content)
    )
    with pytest.raises(IndexStateError, match="ignores the condition of a write"):
        Index.create(uri, model=ColourModel())
    assert _objects(uri) == {}


def test_a_holder_that_works_for_long_keeps_its_lease(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "LEASE_S", 0.5)
    monkeypatch.setattr(lease_module, "SKEW_S", 0.1)
    with store.place.writing():
        time.sleep(1.2)
        with pytest.raises(IndexLockedError), ObjectStorePlace(store.index).writing():
            pass
        store.commit([record("b")], moments(("b", 0.0)), known=[])
    assert len(store.records()) == 2


def test_killed_builds_are_resumed_and_every_video_is_there_once(uri: str, clips: Path) -> None:
    Index.create(uri, model=ColourModel(), moments="whole").close()
    for videos in (2, 3):
        with subprocess.Popen(
            [sys.executable, "-c", BUILD, str(TESTS), uri, str(clips)], stdout=subprocess.PIPE, text=True
        ) as build:
            assert build.stdout is not None
            for line in build.stdout:
                if int(line) == videos:
                    build.send_signal(signal.SIGKILL)
                    break
    with Index.open(uri, model=ColourModel()) as index:
        report = index.add(clips, config=HERE)  # at once: the holder of the lease is known to be dead
        assert report.skipped >= 1
        assert report.skipped + report.added == len(COLOURS)
        assert max(Counter(one.uri for one in index.videos()).values()) == 1
        assert len(index) == len(COLOURS)
        assert index.verify().problems == []
        assert len(index.subtitles.search("fox")) == 1


def test_old_versions_are_dropped_after_the_grace_but_not_what_is_published(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from framesift.index import store as store_module

    monkeypatch.setattr(store_module, "GRACE_S", 0.0)
    with store.place.writing():
        store.publish("live")
        for name in "bcdef":
            store.commit([record(name)], moments((name, 0.0)), known=[])
        store.compact(least_fragments=2)
        for name in "ghi":
            store.commit([record(name)], moments((name, 0.0)), known=[])
        store.compact()
    state = store.published().states["live"]
    versions = store.place.versions("moments")
    assert state.moments in versions
    assert state.moments + 1 not in versions
    assert [one.video_id for one in Store(store.place, tag="live").records()] == ["a"]
    assert len(store.records()) == 9


def test_another_machine_gets_the_subtitles_and_goes_on_with_them(
    uri: str, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Index.create(uri, model=ColourModel(), moments="whole") as index:
        index.add(clips, config=HERE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    with Index.open(uri, model=ColourModel()) as index:
        (hit,) = index.subtitles.search("fox")
        assert index.subtitles.path.is_relative_to(tmp_path / "another")
        before = index.subtitles.path
        assert index.add(clips, config=HERE).subtitles.read == []
        assert index.subtitles.path == before, "nothing has changed, nothing was uploaded"
        index.remove(clips / "red.mp4")
        assert index.subtitles.search("fox") == []
    assert hit.uri == str(clips / "red.mp4")


def test_lost_and_cut_objects_are_found(store: Store) -> None:
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    (key,) = (key for key in _objects(str(store.index)) if "moments.lance/data/" in key)
    with Index.open(str(store.index)) as index:
        client.put_object(Bucket=BUCKET, Key=key, Body=b"short")
        assert "has 5 bytes, not" in index.verify().problems[0]
        client.delete_object(Bucket=BUCKET, Key=key)
        assert "is missing" in index.verify().problems[0]
    client.close()


def test_what_is_no_index_is_said(uri: str, server: dict[str, str]) -> None:
    with pytest.raises(IndexNotFoundError, match=f"no index at '{uri}'; make one with: framesift index"):
        Index.open(uri)
    with pytest.raises(IndexStateError, match=r"there is no bucket 'nowhere' at http://127.0.0.1") as caught:
        Index.open("s3://nowhere/films")
    assert "AWS_ENDPOINT_URL" in str(caught.value)
    with pytest.raises(IndexStateError, match="there is no bucket"):
        Index.create("s3://nowhere/films", model=ColourModel())
    Objects(_parsed(uri)).put("notes/holiday.txt", b"x")
    with pytest.raises(InputError, match=r"holds other objects \(notes, ...\)"):
        Index.create(uri, model=ColourModel())
    for wrong in (
        "s3://films",
        "s3:///films",
        "s3://videos/",
        "s3://videos/a//b",
        "s3://videos/a b",
        "s3://videos/../x",
    ):
        with pytest.raises(InputError, match="cannot be an index; expected s3://BUCKET/PATH"):
            Index.open(wrong)


def test_an_endpoint_without_encryption_has_to_be_allowed(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(IndexStateError, match="is not encrypted; use https, or set AWS_ALLOW_HTTP=true"):
        Index.open(uri)


def test_without_its_client_the_extra_is_named(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'framesift\[objectstore\]'"):
        Index.open(uri)


class _Refusing(http.server.BaseHTTPRequestHandler):
    """What S3 answers to a wrong secret; its answer repeats what was signed."""

    BODY = (
        b"<?xml version='1.0'?>\n<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>AKIDEXAMPLE</AWSAccessKeyId>"
        b"<StringToSign>a-secret-that-is-never-shown</StringToSign></Error>"
    )

    def do_GET(self) -> None:
        self.send_response(403)
        self.send_header("Content-Length", str(len(self.BODY)))
        self.end_headers()
        self.wfile.write(self.BODY)

    def log_message(self, *_: object) -> None:
        pass


def test_refused_credentials_are_told_without_them(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as refusing:
        thread = threading.Thread(target=refusing.serve_forever)
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{refusing.server_port}")
        with pytest.raises(IndexStateError, match="refuses these credentials") as caught:
            Index.open(uri)
        refusing.shutdown()
        thread.join()
    said = "".join(map(str, (caught.value, caught.value.__cause__)))
    assert "AWS_ACCESS_KEY_ID" in said
    assert "never-shown" not in said
    assert "AKIDEXAMPLE" not in said


def test_an_outage_is_told_and_the_same_command_goes_on_after_it(
    tmp_path: Path, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    first.start()
    host, port = first.get_host_and_port()
    for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
    client.create_bucket(Bucket="outage")
    client.close()
    uri = "s3://outage/films"
    one_by_one = BuildConfig(workers=0, batch_frames=4, commit_videos=1)
    with Index.create(uri, model=ColourModel(), moments="whole") as index:
        stopped: list[bool] = []

        def stop_half_way(progress: object) -> None:
            if progress.done == 3 and not stopped:
                stopped.append(True)
                first.stop()

        with pytest.raises(IndexStateError, match=r"cannot be reached at http://127.0.0.1") as caught:
            index.add(clips, config=one_by_one, progress=stop_half_way)
        assert "the same command goes on from there" in str(caught.value)
        again = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
        again.start()  # with what the first one held, as moto keeps it in this process
        try:  # at once: this process's own lease, which it could not give back, does not stand in its way
            report = index.add(clips, config=one_by_one)
        finally:
            again.stop()
    assert report.skipped >= 1
    assert report.skipped + report.added == len(COLOURS)
