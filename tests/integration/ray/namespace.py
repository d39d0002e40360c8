"""A place for Ray that nothing outside can reach: a network namespace of its own, in which only loopback exists.

Ray listens on every interface when it is given an address of the network, and what a mistake in an address would do
is not to be tried out. So no test starts it anywhere else: a scenario (a function of scenarios.py) runs in a process
of its own inside a fresh namespace, and what it returns comes back as JSON. The namespace has its own process ids as
well, so that everything that was started in it ends with it, however it ends; and its own home folder, with a token
that every node must know.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import traceback
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["interfaces", "run_inside", "why_not"]

TESTS = Path(__file__).resolve().parents[2]

# ends with us, and all of the namespace with it
UNSHARE = [
    "setpriv",
    "--pdeathsig",
    "KILL",
    "unshare",
    "--net",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
]
AS_NOBODY = ["--map-root-user"]  # where we are not root: a user namespace around the others

SHOWN_CHARS = 6000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1  # linux/sockios.h, linux/if.h


def why_not() -> str | None:
    """Why no scenario can be run here; None: it can."""
    if find_spec("ray") is None:
        return "ray is not installed: pip install 'framesift[ray]'"
    if shutil.which("unshare") is None or shutil.which("setpriv") is None:
        return "there are no unshare and setpriv commands, without which Ray would listen to the network"
    tried = subprocess.run([*_unshare(), "true"], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"namespaces are not permitted here: {tried.stderr.strip()}"


def run_inside(scenario: str, folder: Path, *, timeout_s: float, **arguments: Any) -> Any:
    """What a scenario returns.

    Args:
        scenario: its name in scenarios.py.
        folder: it may write there.
        timeout_s: after which all of it is killed.
        arguments: of the scenario, anything that JSON can hold.

    Raises:
        AssertionError: it failed; with all that it said.
    """
    # sockets lie below the temporary folder, and their names may have 107 bytes
    with tempfile.TemporaryDirectory(prefix="fs-ray-", dir="/tmp") as short:
        answer, said = Path(short) / "answer.json", Path(short) / "said.txt"
        command = [
            *_unshare(),
            *(sys.executable, str(Path(__file__).resolve()), scenario, str(folder), str(answer)),
            json.dumps(arguments),
        ]
        with said.open("wb") as out:
            process = subprocess.Popen(
                command, env=_environment(Path(short)), stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                pass
            finally:
                ended = process.poll() is not None
                process.kill()  # --kill-child: and with it all that runs in the namespace
                process.wait()
        if not answer.exists():
            why = f"status {process.returncode}" if ended else f"it took longer than {timeout_s:g} s"
            lines = said.read_text(errors="replace")[-SHOWN_CHARS:]
            raise AssertionError(f"the scenario {scenario} failed ({why}):\n{lines}")
        return json.loads(answer.read_text())


def interfaces() -> list[str]:
    """The network interfaces that this process can see."""
    return sorted(name for _, name in socket.if_nameindex())


def _unshare() -> list[str]:
    return UNSHARE if os.geteuid() == 0 else [*UNSHARE, *AS_NOBODY]


def _environment(short: Path) -> dict[str, str]:
    """For Ray: a home, a folder for its sockets, a token that every node and driver must have."""
    home = short / "home"
    home.mkdir()
    token = short / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "FRAMESIFT_"))}
    return {
        **kept,
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_STATE_HOME": str(home / "state"),
        "RAY_TMPDIR": str(short / "r"),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_raylet_start_wait_time_s": "180",  # several start at once, on a machine with other things to do
        "RAY_agent_register_timeout_ms": "180000",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(
            [str(TESTS), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        ).strip(os.pathsep),
    }


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh22x", b"lo", 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | IFF_UP))


def _main(scenario: str, folder: str, answer: str, arguments: str) -> None:
    """The first process of the namespace."""
    if interfaces() != ["lo"]:
        raise SystemExit(f"this is no closed namespace: it has {interfaces()}")
    _raise_loopback()
    from integration.ray import scenarios

    try:
        result = getattr(scenarios, scenario)(Path(folder), **json.loads(arguments))
    except BaseException:
        traceback.print_exc()
        raise SystemExit(1) from None
    draft = Path(answer + ".draft")
    draft.write_text(json.dumps(result))
    draft.rename(answer)


if __name__ == "__main__":
    sys.path[0] = str(TESTS)  # this file's own folder would hide modules behind its names
    _main(*sys.argv[1:])
