"""Addresses of clusters, and what is said where there is none. Nothing here starts Ray."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="ray is not installed: pip install 'framesift[ray]'")

from framesift.errors import ClusterError, InputError
from framesift.jobs.cluster import connected, parse_address


@pytest.mark.parametrize("given", ["10.0.0.1:6379", " head.local:6379 ", "[::1]:6379"])
def test_an_address_is_host_and_port(given: str) -> None:
    assert parse_address(given) == given.strip()


@pytest.mark.parametrize(
    "given", ["", " ", "auto", "local", "head", "head:", ":6379", "head:port", "head:0", "head:65536"]
)
def test_what_is_no_address_is_refused_and_never_starts_a_cluster(given: str) -> None:
    with pytest.raises(InputError, match="never starts one"):
        parse_address(given)


def test_rays_client_protocol_is_refused() -> None:
    with pytest.raises(InputError, match="a node of the cluster"):
        parse_address("ray://head:10001")


def test_a_port_where_nobody_answers_is_told_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        pytest.raises(ClusterError, match=f"no Ray cluster answers at 127.0.0.1:{port}"),
        connected(f"127.0.0.1:{port}"),
    ):
        pass


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_without_ray_the_extra_is_named() -> None:
    code = (
        "import importlib.util as u\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'ray' else find(name, *rest)\n"
        "from framesift.errors import MissingExtraError\n"
        "try:\n    import framesift.jobs\nexcept MissingExtraError as error:\n    print(error)"
    )
    assert "pip install 'framesift[ray]'" in run(code).stdout


@pytest.mark.parametrize("command", [["index", "."], ["serve", "-i", "none.index"]])
@pytest.mark.parametrize("address", ["auto", "local", "ray://head:10001"])
def test_the_commands_do_not_look_for_a_cluster_themselves(
    command: list[str], address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from framesift.cli.main import app

    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, [*command, "--ray", address])
    assert isinstance(result.exception, InputError)
    assert "HOST:PORT" in str(result.exception)
    assert list(tmp_path.iterdir()) == [], "an index was left behind"


def test_a_cluster_indexes_once_and_does_not_watch(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from framesift.cli.main import app

    result = CliRunner().invoke(app, ["index", str(tmp_path), "--watch", "--ray", "127.0.0.1:1"])
    assert isinstance(result.exception, InputError)
    assert "--ray" in str(result.exception)
    result = CliRunner().invoke(app, ["index", str(tmp_path), "--device", "cuda:1", "--ray", "127.0.0.1:1"])
    assert "say --device cuda" in str(result.exception)


def test_no_command_imports_ray_by_default() -> None:
    code = (
        "import sys, framesift.index.index, framesift.web.app, framesift.cli.main, framesift.cli.indexing\n"
        "print([name for name in sys.modules if name == 'ray' or name.startswith('ray.')])"
    )
    assert run(code).stdout.strip() == "[]"
