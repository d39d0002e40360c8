"""``framesift serve`` refuses what would be unsafe or cannot work, in words."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from framesift.cli.main import app
from framesift.errors import FramesiftError, IndexNotFoundError, InputError


def error_of(*arguments: str) -> FramesiftError:
    result = CliRunner().invoke(app, ["serve", *arguments])
    assert isinstance(result.exception, FramesiftError), result.output
    return result.exception


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org"])
def test_it_does_not_leave_this_machine_without_a_token(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.delenv("FRAMESIFT_TOKEN", raising=False)
    error = error_of("--host", host)
    assert isinstance(error, InputError)
    assert "token" in str(error)


def test_a_token_file_must_hold_one(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    assert "empty" in str(error_of("--token-file", str(tmp_path / "empty")))
    assert "cannot read" in str(error_of("--token-file", str(tmp_path / "none")))


@pytest.mark.parametrize("option", ["--allow-folder", "--state"])
def test_what_replicas_would_not_do_is_refused(tmp_path: Path, option: str) -> None:
    pytest.importorskip("ray")
    error = error_of("--ray", "127.0.0.1:1", option, str(tmp_path))
    assert isinstance(error, InputError)
    assert f"{option} with --ray" in str(error)


def test_options_of_one_machine_and_of_a_cluster_are_not_mixed() -> None:
    assert "--replicas is about a cluster" in str(error_of("--replicas", "3"))
    pytest.importorskip("ray")
    assert "--demo with --ray" in str(error_of("--ray", "127.0.0.1:1", "--demo"))


def test_an_index_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert isinstance(error_of("--index", str(tmp_path / "none")), IndexNotFoundError)


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    from framesift.cli.serving import listen

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} .* taken"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("verb", [["serve"], ["search", "a dog"], ["mcp"]])
def test_milvus_needs_an_address_even_for_a_small_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: list[str]
) -> None:
    monkeypatch.delenv("FRAMESIFT_MILVUS_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, [*verb, "--candidates", "milvus"])
    assert isinstance(result.exception, InputError)
    assert "--milvus-uri" in str(result.exception)
