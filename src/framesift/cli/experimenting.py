"""``framesift experiment``: the papers' questions, asked again."""

from __future__ import annotations

from pathlib import Path

import typer

from ..errors import InputError
from .output import JSON_OPTION, emit_json, say, talk

__all__ = ["EXAMPLES", "experiment"]

EXAMPLES = """Examples: `framesift experiment` lists the experiments.
`framesift experiment xpool-figure-3a` writes xpool-figure-3a.json, .png and .md into results/.
`framesift experiment crosstvr-ablations -m both=runs/both -m spatial=runs/spatial` compares models of your own.
`framesift experiment xpool-figure-4 most=4 --videos 100` changes a setting of the experiment, and the gallery.
An interrupted run goes on where it was when the same command is given again."""


def experiment(
    name: str = typer.Argument("", help="Which; without it, they are listed.", metavar="[NAME]"),
    settings: list[str] = typer.Argument(
        None, help="Settings of the experiment to change, such as most=4.", metavar="[KEY=VALUE]..."
    ),
    model: list[str] = typer.Option(
        None,
        "--model",
        "-m",
        help="A bundled model, a model directory or a Hugging Face id, or LABEL=MODEL; may be given several times. "
        "Default: all bundled ones that the experiment is about.",
    ),
    benchmark: str = typer.Option(
        "storyboard", help="storyboard, or a benchmark whose files are under --root."
    ),
    root: Path | None = typer.Option(None, help="Directory of the benchmark's annotations and videos."),
    videos: int = typer.Option(200, help="Size of the gallery; 0: the whole benchmark."),
    output: Path = typer.Option(
        Path("results"), "--output", "-o", help="Directory for the result, its picture and its page."
    ),
    seed: int = typer.Option(0, help="Of resampling and of random weights."),
    device: str = typer.Option("auto", help="auto, cpu, cuda or cuda:N."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Repeat an experiment of the papers with models and data of your choice, or list the experiments."""
    from ..evaluation.experiments import EXPERIMENTS, run_experiment

    if not name:
        if as_json:
            emit_json(
                [
                    {"name": key, "title": one.title, "source": one.source, "done": one.done}
                    for key, one in EXPERIMENTS.items()
                ]
            )
            return
        for key, one in EXPERIMENTS.items():
            say(f"{key:<19} {one.title} ({one.source})")
        return
    if "=" in name:
        raise InputError(f"{name!r} is a setting; name the experiment first")
    result = run_experiment(
        name,
        models=model or (),
        benchmark=benchmark,
        root=root,
        videos=videos,
        output=output,
        seed=seed,
        device=device,
        overrides=settings or (),
        report=talk,
    )
    if as_json:
        emit_json(result)
        return
    say(result["shows"])
    for table in result["tables"]:
        say()
        for line in _lines(table):
            say(line)
    talk(f"wrote {name}.json, its picture and its page to {str(output)!r}")


def _lines(table: dict[str, list[list[object]]]) -> list[str]:
    """A table as lines of aligned columns, below its title."""
    cells = [
        [
            "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
            for value in row
        ]
        for row in [table["columns"], *table["rows"]]
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numeric = [all(not isinstance(row[i], str) for row in table["rows"]) for i in range(len(widths))]
    return [
        str(table["title"]),
        *(
            "  "
            + "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(row, widths, numeric, strict=True)
            ).rstrip()
            for row in cells
        ),
    ]
