"""What ``framesift train`` is given: a recipe by name or path, or captions of one's own."""

from pathlib import Path

import pytest

from framesift.cli.train import _recipe
from framesift.errors import InputError
from framesift.training.published import RECIPES


def test_a_recipe_by_its_name_and_by_its_path() -> None:
    named = _recipe("xpool-msvd", None, ["optim.batch_size=64"])
    assert (named.name, named.optim.batch_size) == ("xpool-msvd", 64)
    path = str(RECIPES / "xpool-msvd.toml")
    assert _recipe(path, None, []).content_hash == _recipe("xpool-msvd", None, []).content_hash


def test_captions_of_ones_own(tmp_path: Path) -> None:
    table = tmp_path / "clips.CSV"
    table.write_text("video,caption\na.mp4,a dog\n", encoding="utf-8")
    recipe = _recipe(str(table), "some/encoder", ["optim.epochs=2"])
    assert (recipe.name, recipe.encoder, recipe.optim.epochs) == ("clips", "some/encoder", 2)
    with pytest.raises(InputError, match=r"no file .*gone\.jsonl"):
        _recipe(str(tmp_path / "gone.jsonl"), None, [])


@pytest.mark.parametrize("what", ["xpool-msvdd", "recipes/xpool-msvdd.toml"])
def test_what_is_not_there_is_named_with_what_may_be_meant(what: str) -> None:
    with pytest.raises(InputError, match=r"no recipe .*did you mean 'xpool-msvd'.*\.csv, \.tsv, \.jsonl"):
        _recipe(what, None, [])
