from pathlib import Path

import pytest

from framesift.errors import ConfigError
from framesift.training.recipe import OptimRecipe, Recipe, read_recipe

REPO = Path(__file__).resolve().parents[3]
TEXT = """
name = "mine"
system = "X-Pool"
benchmark = "my.csv"
[matcher.config]
dropout = 0.4
[optim]
lr_head = 3e-5
[[expected]]
paper = "X-Pool"
table = 1
row = "X-Pool (ours)"
t2v = { R1 = 46.9, MdR = 2 }
"""


def write(folder: Path, text: str = TEXT) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def test_a_recipe_is_read_with_overrides(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path), overrides=["optim.batch_size=64", "matcher.config.dropout=0.1"])
    assert recipe.optim == OptimRecipe(lr_head=3e-5, batch_size=64)
    assert recipe.matcher.config == {"dropout": 0.1}
    assert recipe.expected[0].t2v == {"R1": 46.9, "MdR": 2.0}
    assert recipe.published is not None
    assert recipe.published.matcher == "xpool"


def test_the_hash_is_of_what_decides_the_result(tmp_path: Path) -> None:
    path = write(tmp_path)
    recipe = read_recipe(path)
    same = read_recipe(path, overrides=["name=other", "optim.epochs=5"])
    assert same.content_hash == recipe.content_hash, "5 epochs are the default, and a name changes nothing"
    for change in ("seed=1", "optim.lr_head=1e-5", "matcher.config.dropout=0.3", "frames.num_frames=8"):
        assert read_recipe(path, overrides=[change]).content_hash != recipe.content_hash, change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("optim.lr_haed=1", "did you mean 'lr_head'"),
        ("system=X-Pol", "did you mean 'X-Pool'"),
        ("system=''", "a recipe needs a system"),
        ("optim.precision=fp8", "expected one of 'fp32', 'bf16'"),
        ("optim.warmup=1.0", "below 1"),
        ("optim.lr_head=-1.0", "at least 0"),
        ("optim.batch_size=0", "at least 1"),
        ("select.holdout=1.5", "expected a share"),
        ("frames.num_frames=0", "at least 1"),
        ("rerank.token_gib=0.0", "positive"),
    ],
)
def test_what_a_recipe_refuses(tmp_path: Path, change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_recipe(write(tmp_path), overrides=[change])


def test_an_expected_number_of_no_metric_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown 'R@1'"):
        read_recipe(write(tmp_path, TEXT.replace("R1 =", '"R@1" =')))


def test_the_keys_in_the_documentation_are_those_of_the_recipe() -> None:
    page = (REPO / "docs" / "training.md").read_text()
    for table in ("frames", "optim", "select", "rerank"):
        fields = Recipe.__dataclass_fields__[table].default_factory.__dataclass_fields__  # type: ignore[union-attr]
        missing = [name for name in fields if f"`{table}.{name}`" not in page]
        assert not missing, table
    top = set(Recipe.__dataclass_fields__) - {"frames", "optim", "select", "rerank"}
    assert not [name for name in top if f"`{name}`" not in page]
