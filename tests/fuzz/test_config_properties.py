"""Configurations survive the way to plain values, JSON and TOML overrides, and back."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framesift.config import apply_overrides, from_dict, to_dict
from framesift.errors import ConfigError
from framesift.matchers import MeanPool, SoftmaxPool, TopK, XPool

SETTINGS = settings(deadline=None, max_examples=100, derandomize=True)
KINDS: list[type[Any]] = [kind.Config for kind in (MeanPool, SoftmaxPool, TopK, XPool)]


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.5
    pair: tuple[float, int] = (0.1, 2)
    kind: Literal["a", "b", 3] = "a"


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    on: bool = False
    limit: int | None = None
    inner: Inner = field(default_factory=Inner)
    others: tuple[Inner, ...] = ()
    table: dict[str, int] = field(default_factory=dict)


floats = st.floats(allow_nan=False)
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
inners = st.builds(
    Inner, rate=floats, pair=st.tuples(floats, st.integers()), kind=st.sampled_from(["a", "b", 3])
)
outers = st.builds(
    Outer,
    name=texts,
    on=st.booleans(),
    limit=st.none() | st.integers(),
    inner=inners,
    others=st.lists(inners, max_size=3).map(tuple),
    table=st.dictionaries(texts, st.integers(), max_size=3),
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(texts, inside, max_size=3),
    max_leaves=5,
)


@SETTINGS
@given(outers)
def test_round_trip(config: Outer) -> None:
    plain = to_dict(config)
    assert from_dict(Outer, plain) == config
    assert from_dict(Outer, json.loads(json.dumps(plain))) == config
    assert to_dict(from_dict(Outer, plain)) == plain


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__qualname__)
def test_matchers_configurations_round_trip(kind: type[Any]) -> None:
    assert from_dict(kind, to_dict(kind())) == kind()


@SETTINGS
@given(st.dictionaries(st.sampled_from([f.name for f in fields(Outer)]) | texts, values, max_size=4))
def test_anything_else_is_a_config_or_one_error(mapping: dict[str, object]) -> None:
    try:
        config = from_dict(Outer, mapping)
    except ConfigError:
        return
    assert from_dict(Outer, to_dict(config)) == config or "nan" in str(mapping)


@SETTINGS
@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**62), 2**62), st.booleans())
def test_overrides_are_read_as_toml(rate: float, limit: int, on: bool) -> None:
    overrides = [f"inner.rate={rate!r}", f"limit = {limit}", f"on={str(on).lower()}", "name=some words"]
    config = from_dict(Outer, apply_overrides({}, overrides))
    assert config == Outer(name="some words", on=on, limit=limit, inner=Inner(rate=rate))


@SETTINGS
@given(texts)
def test_an_override_is_a_value_or_one_error(text: str) -> None:
    with suppress(ConfigError):
        apply_overrides({"inner": {"rate": 1.0}}, [f"inner.rate={text}", text])
