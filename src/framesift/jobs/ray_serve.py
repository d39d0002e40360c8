"""``framesift serve --ray``: replicas of the server on a cluster, behind Ray Serve's proxy.

Each replica holds a full copy of what it serves, so that any of them answers any request; Serve balances between them,
replaces those that die, and drains those that end. What is served is the state under a tag: indexing goes on beside
it, and publishing moves all replicas over, one look of theirs later.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NoReturn

import ray
from ray.exceptions import RayError

from ..encoders.arithmetic import BACKEND_VARIABLE, FORCE_VARIABLE, PRECISION_VARIABLE
from ..errors import ClusterError, InputError
from ..web.settings import Settings
from .cluster import Cluster, check_nodes
from .replica import Replica
from .retrying import LAYERS

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # Ray's own, about pydantic
    from ray import serve
    from ray.serve.exceptions import RayServeException

__all__ = ["Served", "application_name", "running_replicas", "serving", "watch"]

OURS = "framesift"  # the deployment, and what the names of our applications begin with
CONTROLLER, SERVE = "SERVE_CONTROLLER_ACTOR", "serve"  # Serve's own actor, and its namespace
LAYERS_VARIABLE = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"

HEALTH_EVERY_S, HEALTH_TIMEOUT_S = 5.0, 30.0
DRAIN_S = 30.0  # a replica that ends answers what it has begun; longer than a picture takes
LOOK_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Served:
    """What answers.

    Attributes:
        application: its name on the cluster.
        url: where it is reached, on the head node.
    """

    application: str
    url: str


def application_name(libraries: Mapping[str, str], tag: str) -> str:
    """What a cluster knows the replicas of these indexes by: the same for the same indexes and tag, from wherever it
    is asked for, so that a command which is given again has in hand what it began."""
    shown = re.sub(r"[^A-Za-z0-9_-]+", "-", "-".join(sorted(libraries)))[:40]
    served = "\0".join([tag, *(path for _, path in sorted(libraries.items()))])
    return f"{OURS}-{shown}-{hashlib.blake2b(served.encode(), digest_size=4).hexdigest()}"


@contextmanager
def serving(
    cluster: Cluster,
    libraries: Mapping[str, str],
    settings: Settings,
    *,
    host: str,
    port: int,
    replicas: int,
) -> Generator[Served]:
    """Serve until the block ends.

    Requests enter at the head node's proxy, which listens at ``host`` and ``port``. A cluster has one, so that it
    serves for one such command at a time; any number of indexes, though. If this process is killed, the replicas go on
    serving; the same call takes them over.

    Args:
        cluster: whose nodes hold the replicas, a CPU each.
        libraries: directories of the indexes by name; all nodes must see them.
        settings: of the server, with the tag to serve.
        host: address to listen at.
        port: port to listen at.
        replicas: how many.

    Raises:
        InputError: ``replicas`` is less than 1, or ``port`` is 0, or no tag is set.
        ClusterError: a node does not see an index, the replicas do not start, Serve runs already, otherwise, or other
            indexes are served from this cluster.
    """
    if replicas < 1:
        raise InputError(f"--replicas {replicas}: there must be at least one")
    if not port:
        raise InputError("--port 0: on a cluster, name the port; the head node listens at it")
    if settings.tag is None:
        raise InputError("replicas serve a tagged state; name the tag")
    nodes = check_nodes(cluster, list(libraries.values()))
    if (cpus := sum(node.cpus for node in nodes)) < replicas:
        raise ClusterError(
            f"--replicas {replicas}: each takes a CPU, and the cluster has {cpus}; add nodes, or take fewer"
        )
    logging.getLogger("ray.serve").setLevel(logging.WARNING)  # progress is told in our words
    application = application_name(libraries, settings.tag)
    _refuse_others(application)
    began_serve = _start(host, port)
    deployment: Any = serve.deployment(
        serve.ingress()(Replica),
        name=OURS,
        num_replicas=replicas,
        max_ongoing_requests=settings.search_threads + settings.search_waiting,
        ray_actor_options={"num_cpus": 1, **_arithmetic()},
        health_check_period_s=HEALTH_EVERY_S,
        health_check_timeout_s=HEALTH_TIMEOUT_S,
        graceful_shutdown_timeout_s=DRAIN_S,
    )
    try:
        serve.run(deployment.bind(dict(libraries), settings), name=application, route_prefix="/")
    except BaseException as error:  # an interrupt, too: nobody would have what goes on starting in hand
        said = str(error)
        with suppress(Exception):
            _end(application, began_serve)
        if isinstance(error, (RuntimeError, RayError, RayServeException)):
            raise ClusterError(f"the replicas do not start: {_reason(said)}") from error
        raise
    shown = f"[{host}]" if ":" in host else host
    try:
        yield Served(application=application, url=f"http://{shown}:{port}/")
    except ClusterError:
        with suppress(Exception):  # the cluster may be gone, which the error says
            _end(application, began_serve)
        raise
    except BaseException:
        _end(application, began_serve)
        raise
    _end(application, began_serve)


def running_replicas(application: str) -> int:
    """How many replicas of an application answer at the moment.

    Raises:
        ClusterError: the cluster does not say, or the application is gone.
    """
    try:
        states: dict[Any, int] = serve.status().applications[application].deployments[OURS].replica_states
    except KeyError:
        raise ClusterError(
            f"{application} has been ended on the cluster, perhaps by another command that served the same indexes"
        ) from None
    except (RayError, RuntimeError, RayServeException) as error:
        raise ClusterError(f"the cluster does not serve any more: {error or type(error).__name__}") from error
    return sum(count for state, count in states.items() if str(getattr(state, "value", state)) == "RUNNING")


def watch(application: str, tell: Callable[[int], None]) -> NoReturn:
    """Tell of the number of replicas that answer, now and whenever it changes, without end."""
    told = -1
    while True:
        if (now := running_replicas(application)) != told:
            tell(now)
            told = now
        time.sleep(LOOK_S)


def _start(host: str, port: int) -> bool:
    """Start Serve's controller and proxy; False where they run already, at the same address."""
    try:
        controller = ray.get_actor(CONTROLLER, namespace=SERVE)
    except ValueError:
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": host, "port": port},
            # the proxies, which the controller starts, inherit it
            controller_options={"runtime_env": {"env_vars": {LAYERS_VARIABLE: LAYERS}}},
        )
        return True
    found: Any = ray.get(controller.get_http_config.remote())
    if (found.host, found.port) != (host, port):
        raise ClusterError(
            f"Ray Serve runs on this cluster already, at {found.host}:{found.port}; give --host {found.host} --port "
            f"{found.port}, or end it first (serve shutdown)"
        )
    return False


def _refuse_others(application: str) -> None:
    """Other indexes would take the place of those that are served at the cluster's one address."""
    others = [
        name for name in serve.status().applications if name.startswith(f"{OURS}-") and name != application
    ]
    if others:
        raise ClusterError(
            f"this cluster serves other indexes already ({', '.join(sorted(others))}), and all its requests enter at "
            "one address. To serve these as well, name all of them in one command: framesift serve -i FIRST.index -i "
            "SECOND.index --ray ...; to serve these instead, end that command first, or, if it is gone, Ray Serve: "
            "serve shutdown"
        )


def _end(application: str, began_serve: bool) -> None:
    """Drain and end the replicas, and Serve itself if we began it and nobody else uses it."""
    serve.delete(application)
    if began_serve and not serve.status().applications:
        serve.shutdown()


def _arithmetic() -> dict[str, Any]:
    """Options by which replicas compute as the command was told, which is in its environment, and not in the nodes'."""
    names = (BACKEND_VARIABLE, PRECISION_VARIABLE, FORCE_VARIABLE)
    given = {name: os.environ[name] for name in names if os.environ.get(name)}
    return {"runtime_env": {"env_vars": given}} if given else {}


def _reason(said: str) -> str:
    """The last line of a replica's traceback, which is the error itself."""
    lines = [line.strip() for line in said.splitlines() if "Error:" in line]
    return lines[-1] if lines else (said.strip().splitlines() or ["no reason was given"])[0]
