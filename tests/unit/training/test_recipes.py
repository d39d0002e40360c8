"""The recipes of the package: every published row is in exactly one, and each can be read and resolved."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from framesift.config import from_dict, to_dict
from framesift.data import BENCHMARKS
from framesift.encoders.fetch import HUB_ID
from framesift.errors import ConfigError, InputError
from framesift.hub import MODELS
from framesift.matchers import MATCHERS
from framesift.rerankers import RERANKERS
from framesift.temporal import TEMPORALS
from framesift.training.published import (
    RECIPES,
    find_recipe,
    is_zero_shot,
    paper_column,
    paper_names,
    published_recipes,
    recipe_names,
    ties_of,
)
from framesift.training.recipe import Expected, Recipe, read_recipe

REPO = Path(__file__).resolve().parents[3]

NOT_HERE = {
    "ActBERT", "CAMoE", "CE", "CLIP2Video", "CenterCLIP", "ClipBERT", "Frozen", "HBI", "HGR", "HowTo100M", "MDMMT",
    "MMT", "NoiseE", "OmniVL", "SUPPORT", "Support Set", "TeachText-CE+",
}  # fmt: skip
"""Methods of the papers' tables that this package does not have."""

BENCHMARK_OF = {
    "msrvtt": "msrvtt-1ka-9k",
    "msrvtt-9k 1K-A": "msrvtt-1ka-9k",
    "msrvtt-7k 1K-A": "msrvtt-1ka-7k",
}
"""How the tables call a benchmark: its key in the catalog, where they differ."""


def published() -> list[dict]:
    return json.loads((REPO / "tests" / "golden" / "published.json").read_text(encoding="utf-8"))


def row_key(row: dict) -> tuple:
    """All that a row says; the benchmark is left out, since the recipe has it."""
    numbers = tuple(tuple(sorted(row[way].items())) for way in ("t2v", "v2t"))
    return (row["paper"], row["table"], row["row"], *numbers)


def benchmark_of(row: dict) -> str:
    name = row["benchmark"].removeprefix("DSL ")
    if name in BENCHMARKS:
        return name
    return BENCHMARK_OF.get(name, "msrvtt-1ka-9k" if "msrvtt" in name or name == "encoder scaling" else name)


@pytest.fixture(scope="module")
def recipes() -> list[Recipe]:
    return published_recipes()


def test_every_published_row_is_expected_by_exactly_one_recipe(recipes: list[Recipe]) -> None:
    ours = [row for row in published() if row["row"] not in NOT_HERE]
    assert len(ours) == 85
    wanted = Counter((benchmark_of(row), row_key(row)) for row in ours)
    held = Counter(
        (recipe.benchmark, row_key({**to_dict(row), "table": row.table}))
        for recipe in recipes
        for row in recipe.expected
    )
    assert held == wanted
    assert set(wanted.values()) == {1}


def test_rows_of_other_methods_are_all_named_in_the_docs() -> None:
    assert {row["row"] for row in published()} > NOT_HERE
    page = (REPO / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert all(f"{name}," in page or f"{name}." in page or f" {name} " in page for name in NOT_HERE)


def test_rows_with_a_star_are_the_normalized_ones(recipes: list[Recipe]) -> None:
    for recipe in recipes:
        for row in recipe.expected:
            starred = "\u2217" in row.row or "star is missing" in row.note
            assert (row.normalization == "dual softmax") == starred, (recipe.name, row.row)


def test_plain_rows_of_one_recipe_agree_unless_a_note_says_why(recipes: list[Recipe]) -> None:
    for recipe in recipes:
        plain = [row for row in recipe.expected if not row.normalization]
        for way in ("t2v", "v2t"):
            known: dict[str, float] = {}
            for row in plain:
                for key, value in getattr(row, way).items():
                    assert known.setdefault(key, value) == value or row.note, (recipe.name, row)


@pytest.mark.parametrize("name", [name for name in recipe_names() if not name.startswith("storyboard-")])
def test_a_recipe_names_parts_that_exist(name: str) -> None:
    recipe = read_recipe(find_recipe(name))
    assert recipe.name == name
    assert recipe.benchmark in BENCHMARKS
    assert recipe.published is not None
    assert recipe.encoder in MODELS or HUB_ID.fullmatch(recipe.encoder)
    system = recipe.published
    parts = [
        (TEMPORALS, recipe.temporal, system.temporal),
        (MATCHERS, recipe.matcher, system.matcher),
        (RERANKERS, recipe.reranker, system.reranker),
    ]
    for registry, part, key in parts:
        if key is None:
            assert part.config == {}
        else:
            from_dict(registry[part.name or key].Config, part.config)
    if recipe.rerank.first_stage:
        first = read_recipe(find_recipe(recipe.rerank.first_stage))
        assert first.benchmark == recipe.benchmark
        assert first.frames.num_frames == recipe.frames.num_frames
        assert first.frames.sampling == recipe.frames.sampling
    else:
        assert system.reranker is None, "a second stage needs a first one"
    benchmark = BENCHMARKS[recipe.benchmark]
    assert recipe.frames.num_frames == benchmark.num_frames
    assert recipe.frames.num_words in (0, benchmark.num_words)
    text = find_recipe(name).read_text(encoding="utf-8")
    assert text.startswith("# "), "a comment says where the numbers are from"
    assert "# Numbers: " in text or "None of the papers" in text
    assert "# Settings: " in text or is_zero_shot(recipe)


def test_a_recipe_says_only_what_differs_from_the_defaults(recipes: list[Recipe]) -> None:
    import tomllib

    for recipe in recipes:
        bare = to_dict(Recipe(name=recipe.name, benchmark=recipe.benchmark, system=recipe.system))
        with open(find_recipe(recipe.name), "rb") as file:
            written = tomllib.load(file)
        for key in ("frames", "optim", "select", "rerank"):
            same = [name for name, value in written.get(key, {}).items() if bare[key][name] == value]
            assert not same, f"{recipe.name}: {key}.{same[0]} is the default"


def test_hashes_are_stable_and_tell_recipes_apart(recipes: list[Recipe]) -> None:
    hashes = {recipe.name: recipe.content_hash for recipe in recipes}
    assert len(set(hashes.values())) == len(hashes)
    again = {recipe.name: recipe.content_hash for recipe in published_recipes()}
    assert again == hashes
    one = recipes[0]
    assert replace(one, name="other", expected=()).content_hash == one.content_hash
    assert replace(one, seed=one.seed + 1).content_hash != one.content_hash


def test_settings_of_the_papers() -> None:
    """The numbers of the released commands, written down a second time."""
    xpool = {"msrvtt-9k": (3e-5, 0.3), "msrvtt-7k": (1e-5, 0.4), "msvd": (1e-5, 0.4), "lsmdc": (1e-5, 0.3)}
    for key, (rate, dropout) in xpool.items():
        recipe = read_recipe(find_recipe(f"xpool-{key}"))
        assert (recipe.optim.lr_head, recipe.matcher.config["dropout"]) == (rate, dropout)
        assert (recipe.optim.lr_encoder, recipe.optim.batch_size, recipe.optim.epochs) == (1e-6, 32, 5)
        assert (recipe.seed, recipe.select.per_epoch, recipe.select.window) == (24, 10, 5)
        assert recipe.optim.decay == "all"
        assert recipe.frames.augmentation == "xpool"
    xclip = {
        "msrvtt-9k-b32": (300, 5), "msrvtt-9k-b16": (80, 5), "msvd-b32": (300, 5), "msvd-b16": (80, 5),
        "lsmdc-b32": (300, 5), "lsmdc-b16": (80, 5), "didemo-b32": (64, 20), "didemo-b16": (16, 20),
        "activitynet-b16": (32, 20),
    }  # fmt: skip
    for key, sizes in xclip.items():
        recipe = read_recipe(find_recipe(f"xclip-{key}"))
        assert (recipe.optim.batch_size, recipe.optim.epochs) == sizes
        assert recipe.encoder.endswith("patch16" if key.endswith("b16") else "patch32")
    for recipe in published_recipes():
        if recipe.system.startswith(("CLIP4Clip", "TS2-Net", "X-CLIP")):
            assert (recipe.optim.lr_head, recipe.optim.lr_encoder) == (1e-4, 1e-7)
            assert (recipe.optim.optimizer, recipe.optim.schedule) == ("bert_adam", "joined_cosine")
            assert (recipe.optim.precision, recipe.optim.freeze) == ("fp16_weights", "clip4clip")
            assert (recipe.seed, recipe.frames.sampling) == (42, "rate")
        if recipe.system == "CrossTVR":
            assert (recipe.optim.optimizer, recipe.optim.lr_head, recipe.optim.batch_size) == (
                "adam",
                1e-4,
                128,
            )
            assert recipe.rerank.depth == 15
            assert recipe.rerank.start_from == "blip2"


def test_names_and_paths_find_recipes(tmp_path: Path) -> None:
    assert find_recipe("xpool-msvd") == RECIPES / "xpool-msvd.toml"
    own = tmp_path / "own.toml"
    own.write_text((RECIPES / "xpool-msvd.toml").read_text(encoding="utf-8"), encoding="utf-8")
    assert find_recipe(own) == own
    with pytest.raises(InputError, match="did you mean 'xpool-msvd'"):
        find_recipe("xpool-msdv")
    with pytest.raises(InputError, match="did you mean 'xpool-msvd'"):
        find_recipe(tmp_path / "xpool-msdv.toml")
    assert (REPO / "recipes" / "xpool-msvd.toml").read_text() == own.read_text(), (
        "recipes/ is the same folder"
    )


def test_rows_of_one_run_make_one_column() -> None:
    first = Expected(paper="X-Pool", table=1, row="a", t2v={"R1": 46.9, "R10": 82.2, "MdR": 2.0})
    second = Expected(paper="CrossTVR", table=8, row="b", t2v={"R1": 40.0, "MnR": 14.3}, v2t={"R1": 44.4})
    column = paper_column([first, second])
    assert column["t2v"] == {"recall_at": {"1": 46.9, "10": 82.2}, "median_rank": 2.0, "mean_rank": 14.3}
    assert column["v2t"] == {"recall_at": {"1": 44.4}}
    rows = [first, second, first, replace(second, table=9)]
    assert paper_names(rows) == "X-Pool, table 1; CrossTVR, tables 8, 9"
    assert paper_names([replace(first, table="abstract")]) == "X-Pool, abstract"


def test_ties_are_ranked_as_in_the_released_code() -> None:
    rules = {
        name: ties_of(read_recipe(find_recipe(name)))
        for name in ("xpool-msvd", "ts2net-msvd", "clip-zeroshot-msvd")
    }
    assert rules == {"xpool-msvd": "xpool", "ts2net-msvd": "clip4clip", "clip-zeroshot-msvd": "pessimistic"}


def test_an_expected_row_knows_its_metrics() -> None:
    with pytest.raises(ConfigError, match="R11"):
        Expected(paper="X-Pool", table=1, row="a", t2v={"R11": 1.0})
