"""The folder of a run: what it holds, whether it is of the same recipe, and the files that say what came of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from ..config import to_dict
from ..errors import CheckpointError, InputError
from ..index.durable import write_json
from .gather import World
from .recipe import Recipe
from .splits import Material

__all__ = ["BEST", "EVALUATION", "FAILED", "RECIPE", "RESULT", "model_card", "prepare", "result_document"]

BEST, RESULT, RECIPE, FAILED = "best", "result.json", "recipe.json", "videos.json"
EVALUATION = "evaluation.json"  # beside the kept model: what it reached, at which step
OURS = (BEST, RESULT, RECIPE, FAILED, "state.pt", "log.jsonl", "features", "tokens", "tensorboard")


def prepare(folder: Path, recipe: Recipe, *, resume: bool, world: World) -> None:
    """Make the folder of a run, or make sure that it is of the same recipe; the first process does, the others wait.

    Args:
        resume: off, what an earlier run left there is deleted first.

    Raises:
        CheckpointError: it is of another recipe, or damaged.
        InputError: it cannot be written.
    """
    problem = ""
    if world.leads:
        try:
            if not resume:
                for name in OURS:
                    path = folder / name
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot use {str(folder)!r}: {error.strerror or error}") from None
        problem = _other_recipe(folder, recipe)
        if not problem:
            write_json(folder / RECIPE, {"hash": recipe.content_hash, "recipe": to_dict(recipe)}, indent=1)
    if problem:
        raise CheckpointError(problem)
    world.wait()


def _other_recipe(folder: Path, recipe: Recipe) -> str:
    path = folder / RECIPE
    if not path.exists():
        if (folder / "state.pt").exists():
            return f"{str(folder)!r} holds a run without its {RECIPE}; choose another folder (--output)"
        return ""
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))["hash"]
    except (ValueError, KeyError, TypeError, OSError):
        return f"{str(path)!r} is damaged; choose another folder, or start again (--restart)"
    if earlier == recipe.content_hash:
        return ""
    return (
        f"{str(folder)!r} holds a run of another recipe ({earlier}, not {recipe.content_hash}); choose another folder"
        " (--output), or start again (--restart)"
    )


def result_document(
    recipe: Recipe,
    material: Material,
    *,
    evaluation: dict[str, Any],
    step: int,
    steps: int,
    processes: int,
    failed: dict[str, str],
) -> dict[str, Any]:
    """The result file of a run, of kind ``training``.

    Args:
        evaluation: metrics of the kept model; empty without evaluation.
        step: at which it was kept, of ``steps``.
        failed: why videos could not be read, by id.
    """
    evaluated = material.evaluation
    return {
        "kind": "training",
        "title": recipe.name,
        "recipe": to_dict(recipe),
        "recipe_hash": recipe.content_hash,
        "train": material.train.to_dict(),
        "evaluated_on": None if evaluated is None else evaluated.to_dict(),
        "selected_on": recipe.select.on,
        "selected_on_test": recipe.select.on == "test",
        "metrics": evaluation,
        "step": step,
        "steps": steps,
        "processes": processes,
        "failed": failed,
        "missing": list(material.missing),
    }


def model_card(recipe: Recipe, step: int, evaluation: dict[str, Any]) -> str:
    """Markdown: what the kept model is and what it reached."""
    lines = [f"# {recipe.name}", ""]
    lines += [
        f"{recipe.system or 'A system of its own'}, trained on {recipe.benchmark}; recipe {recipe.content_hash},"
    ]
    lines += [f"step {step}, chosen on {recipe.select.on}.", ""]
    if evaluation:
        r1 = {way: evaluation[way]["recall_at"]["1"] for way in ("t2v", "v2t")}
        lines += [f"R@1 there: {r1['t2v']:.1f} (text to video), {r1['v2t']:.1f} (video to text).", ""]
    return "\n".join(lines)
