"""The files of deploy/ and the commands of the pages about it: every command line is one that framesift takes."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from framesift.cli.main import app
from framesift.errors import IndexLockedError
from framesift.index.lock import WriterLock
from framesift.index.store import Store
from framesift.index.verify import verify
from index_rows import META, moments, record

REPO = Path(__file__).parents[2]
DEPLOY = REPO / "deploy"
PAGES = ("deploy.md", "object-storage.md")


def _parsed(arguments: list[str]) -> dict[str, Any]:
    """The values of the options of a command line. Raises click's UsageError if it is none."""
    command: Any = typer.main.get_command(app)
    verb = command.commands[arguments[0]]
    return verb.make_context(arguments[0], arguments[1:]).params


def _unit(path: Path) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        name, found, value = line.partition("=")
        if found and not line.startswith("#"):
            values.setdefault(name, []).append(value)
    return values


def _compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "docker" / "compose.yaml").read_text())


def _commands_of_pages() -> Iterator[str]:
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", (REPO / "docs" / page).read_text(), re.DOTALL):
            yield from (line for line in block.splitlines() if line.startswith("framesift "))


@pytest.mark.parametrize("name", ["framesift-serve", "framesift-index", "framesift-watch"])
def test_units_start_what_framesift_takes(name: str) -> None:
    unit = _unit(DEPLOY / "systemd" / f"{name}.service")
    (line,) = unit["ExecStart"]
    program, *arguments = shlex.split(line.replace("%d", "/run/credentials"))
    assert program == "/opt/framesift/bin/framesift"
    values = _parsed(arguments)
    assert "/var/lib/framesift/films.index" in str(values["index"])
    assert unit["User"] == ["framesift"]
    assert unit["NoNewPrivileges"] == ["yes"]
    assert "MemoryDenyWriteExecute" not in unit
    if name == "framesift-serve":
        assert values["token_file"] == Path("/run/credentials/token")
        assert values["host"] == "127.0.0.1"
        assert values["allow_host"] == ["videos.example.org"]


def test_what_is_published_is_what_is_served() -> None:
    def arguments(name: str) -> list[str]:
        return shlex.split(_unit(DEPLOY / "systemd" / f"{name}.service")["ExecStart"][0])[1:]

    assert _parsed(arguments("framesift-index"))["publish"] == _parsed(arguments("framesift-serve"))["tag"]
    services = _compose()["services"]
    assert _parsed(services["index"]["command"])["publish"] == _parsed(services["serve"]["command"])["tag"]
    assert services["index"]["volumes"] == services["serve"]["volumes"]


def test_the_images_command_is_one_that_framesift_takes() -> None:
    text = (DEPLOY / "docker" / "Dockerfile").read_text()
    values = _parsed(json.loads(re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE)[-1]))
    assert values["host"] == "0.0.0.0"
    assert values["token_file"] == Path("/run/secrets/framesift_token"), "it listens beyond its machine"
    (health,) = re.findall(r"urlopen\('(.*?)'", text)
    assert health.endswith(f":{values['port']}/api/health")
    assert "USER framesift" in text
    copied = " ".join(re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)).split()
    for name in copied:
        assert name == "./" or (REPO / name).exists(), name
    ignored = (DEPLOY / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
    assert {f"!{name}" for name in copied if name != "./"} == {
        line for line in ignored if line.startswith("!")
    }


def test_the_container_that_listens_has_a_token_and_no_port_of_the_host() -> None:
    serve = _compose()["services"]["serve"]
    assert _parsed(serve["command"])["token_file"] == Path("/run/secrets/framesift_token")
    assert serve["secrets"] == ["framesift_token"]
    assert "ports" not in serve
    assert serve["read_only"]
    assert serve["cap_drop"] == ["ALL"]


def test_the_proxies_lead_to_the_server() -> None:
    values = _parsed(shlex.split(_unit(DEPLOY / "systemd" / "framesift-serve.service")["ExecStart"][0])[1:])
    for path in (DEPLOY / "nginx" / "framesift.conf", DEPLOY / "caddy" / "Caddyfile"):
        text = path.read_text()
        assert f"{values['host']}:{values['port']}" in text
        assert values["allow_host"][0] in text
    assert "$request_uri status" not in (DEPLOY / "nginx" / "framesift.conf").read_text()


@pytest.mark.parametrize("line", list(_commands_of_pages()))
def test_commands_of_the_pages(line: str) -> None:
    assert _parsed(shlex.split(line, comments=True)[1:])


def test_flock_keeps_writers_out_as_the_page_says(tmp_path: Path) -> None:
    index = tmp_path / "films.index"
    index.mkdir()
    META.write(index)
    store = Store.create(index, META)
    store.commit([record("a")], moments(("a", 0.0)), known=[])
    with WriterLock(index):
        pass
    with subprocess.Popen(
        [
            "flock",
            index / "writer.lock",
            "sh",
            "-c",
            'echo held; read go; cp -a "$0" "$1"',
            index,
            tmp_path / "copy",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as backup:
        assert backup.stdout is not None
        assert backup.stdin is not None
        assert backup.stdout.readline() == "held\n"
        with pytest.raises(IndexLockedError), WriterLock(index):
            pass
        backup.stdin.write("\n")
        backup.stdin.flush()
    assert backup.returncode == 0
    assert verify(tmp_path / "copy", META).problems == []
    assert len(Store(tmp_path / "copy").records()) == 1
