"""``framesift report``."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import typer

from ..errors import InputError
from .output import JSON_OPTION, emit_json, format_bytes, say, talk

__all__ = ["EXAMPLES", "report"]

EXAMPLES = """Examples: `framesift report` turns results/*.json into report.html, one file that works offline.
`framesift report my-results --output page.html --open` shows it in the browser. `framesift report --no-examples` loads
no model and is done in a second."""


def report(
    results: Path = typer.Argument(Path("results"), help="Folder of result files.", show_default=True),
    output: Path = typer.Option(Path("report.html"), "--output", "-o", help="The page to write."),
    runs: Path = typer.Option(
        Path("runs"),
        help="Folder of training runs, whose log.jsonl and result.json are shown, if it is there.",
    ),
    examples: bool = typer.Option(
        True,
        "--examples/--no-examples",
        help="Show what models look at, on rendered Storyboard videos; takes some seconds a model.",
    ),
    model: list[str] | None = typer.Option(
        None, "--model", "-m", help="A model for the examples; may be repeated. Default: three bundled ones."
    ),
    open_page: bool = typer.Option(False, "--open", help="Show the page in a browser."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Render result files, training curves and examples of attention as one HTML page that works offline."""
    from ..evaluation.report import attention_examples, read_logs, render_report, write_report
    from ..evaluation.results import read_results
    from ..hub import WEIGHTS

    if output.is_dir():
        raise InputError(f"{str(output)!r} is a directory; --output is the HTML file to write")
    documents = read_results(results)
    logs = read_logs(runs)
    for place in sorted(runs.glob("*/result.json")):
        documents[f"{place.parent.name}/result"] = read_results(place.parent)["result"]
    logs += read_logs(WEIGHTS)
    if not documents:
        talk(f"no result files in {str(results)!r}; the page shows training logs and examples only")
    page = render_report(
        documents,
        logs=logs,
        examples=attention_examples(model) if examples else (),
        title="framesift results",
    )
    write_report(output, page)
    if as_json:
        emit_json(
            {
                "page": str(output),
                "results": len(documents),
                "logs": len(logs),
                "bytes": output.stat().st_size,
            }
        )
    else:
        say(str(output))
        talk(
            f"{len(documents)} result files, {len(logs)} training logs, {format_bytes(output.stat().st_size)}"
        )
    if open_page:
        webbrowser.open(output.resolve().as_uri())
