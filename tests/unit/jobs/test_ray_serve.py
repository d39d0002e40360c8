"""What is asked of Ray Serve, and that it is ended however serving ends; Serve itself is played here."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray", reason="ray is not installed: pip install 'framesift[ray]'")

from framesift.errors import ClusterError
from framesift.jobs import ray_serve
from framesift.jobs.cluster import Cluster, Node
from framesift.web.settings import Settings

CLUSTER = Cluster(address="10.0.0.1:6379", wants_token=True)
ARITHMETIC = ("FRAMESIFT_BACKEND", "FRAMESIFT_PRECISION", "FRAMESIFT_FORCE_PRECISION")


class PlayedServe:
    """Takes note of what is asked of it; ``on_run`` and ``on_delete`` may raise."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self.asked: list[str] = []
        self.on_run: Callable[[], None] = lambda: None
        self.on_delete: Callable[[], None] = lambda: None
        self.applications: dict[str, Any] = {}
        self.name = ""

    def ingress(self) -> Callable[[Any], Any]:
        return lambda replica: replica

    def deployment(self, replica: Any, **options: Any) -> Any:
        self.options = options
        return SimpleNamespace(bind=lambda *arguments: arguments)

    def run(self, application: Any, **options: Any) -> None:
        self.asked.append("run")
        self.name = options["name"]
        self.on_run()

    def delete(self, name: str) -> None:
        self.asked.append("delete")
        self.on_delete()

    def status(self) -> Any:
        return SimpleNamespace(applications=self.applications)

    def shutdown(self) -> None:
        self.asked.append("shutdown")


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> PlayedServe:
    node = Node(id="a", host="10.0.0.1", cpus=2, gpus=0)
    serve = PlayedServe()
    monkeypatch.setattr(ray_serve, "serve", serve)
    monkeypatch.setattr(ray_serve, "check_nodes", lambda cluster, paths: [node])
    monkeypatch.setattr(ray_serve, "_start", lambda host, port: True)
    for name in ARITHMETIC:
        monkeypatch.delenv(name, raising=False)
    return serve


def serving() -> Any:
    settings = Settings(tag="live", read_only=True)
    return ray_serve.serving(CLUSTER, {"a": "/a.index"}, settings, host="127.0.0.1", port=8080, replicas=2)


def raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def test_replicas_compute_as_the_command_was_told(
    played: PlayedServe, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving():
        assert played.options["ray_actor_options"] == {"num_cpus": 1}
    monkeypatch.setenv("FRAMESIFT_PRECISION", "int8")
    with serving() as served:
        sent = played.options["ray_actor_options"]["runtime_env"]["env_vars"]
    assert sent == {"FRAMESIFT_PRECISION": "int8"}
    assert served.url == "http://127.0.0.1:8080/"
    assert served.application == played.name
    assert played.asked == ["run", "delete", "shutdown"] * 2


@pytest.mark.parametrize(
    ("failure", "seen"), [(RuntimeError("x"), ClusterError), (KeyboardInterrupt(), KeyboardInterrupt)]
)
def test_nothing_is_left_of_a_start_that_fails_or_is_interrupted(
    played: PlayedServe, failure: BaseException, seen: type[BaseException]
) -> None:
    played.on_run = raising(failure)
    with pytest.raises(seen), serving():
        raise AssertionError("it did not start")
    assert played.asked == ["run", "delete", "shutdown"]


def test_a_cluster_that_is_gone_is_told_as_such(played: PlayedServe) -> None:
    played.on_delete = raising(ConnectionError("the head is gone"))
    with pytest.raises(ClusterError, match="does not serve any more"), serving():
        raise ClusterError("the cluster does not serve any more")


def test_replicas_that_cannot_be_ended_are_no_secret(played: PlayedServe) -> None:
    played.on_delete = raising(RuntimeError("no answer"))
    with pytest.raises(RuntimeError, match="no answer"), serving():
        pass


def test_other_indexes_do_not_take_the_place_of_those_that_are_served(played: PlayedServe) -> None:
    other = ray_serve.application_name({"b": "/b.index"}, "live")
    played.applications = {other: None, "somebody-elses": None}
    with pytest.raises(
        ClusterError, match=f"other indexes already \\({other}\\).*-i FIRST.index -i SECOND.index"
    ):
        serving().__enter__()
    assert played.asked == []
    own = ray_serve.application_name({"a": "/a.index"}, "live")
    played.applications = {
        own: None
    }  # a command that was killed left them; the same one has them in hand again
    with serving() as served:
        assert served.application == own


def test_an_application_is_named_after_what_it_serves() -> None:
    libraries = {"films": "/mnt/films.index", "my talks": "s3://bucket/my talks.index"}
    name = ray_serve.application_name(libraries, "live")
    assert name.startswith("framesift-films-my-talks-")
    assert name == ray_serve.application_name(dict(reversed(libraries.items())), "live")
    others = [
        ray_serve.application_name(libraries, "next"),
        ray_serve.application_name({**libraries, "films": "/home/films.index"}, "live"),
    ]
    assert len({name, *others}) == 3


def test_an_application_that_another_command_ended_is_told(played: PlayedServe) -> None:
    with pytest.raises(ClusterError, match="framesift-a-1 has been ended on the cluster"):
        ray_serve.running_replicas("framesift-a-1")
