"""Matchers by name."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints

import pytest

import framesift.matchers as matchers_module
from framesift.errors import ConfigError
from framesift.matchers import MATCHERS, MeanPool, SoftmaxPool, TopK, XPool, build_matcher


def test_every_matcher_can_be_built_by_name() -> None:
    for name, cls in MATCHERS.items():
        assert type(build_matcher(name, {})) is cls


def test_configuration_reaches_the_matcher() -> None:
    matcher = build_matcher("top_k", {"k": 7})
    assert isinstance(matcher, TopK)
    assert matcher.config.k == 7
    head = build_matcher("xpool", {"dim": 8, "num_heads": 2})
    assert isinstance(head, XPool)
    assert head.cross_attn.q_proj.weight.shape == (8, 8)


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("softmaxpool", {}, "did you mean 'softmax_pool'"),
        ("softmax_pool", {"temprature": 0.1}, "did you mean 'temperature'"),
        ("xpool", {"num_heads": 3}, "divisor of dim=512"),
        ("xpool", {"dim": 0}, "dim=0"),
        ("xpool", {"dropout": 1.0}, "dropout=1.0"),
    ],
)
def test_mistakes_are_named(name: str, config: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_matcher(name, config)


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another package that lists a matcher, one that is not there, and something else."""
    values = {
        "theirs": "framesift.matchers.softmax_pool:SoftmaxPool",
        "broken": "no.such.package:Thing",
        "other": "json:dumps",
    }
    group = matchers_module.ENTRY_POINTS
    points = EntryPoints(EntryPoint(name=name, value=value, group=group) for name, value in values.items())
    monkeypatch.setattr(matchers_module, "entry_points", lambda *, group: points.select(group=group))


@pytest.mark.usefixtures("plugins")
def test_other_packages_can_add_matchers() -> None:
    assert isinstance(build_matcher("theirs", {"temperature": 0.5}), SoftmaxPool)
    assert isinstance(build_matcher("mean_pool"), MeanPool)


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken", r"no\.such\.package:Thing.* cannot be imported"),
        ("other", "not a subclass"),
        ("thiers", "did you mean 'theirs'"),
    ],
)
def test_faulty_plugins_are_named(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_matcher(name)
