from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from framesift.config import apply_overrides, from_dict, load_toml, to_dict
from framesift.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Optim:
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    name: str
    optim: Optim = field(default_factory=Optim)
    mode: Literal["fast", "exact"] = "fast"
    sizes: tuple[int, ...] = ()
    limit: int | None = None


def test_round_trip() -> None:
    recipe = Recipe(name="a", optim=Optim(lr=0.5), sizes=(1, 2), limit=3)
    assert from_dict(Recipe, to_dict(recipe)) == recipe


def test_integers_serve_as_floats_but_not_the_reverse() -> None:
    assert from_dict(Optim, {"lr": 1}) == Optim(lr=1.0)
    with pytest.raises(ConfigError, match=r"limit: expected int, got 1\.5"):
        from_dict(Recipe, {"name": "a", "limit": 1.5})
    with pytest.raises(ConfigError, match="lr"):
        from_dict(Optim, {"lr": True})


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"nam": "a"}, "unknown key 'nam'; did you mean 'name'"),
        ({"name": "a", "optim": {"lrr": 1}}, "unknown key 'optim.lrr'; did you mean 'lr'"),
        ({"name": 3}, "name: expected str, got 3"),
        ({"name": "a", "mode": "quick"}, "mode: expected one of 'fast', 'exact', got 'quick'"),
        ({"name": "a", "optim": {"betas": [0.9]}}, "optim.betas"),
        ({"name": "a", "sizes": [1, "b"]}, r"sizes\[1\]: expected int, got 'b'"),
        ({}, "name"),
    ],
)
def test_errors_name_the_place(mapping: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict(Recipe, mapping)


def test_toml_with_overrides(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('name = "a"\n[optim]\nlr = 1e-4\n')
    recipe = load_toml(path, Recipe, overrides=["optim.lr=1e-5", "mode=exact", "sizes=[4, 5]"])
    assert recipe == Recipe(name="a", optim=Optim(lr=1e-5), mode="exact", sizes=(4, 5))


def test_bad_files_and_overrides(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_toml(tmp_path / "none.toml", Recipe)
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_toml(broken, Recipe)
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        apply_overrides({}, ["lr"])
    with pytest.raises(ConfigError, match="not a table"):
        apply_overrides({"name": "a"}, ["name.first=b"])


def test_overrides_leave_the_original_alone() -> None:
    original = {"optim": {"lr": 1.0}}
    assert apply_overrides(original, ["optim.lr=2.0"]) == {"optim": {"lr": 2.0}}
    assert original == {"optim": {"lr": 1.0}}
