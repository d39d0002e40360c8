"""The recipes that come with the package: where they are, and what the papers printed for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data import BENCHMARKS
from ..errors import InputError, suggest
from .recipe import Expected, Recipe, read_recipe

__all__ = [
    "RECIPES",
    "find_recipe",
    "is_zero_shot",
    "paper_column",
    "paper_names",
    "published_recipes",
    "recipe_names",
    "ties_of",
]

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
"""The folder of the recipes; ``recipes/`` of a clone is the same one."""

RECALLS = ("R1", "R5", "R10", "R50", "R100")
RANKS = {"MdR": "median_rank", "MnR": "mean_rank"}


def recipe_names() -> list[str]:
    """Names of all recipes of the package, Storyboard's included, in alphabetical order."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def find_recipe(name: str | Path) -> Path:
    """The file of a recipe: one of the package by its name, or a path.

    Raises:
        InputError: there is none.
    """
    shipped = RECIPES / f"{name}.toml"
    if Path(name).name == str(name) and shipped.is_file():
        return shipped
    if Path(name).is_file():
        return Path(name)
    names = recipe_names()
    raise InputError(
        f"no recipe {str(name)!r}{suggest(Path(name).stem, names)} (give the path of a TOML file, or the name of one of"
        f" the package's {len(names)} recipes)"
    )


def published_recipes() -> list[Recipe]:
    """The recipes on the papers' benchmarks, in alphabetical order."""
    paths = [path for path in sorted(RECIPES.glob("*.toml")) if not path.stem.startswith("storyboard-")]
    return [recipe for recipe in map(read_recipe, paths) if recipe.benchmark in BENCHMARKS]


def is_zero_shot(recipe: Recipe) -> bool:
    """Whether nothing is trained: the system is an encoder as it was published."""
    return recipe.system.endswith(", zero-shot")


def ties_of(recipe: Recipe) -> str:
    """How the released code of the recipe's paper ranks ties, for numbers that are to be compared with its own."""
    if recipe.system.startswith("X-Pool"):
        return "xpool"
    return "pessimistic" if is_zero_shot(recipe) else "clip4clip"


def paper_names(rows: Iterable[Expected]) -> str:
    """``X-Pool, table 1; CrossTVR, tables 1, 8``: where rows were printed, each place once."""
    places: dict[str, list[int | str]] = {}
    for row in rows:
        tables = places.setdefault(row.paper, [])
        if row.table not in tables:
            tables.append(row.table)
    said: list[str] = []
    for paper, tables in places.items():
        kind = "" if not isinstance(tables[0], int) else "table " if len(tables) == 1 else "tables "
        said.append(f"{paper}, {kind}{', '.join(map(str, tables))}")
    return "; ".join(said)


def paper_column(rows: Sequence[Expected]) -> dict[str, dict[str, Any]]:
    """The numbers of rows that are one and the same run, as :meth:`.Metrics.to_dict` has them, by direction.

    What an earlier row says counts; later ones add what it leaves out.
    """
    found: dict[str, dict[str, Any]] = {}
    for way in ("t2v", "v2t"):
        numbers: dict[str, float] = {}
        for row in rows:
            stated: Mapping[str, float] = getattr(row, way)
            numbers = {**stated, **numbers}
        if numbers:
            recall = {key[1:]: numbers[key] for key in RECALLS if key in numbers}
            ranks = {name: numbers[key] for key, name in RANKS.items() if key in numbers}
            found[way] = {"recall_at": recall, **ranks}
    return found
