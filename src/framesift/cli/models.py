"""``framesift models``: list, show, import."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from ..errors import InputError
from .arithmetic import BACKEND_OPTION, PRECISION_OPTION, BackendName, Precision, set_arithmetic
from .output import JSON_OPTION, emit_json, format_bytes, say, talk

__all__ = ["EXAMPLES", "app"]

EXAMPLES = """Examples: `framesift models` lists what can be used here without a network.
`framesift models show storyboard-xpool` prints a model's card.
`framesift models import model_best.pth --output xpool-9k --tokenizer DIR` converts a published checkpoint."""

app = typer.Typer(
    help="List, describe and import models.", rich_markup_mode=None, invoke_without_command=True
)


@app.callback(invoke_without_command=True)
def _default(context: typer.Context, as_json: bool = JSON_OPTION) -> None:
    if context.invoked_subcommand is None:
        list_models(as_json=as_json)


@app.command("list", epilog="Example: framesift models list --json")
def list_models(as_json: bool = JSON_OPTION) -> None:
    """List the bundled models, the dual encoders in the Hugging Face cache, and the published systems."""
    from ..hub import DEFAULT_MODEL, MODELS
    from ..inventory import cached_models, describe
    from ..systems import EXPLAINED, SYSTEMS

    bundled = [describe(name) for name in MODELS]
    cached = cached_models()
    if as_json:
        systems = [system.to_dict() for system in SYSTEMS]
        emit_json({"bundled": bundled, "cached": cached, "default": DEFAULT_MODEL, "systems": systems})
        return
    say("bundled (they only know drawn shapes):")
    for entry in bundled:
        say(f"  {entry['name']:<18} {entry['matcher']:<13} {entry['dim']} dimensions")
    say("in the Hugging Face cache:")
    for name in cached:
        say(f"  {name}")
    if not cached:
        say("  none")
    say(
        f"any CLIP, SigLIP or SigLIP 2 model of the hub, or a directory with one, works too; default: {DEFAULT_MODEL}"
    )
    say("systems that can be trained, imported and searched with (encoder + temporal + matcher + reranker):")
    for system in SYSTEMS:
        say(f"  {system.name:<22}  {system.sentence}  ({system.paper})")
        told = ", ".join(EXPLAINED[field] for field in system.explains)
        say(f"  {'':<22}  needs {', '.join(system.needs)}; explains {told}")


@app.command("show", epilog="Example: framesift models show storyboard-xpool")
def show(
    name: str = typer.Argument(
        ..., help="A bundled model, a model directory or a Hugging Face id.", metavar="NAME"
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Describe a model: its parts, its sizes and its card."""
    from ..inventory import describe

    entry = describe(name)
    if as_json:
        emit_json(entry)
        return
    card = entry.pop("card")
    for key, value in entry.items():
        say(f"{key:>14}  {format_bytes(value) if key.endswith('_bytes') else value}")
    if card:
        say()
        say(card.rstrip())


@app.command("check", epilog="Example: framesift models check openai/clip-vit-base-patch32 --precision int8")
def check(
    name: str = typer.Argument(
        ..., help="A bundled model, a model directory or a Hugging Face id.", metavar="NAME"
    ),
    device: str = typer.Option("auto", help="auto, cpu, cuda or cuda:N."),
    backend: BackendName | None = BACKEND_OPTION,
    precision: Precision | None = PRECISION_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Compare an encoder as it would be computed with torch in fp32, on pictures and sentences made here.

    The same comparison is made once when a precision below fp32 is first used, which is refused beyond the limits. This
    one measures anew, in any precision, and only tells.
    """
    set_arithmetic(backend, precision)
    from ..encoders.gate import LIMITS, measure
    from ..hub import load

    report = measure(load(name, device=device, force=True).encoder)
    problems = report.problems if report.precision in LIMITS else []
    if as_json:
        emit_json({**report.to_dict(), "problems": problems})
        return
    say(str(report))
    for problem in problems:
        say(f"beyond the limits: {problem}")


@app.command(
    "import",
    epilog="Example: framesift models import model_best.pth --output xpool-9k --tokenizer openai-clip-dir/",
)
def import_model(
    checkpoint: Path = typer.Argument(
        ...,
        help="A published checkpoint: OpenAI CLIP, X-Pool, X-CLIP, TS2-Net, CLIP4Clip or BLIP-2 layout.",
        metavar="FILE",
    ),
    output: Path = typer.Option(..., "--output", "-o", help="Model directory to write."),
    layout: str | None = typer.Option(
        None,
        "--as",
        help="Layout of the file: xpool, xclip, ts2net, clip4clip or clip, by default told from its parameter "
        "names; or blip2, of which CrossTVR's parts are taken.",
        metavar="NAME",
    ),
    tokenizer: Path | None = typer.Option(
        None, help="Directory with the tokenizer of the weights (tokenizer.json)."
    ),
    merges: Path | None = typer.Option(
        None, help="OpenAI's list of merges, bpe_simple_vocab_16e6.txt.gz, instead of --tokenizer."
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Convert a published checkpoint to a model directory."""
    from ..hub import save
    from ..imports import import_checkpoint
    from ..imports.blip2 import QFORMER_FILE, import_blip2
    from ..inventory import describe

    if os.path.lexists(output) and not output.is_dir():
        raise InputError(f"{str(output)!r} is a file; choose a directory for --output")
    if output.is_dir() and any(output.iterdir()):
        raise InputError(f"{str(output)!r} is not empty; choose another directory for --output")
    if layout == "blip2":
        import_blip2(checkpoint, output)
        if as_json:
            emit_json({"image_encoder": str(output), "qformer": str(output / QFORMER_FILE)})
        else:
            talk(f"wrote {str(output)!r}: an image encoder and Q-Former for CrossTVR to be trained with")
        return
    model = import_checkpoint(checkpoint, layout=layout, merges=merges, tokenizer=tokenizer)
    save(model, output)
    if as_json:
        emit_json(describe(output))
    else:
        talk(f"wrote {str(output)!r}; use it with: framesift index PATH --model {output}")
