"""The connection to a Ray cluster that the user runs, and the look at its nodes before they are given work."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ..errors import ClusterError, InputError

__all__ = ["UNGUARDED", "Cluster", "Node", "check_nodes", "connected", "parse_address"]

CONNECT_S = 10.0
CHECK_S = 120.0  # for a first worker process, which imports Ray, on a machine that may be busy
DEATH_S = 60.0  # a head asks its nodes every 3 s whether they live, and gives one up after 5 times without an answer

NO_ADDRESS = (
    "say where the cluster is: --ray HOST:PORT, as ray start --head prints it. framesift connects to a cluster that "
    "runs already and never starts one (docs/ray.md says how to start one safely)"
)

UNGUARDED = (
    "RAY_AUTH_MODE=token is not set here, so that the cluster may take commands from everybody who reaches it; "
    "docs/ray.md says how to close it off"
)


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node that can be given work.

    Attributes:
        id: Ray's, hexadecimal.
        host: its address, for messages.
        cpus: how many it offers.
        gpus: how many it offers.
    """

    id: str
    host: str
    cpus: int
    gpus: int


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster that this process is connected to.

    Attributes:
        address: host and port of its head.
        wants_token: whether nobody can command it without its token.
    """

    address: str
    wants_token: bool

    def nodes(self) -> list[Node]:
        """The nodes that are alive and offer CPUs, by address.

        Raises:
            ClusterError: there is none.
        """
        found = [
            Node(
                id=one["NodeID"],
                host=one["NodeManagerAddress"],
                cpus=int(one["Resources"].get("CPU", 0)),
                gpus=int(one["Resources"].get("GPU", 0)),
            )
            for one in ray.nodes()
            if one["Alive"] and one["Resources"].get("CPU", 0) >= 1
        ]
        if not found:
            raise ClusterError(
                f"no node of the cluster at {self.address} offers a CPU; add one with: "
                f"ray start --address={self.address}"
            )
        return sorted(found, key=lambda node: (node.host, node.id))


def parse_address(address: str) -> str:
    """``HOST:PORT`` of a cluster's head node.

    Raises:
        InputError: it is none; ``auto`` and ``local``, which may start a cluster, are refused, too.
    """
    given = address.strip()
    if not given:
        raise InputError(NO_ADDRESS)
    if given in ("auto", "local"):
        raise InputError(f"--ray {given} is no address; {NO_ADDRESS}")
    if "://" in given:
        raise InputError(
            f"--ray {given}: Ray's client protocol is not enough for this; run framesift on a machine that is a node "
            "of the cluster, and give HOST:PORT of its head"
        )
    host, colon, port = given.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise InputError(f"--ray {given} is no address; {NO_ADDRESS}")
    return given


@contextmanager
def connected(address: str) -> Generator[Cluster]:
    """A connection to the cluster at ``address``, ``HOST:PORT`` of its head; this machine must be one of its nodes.

    Raises:
        InputError: ``address`` is none.
        ClusterError: there is no cluster, it refuses us, or this machine is no node of it.
    """
    given = parse_address(address)
    host, _, port = given.rpartition(":")
    try:  # first: Ray itself tries for minutes
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except OSError as error:
        raise ClusterError(
            f"no Ray cluster answers at {given} ({error.strerror or error}); is it running, and is this its head's "
            "address? docs/ray.md says how to start one"
        ) from None
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        ray.init(address=given, namespace="framesift", logging_level=logging.ERROR, log_to_driver=False)
    except Exception as error:  # RuntimeError, ConnectionError, ValueError, AuthenticationError, ...
        raise ClusterError(
            f"cannot join the Ray cluster at {given}: {_first_line(error)}. This machine must be a node of it (ray "
            f"start --address={given}), with the cluster's token (RAY_AUTH_MODE=token) and its versions of Ray and "
            "Python"
        ) from error
    try:
        yield Cluster(address=given, wants_token=os.environ.get("RAY_AUTH_MODE", "").lower() == "token")
    finally:
        ray.shutdown()


def check_nodes(cluster: Cluster, paths: Sequence[str]) -> list[Node]:
    """The nodes of the cluster, after all of them were seen to have what they need.

    Args:
        cluster: it.
        paths: files and folders that every node must see as this machine does.

    Raises:
        ClusterError: a node does not see a path, or has another version of framesift, or none.
    """
    nodes = cluster.nodes()
    tasks = [
        _look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node.id, soft=False)).remote(
            list(paths)
        )
        for node in nodes
    ]
    for node, task in zip(nodes, tasks, strict=True):
        try:
            seen: dict[str, Any] = ray.get(task, timeout=CHECK_S)
        except Exception as error:  # it died, or cannot import us
            if _has_died(cluster, node):
                continue
            raise ClusterError(
                f"node {node.host} of the cluster cannot run framesift: {_first_line(error)}; install the same version "
                f"there: pip install 'framesift[ray]=={version('framesift')}'"
            ) from error
        if seen["version"] != version("framesift"):
            raise ClusterError(
                f"node {node.host} has framesift {seen['version']}, this machine {version('framesift')}; install the "
                "same version on all nodes"
            )
        for path, reason in seen["unseen"]:
            if os.path.exists(path):
                raise ClusterError(
                    f"node {node.host} does not see {path!r} ({reason}), which this machine sees; all nodes need the "
                    "files at the same path: mount the same shared folder there on every node"
                )
    return cluster.nodes()


def _has_died(cluster: Cluster, node: Node) -> bool:
    """Whether a node that failed has gone; its death is noticed some time after it."""
    until = time.monotonic() + DEATH_S
    while any(one.id == node.id for one in cluster.nodes()):
        if time.monotonic() > until:
            return False
        time.sleep(0.5)
    return True


@ray.remote(num_cpus=0)
def _look(paths: list[str]) -> dict[str, Any]:
    """On a node: what is there."""
    unseen: list[tuple[str, str]] = []
    for path in paths:
        try:
            os.stat(path)
        except OSError as error:
            unseen.append((path, error.strerror or str(error)))
    return {"version": version("framesift"), "unseen": unseen}


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
