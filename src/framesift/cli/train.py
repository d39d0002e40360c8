"""``framesift train``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import InputError
from .indexing import NO_SPINNING
from .output import JSON_OPTION, ProgressLine, emit_json, talk

if TYPE_CHECKING:
    from ..training.recipe import Recipe

__all__ = ["EXAMPLES", "train"]

EXAMPLES = """Examples: `framesift train my.csv --output my-run` trains X-Pool on clips of your own: my.csv has the
columns video and caption (and start, end, split, if you like). `framesift train recipes/xpool-msrvtt-9k.toml --root
DATA --output runs/xpool optim.batch_size=64` trains a published recipe, with one setting changed. The same command
goes on after an interruption. `torchrun --nproc-per-node 4 -m framesift train ...` uses four GPUs."""

OWN_ENCODER = "storyboard-clip"


def train(
    what: str = typer.Argument(
        help="A recipe: a .toml file, or the name of one of the package. Or captions of your own videos: a .csv, .tsv "
        "or .jsonl file.",
        metavar="RECIPE|CSV",
    ),
    changes: list[str] | None = typer.Argument(
        None, help="Settings to change, such as optim.lr_head=1e-4.", metavar="KEY=VALUE..."
    ),
    root: Path | None = typer.Option(
        None, "--root", help="Folder of annotations and videos. Of your own data: where relative names start."
    ),
    output: Path = typer.Option(Path("framesift.run"), "--output", "-o", help="Folder of the run."),
    encoder: str | None = typer.Option(
        None,
        "--encoder",
        help="Model whose encoder is used: a bundled name, a directory or a Hugging Face id. Default: the recipe's, "
        "or storyboard-clip for your own data.",
    ),
    restart: bool = typer.Option(
        False, "--restart/--resume", help="Begin again, or go on with the run in the folder (default)."
    ),
    device: str = typer.Option("auto", help="auto, cpu, cuda or cuda:N."),
    workers: int | None = typer.Option(None, min=0, help="Decoding processes. Default: one a core."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Train a system on a benchmark or on videos of your own."""
    os.environ.setdefault(*NO_SPINNING)
    from ..training.train import train as run

    recipe = _recipe(what, encoder, changes or [])
    leads = os.environ.get("RANK", "0") == "0"  # of several processes, one speaks
    if recipe.encoder.startswith("storyboard-") and recipe.benchmark != "storyboard" and leads:
        talk(
            f"note: {recipe.encoder} only knows drawn shapes; other videos want --encoder openai/clip-vit-base-patch32"
        )
    with ProgressLine("training", quiet=as_json or not leads) as line:
        result = run(
            recipe,
            root=root,
            folder=output,
            resume=not restart,
            device=device,
            workers=workers,
            report=None if as_json else _talk_over,
            progress=_progress(line),
        )
    if not leads:
        return
    if as_json:
        emit_json(
            {
                "model": str(result.model),
                "result": str(result.path),
                "step": result.step,
                "steps": result.steps,
                "metrics": result.evaluation,
                "failed": result.failed,
                "missing": list(result.missing),
            }
        )
        return
    if result.evaluation:
        for way, name in (("t2v", "text to video"), ("v2t", "video to text")):
            told = result.evaluation[way]
            recall = "  ".join(f"R@{k} {told['recall_at'][k]:.1f}" for k in ("1", "5", "10"))
            talk(
                f"{name} on {recipe.select.on}: {recall}  MdR {told['median_rank']:.1f}  (step {result.step})"
            )
    lost = len(result.failed) + len(result.missing)
    if lost:
        talk(f"{lost} videos were left out: {str(result.path)!r} lists them")
    talk(f"search with it: framesift index VIDEOS --model {result.model} --index {output}.index")


def _talk_over(text: str) -> None:
    """A line in place of the progress bar, which the next step draws anew."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
    talk(text)


def _recipe(what: str, encoder: str | None, changes: list[str]) -> Recipe:
    from ..config import apply_overrides, from_dict
    from ..data import OWN_SUFFIXES
    from ..training.published import find_recipe
    from ..training.recipe import Recipe, read_recipe

    overrides = [*([f"encoder={_quoted(encoder)}"] if encoder else []), *changes]
    if what.lower().endswith(OWN_SUFFIXES):
        if not os.path.isfile(os.path.expanduser(what)):
            raise InputError(f"no file {what!r}")
        return from_dict(Recipe, apply_overrides(_own_defaults(what), overrides))
    try:
        path = find_recipe(what)
    except InputError as error:
        raise InputError(f"{error}; a file of captions ends with {', '.join(OWN_SUFFIXES)}") from None
    return read_recipe(path, overrides=overrides)


def _own_defaults(path: str) -> dict[str, object]:
    """X-Pool on a frozen encoder: minutes on a laptop, and hard to spoil."""
    return {
        "name": Path(path).stem,
        "system": "X-Pool",
        "encoder": OWN_ENCODER,
        "benchmark": path,
        "mask_own": True,
        "optim": {"freeze": "encoder", "lr_head": 1e-4, "epochs": 30, "decay": "matrices"},
    }


def _quoted(text: str) -> str:
    """As a TOML string."""
    import json

    return json.dumps(text)


def _progress(line: ProgressLine) -> Callable[[int, int], None]:
    started: list[tuple[float, int]] = []

    def update(step: int, steps: int) -> None:
        now = time.monotonic()
        if not started:
            started.append((now, step))
        begun, first = started[0]
        eta_s = (now - begun) / (step - first) * (steps - step) if step > first else None
        line.update(step, steps, eta_s=eta_s)

    return update
