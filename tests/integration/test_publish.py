"""Publishing from the command line, and a server that serves what was published."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from framesift.cli.main import app
from framesift.errors import IndexStateError, InputError
from framesift.index.store import Store
from framesift.web.library import Libraries
from index_rows import META, moments, record


@pytest.fixture
def store(tmp_path: Path) -> Store:
    META.write(tmp_path)
    made = Store.create(tmp_path, META)
    made.commit([record("a")], moments(("a", 0.0)), known=[])
    return made


def _run(*arguments: object) -> Result:
    done = CliRunner().invoke(app, list(map(str, arguments)))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_publish_and_withdraw(store: Store) -> None:
    done = _run("publish", "-i", store.index)
    assert done.stdout == "live is 1 videos in 1 moments\n"
    assert f"framesift serve --index {store.index} --tag live" in done.stderr
    document = json.loads(_run("publish", "-i", store.index, "--tag", "kept", "--json").stdout)
    assert [one["tag"] for one in document["published"]] == ["kept", "live"]
    assert "published  kept (2" in _run("info", "-i", store.index).stdout
    assert [
        one["tag"] for one in json.loads(_run("info", "-i", store.index, "--json").stdout)["published"]
    ] == [
        "kept",
        "live",
    ]
    with pytest.raises(InputError, match="--tag TAG"):
        _run("publish", "-i", store.index, "--withdraw")
    assert _run("publish", "-i", store.index, "--withdraw", "--tag", "kept").stdout == "kept is withdrawn\n"
    with pytest.raises(IndexStateError, match=r"no tag 'kept' \(there are live\)"):
        _run("search", "-i", store.index, "--tag", "kept", "a dog")
    with pytest.raises(InputError, match="--watch has none"):
        _run("index", store.index, "-i", store.index, "--watch", "--publish", "live")


def test_a_server_lists_what_is_published(store: Store) -> None:
    store.publish("live")
    libraries = Libraries({"films": store.index}, tag="live")
    library = libraries.get("films")
    store.commit([record("b")], moments(("b", 0.0)), known=[])
    assert [one.video_id for one in library.catalogue.records] == ["a"]
    store.publish("live")
    assert [one.video_id for one in library.catalogue.records] == ["a", "b"]
    assert library.info()["moments"] == 2
    libraries.close()
