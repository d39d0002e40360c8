"""The ``framesift`` command: verbs, error messages, exit codes.

Nothing heavy is imported here; each verb imports the library when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

import typer

from ..errors import (
    FramesiftError,
    IndexCacheWarning,
    IndexRecoveredWarning,
    NotRerankedWarning,
    StaleCandidatesWarning,
)
from . import (
    data,
    demo,
    describing,
    doctor,
    evaluating,
    experimenting,
    indexing,
    info,
    mcp,
    milvus,
    models,
    publishing,
    report,
    reproducing,
    searching,
    serving,
    tagging,
    taking,
    train,
)
from .arithmetic import tell_of_encoders
from .output import talk

__all__ = ["app", "run"]

EXIT_CODES = """Exit codes: 0 done; 1 unexpected failure; 2 wrong usage or input; 3 done, but some videos could not be
read; 4 the model cannot be had; 5 the index is missing, locked, or of another model; 6 data set files are
missing; 7 an optional package is missing; 8 the Ray cluster cannot be used; 130 interrupted."""

app = typer.Typer(
    name="framesift",
    help="Find moments in videos by text, and see which frames the text attended to.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"framesift {version('framesift')}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and stop."
    ),
) -> None:
    pass


app.command("demo", epilog=demo.EXAMPLES)(demo.demo)
app.command("index", epilog=indexing.EXAMPLES)(indexing.index)
app.command("search", epilog=searching.EXAMPLES)(searching.search)
app.command("describe", epilog=describing.EXAMPLES)(describing.describe)
app.command("tag", epilog=tagging.EXAMPLES)(tagging.tag)
app.command("cut", epilog=taking.CUT_EXAMPLES)(taking.cut)
app.command("sheet", epilog=taking.SHEET_EXAMPLES)(taking.sheet)
app.command("serve", epilog=serving.EXAMPLES)(serving.serve)
app.command("publish", epilog=publishing.EXAMPLES)(publishing.publish)
app.command("evaluate", epilog=evaluating.EXAMPLES)(evaluating.evaluate)
app.command("train", epilog=train.EXAMPLES)(train.train)
app.command("reproduce", epilog=reproducing.EXAMPLES)(reproducing.reproduce)
app.command("info", epilog=info.EXAMPLES)(info.info)
app.command("mcp", epilog=mcp.EXAMPLES)(mcp.mcp)
app.add_typer(models.app, name="models", epilog=models.EXAMPLES)
app.add_typer(data.app, name="data", epilog=data.EXAMPLES)
app.add_typer(milvus.app, name="milvus", epilog=milvus.EXAMPLES)
app.command("experiment", epilog=experimenting.EXAMPLES)(experimenting.experiment)
app.command("report", epilog=report.EXAMPLES)(report.report)
app.command("doctor", epilog=doctor.EXAMPLES)(doctor.doctor)


INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
OUR_WARNINGS = (IndexCacheWarning, IndexRecoveredWarning, NotRerankedWarning, StaleCandidatesWarning)


def _say_interrupted() -> None:
    talk("interrupted; what was committed is kept, and the same command goes on from there")


def _say_warnings() -> None:
    """What befell an index or a search is a line like every other; other warnings look as Python prints them."""
    print_warning = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], filename: str, lineno: int, *rest: Any) -> None:
        if issubclass(category, OUR_WARNINGS):
            talk(f"warning: {message}")
        else:
            print_warning(message, category, filename, lineno, *rest)

    for category in OUR_WARNINGS:
        warnings.simplefilter("always", category)
    warnings.showwarning = show


def run() -> None:
    """Entry point of the command: one line on stderr and an exit code for every error that is not a bug."""
    _say_warnings()
    tell_of_encoders()  # whatever the verb, and whether it has options for them
    try:
        app()
    except FramesiftError as error:
        talk(f"error: {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _say_interrupted()
        sys.exit(INTERRUPTED)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:  # typer turns an interrupt inside a verb into this
            _say_interrupted()
        raise
    except BrokenPipeError:
        # The reader of our output (head, less) has gone; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
