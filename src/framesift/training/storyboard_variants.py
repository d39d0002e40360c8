"""Train CrossTVR's ablations on Storyboard: ``python -m framesift.training.storyboard_variants RECIPE --output DIR``.

RECIPE is that of a bundled CrossTVR (``recipes/storyboard-crosstvr-xpool.toml``). Each of its variants differs from it
in one thing (:func:`.variants`): the passes, whether they share parameters, the number M of tokens that are kept of a
frame. All start from the same Q-Former, draw the same batches and take the same number of steps. What is interrupted
goes on where it was when it is run again, and what is done is not done again. The last lines say how to compare the
models; K, the candidates that are reranked, needs no training: ``framesift experiment crosstvr-depth`` varies it.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ..config import from_dict, load_toml, to_dict
from ..errors import CheckpointError, ConfigError, suggest
from ..evaluation.experiments.crosstvr_ablations import variants
from ..index.durable import write_json
from ..rerankers import CrossTVR, CrossTVRConfig
from .recipe import Part
from .storyboard_heads import HeadRecipe, train_head

__all__ = ["comparison", "train_variants", "variant_recipes"]

SELECTED = (1, 2, 8)  # values of M besides the recipe's own
DONE = "recipe.json"  # beside a model that is whole: what it was trained by


def variant_recipes(recipe: HeadRecipe, *, selected: Sequence[int] = SELECTED) -> dict[str, HeadRecipe]:
    """The recipe of each variant by its name; ``both`` is the paper's system.

    Args:
        selected: other values of M.

    Raises:
        ConfigError: the recipe is not of a CrossTVR over a first stage.
    """
    if recipe.reranker is None or recipe.reranker.name != CrossTVR.name or not recipe.first_stage:
        raise ConfigError(
            f"recipe {recipe.name!r} has no ablations: expected one with first_stage and a [reranker] {CrossTVR.name!r}"
        )
    base = from_dict(CrossTVRConfig, recipe.reranker.config, where="reranker.config")
    return {
        name: replace(
            recipe,
            name=f"{recipe.name}-{name}",
            reranker=Part(name=CrossTVR.name, config=to_dict(config)),
        )
        for name, config in variants(base, selected=tuple(selected)).items()
    }


def train_variants(
    recipes: dict[str, HeadRecipe],
    output: Path,
    *,
    seeds: Sequence[int] = (0,),
    report: Callable[[str], None],
) -> dict[int, dict[str, Path]]:
    """Train what is not trained yet, a seed after the other; ``output/VARIANT/seed-N/model`` become model directories.

    Returns:
        Seed -> name of the variant -> its model directory.

    Raises:
        CheckpointError: a folder is of a run with another recipe.
        ConfigError, InputError: see :func:`.train_head`.
    """
    found: dict[int, dict[str, Path]] = {}
    for seed in seeds:
        for name, recipe in recipes.items():
            folder = output / name / f"seed-{seed}"
            own = replace(recipe, fit=replace(recipe.fit, seed=seed))
            if _is_done(folder / "model", own):
                report(f"{folder}: is trained already")
            else:
                report(f"{folder}: {name}, seed {seed}, {own.fit.steps} steps")
                train_head(own, folder, report=report)
                shutil.copy(folder / "log.jsonl", folder / "model" / "log.jsonl")
                write_json(folder / "model" / DONE, to_dict(own), indent=1)
            found.setdefault(seed, {})[name] = folder / "model"
    return found


def comparison(models: dict[str, Path], *, output: str) -> str:
    """The command that compares the models of one seed; their names are the labels of its plot."""
    named = [part for name, model in models.items() for part in ("--model", f"{name}={model}")]
    return shlex.join(["framesift", "experiment", "crosstvr-ablations", *named, "--output", output])


def _is_done(model: Path, recipe: HeadRecipe) -> bool:
    try:
        earlier = json.loads((model / DONE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {str(model / DONE)!r}: {error}") from None
    if earlier != json.loads(json.dumps(to_dict(recipe))):
        raise CheckpointError(
            f"{str(model)!r} was trained by another recipe; choose another folder (--output), or delete it"
        )
    return True


def _chosen(recipes: dict[str, HeadRecipe], only: str) -> dict[str, HeadRecipe]:
    names = [name for name in only.split(",") if name] or list(recipes)
    for name in names:
        if name not in recipes:
            raise ConfigError(f"no variant {name!r}{suggest(name, recipes)} (known: {', '.join(recipes)})")
    return {name: recipes[name] for name in names}


def _whole_numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part)


def main(arguments: list[str] | None = None) -> None:
    """Train the variants of one recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument(
        "--output", type=Path, required=True, help="folder of the runs, e.g. runs/ablations-xpool"
    )
    parser.add_argument("--seeds", type=_whole_numbers, default=(0,), help="e.g. 0,1,2; default: 0")
    parser.add_argument("--only", default="", help="some variants, e.g. both,spatial; default: all")
    parser.add_argument(
        "--selected", type=_whole_numbers, default=SELECTED, help="other values of M; default: 1,2,8"
    )
    parser.add_argument("overrides", nargs="*", help="e.g. fit.steps=100 start=runs/qformer/seed-1/model")
    options = parser.parse_intermixed_args(arguments)

    def report(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    recipe = load_toml(options.recipe, HeadRecipe, overrides=options.overrides)
    chosen = _chosen(variant_recipes(recipe, selected=options.selected), options.only)
    for seed, models in train_variants(chosen, options.output, seeds=options.seeds, report=report).items():
        print(comparison(models, output=f"results/{options.output.name}-seed-{seed}"))


if __name__ == "__main__":
    main()
