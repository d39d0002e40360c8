"""``framesift milvus``: sync, rebuild, status."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import InputError
from .output import INDEX_OPTION, JSON_OPTION, ProgressLine, emit_json, say, talk

if TYPE_CHECKING:
    from ..candidates.milvus_sync import SyncReport

__all__ = ["EXAMPLES", "app"]

TOKEN_VARIABLE = "FRAMESIFT_MILVUS_TOKEN"

EXAMPLES = """Examples: `framesift milvus sync --index my.index --uri http://milvus:19530` fills a collection, or brings
it up to date.
`framesift search "a dog runs" --candidates milvus --milvus-uri http://milvus:19530` searches with it.
`framesift milvus rebuild --uri http://milvus:19530` fills a new one and has it searched once it is complete.
`framesift milvus status --uri http://milvus:19530 --json` tells whether it agrees with the index."""

SYNC_EXAMPLES = """Examples: `framesift milvus sync --uri http://milvus:19530` sends what is new or has changed in
framesift.index. `framesift milvus sync --uri ./milvus.db --collection holidays` fills a Milvus Lite file (pip install
milvus-lite)."""

REBUILD_EXAMPLES = """Example: `framesift milvus rebuild --uri http://milvus:19530` replaces the collection of
framesift.index, that of another model as well."""

STATUS_EXAMPLES = """Example: `framesift milvus status --uri http://milvus:19530` tells whether the collection of
framesift.index is up to date."""

app = typer.Typer(
    help="Keep a Milvus collection that proposes candidates, for more moments than one machine's memory holds. "
    "Tried with Milvus Lite, not yet with a cluster.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

URI_OPTION = typer.Option(
    ...,
    "--uri",
    envvar="FRAMESIFT_MILVUS_URI",
    help="Address of the server, http://HOST:19530 or https://HOST, or the path of a Milvus Lite file, *.db.",
)
COLLECTION_OPTION = typer.Option(
    None,
    "--collection",
    help="Name of the collection. Default: framesift_ and the index' name.",
    metavar="NAME",
)
TOKEN_OPTION = typer.Option(
    TOKEN_VARIABLE,
    "--token-env",
    help="Environment variable that holds user:password or an API key, if the server wants one.",
    metavar="VARIABLE",
)


@app.command("sync", epilog=SYNC_EXAMPLES)
def sync(
    uri: str = URI_OPTION,
    index: Path = INDEX_OPTION,
    collection: str | None = COLLECTION_OPTION,
    token_env: str = TOKEN_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Fill a collection from an index, or bring it up to date; what it holds already is not sent again.

    The index stays the truth: the collection holds ids and vectors, and can always be made again. Killed at any
    point, the same command goes on from there.
    """
    from ..index.milvus import sync_milvus

    _fill(sync_milvus, index, uri, collection, token_env, as_json=as_json)


@app.command("rebuild", epilog=REBUILD_EXAMPLES)
def rebuild(
    uri: str = URI_OPTION,
    index: Path = INDEX_OPTION,
    collection: str | None = COLLECTION_OPTION,
    token_env: str = TOKEN_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Fill a new collection from an index, and have it searched in place of the old one once it is complete.

    Until then searches find the old one, which is deleted afterwards, whatever it was filled from. Meanwhile the server
    needs room for both.
    """
    from ..index.milvus import rebuild_milvus

    _fill(rebuild_milvus, index, uri, collection, token_env, as_json=as_json)


@app.command("status", epilog=STATUS_EXAMPLES)
def status(
    uri: str = URI_OPTION,
    index: Path = INDEX_OPTION,
    collection: str | None = COLLECTION_OPTION,
    token_env: str = TOKEN_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Tell whether a collection agrees with an index."""
    from ..index.milvus import milvus_status

    found = milvus_status(index, uri=uri, collection=collection, token=_token(token_env))
    if as_json:
        emit_json(found.to_dict())
        return
    if found.collection is None:
        say(f"{'collection':>10}  {found.name} is not there; fill it with: framesift milvus sync")
    else:
        say(f"{'collection':>10}  {found.name} ({found.collection})")
        say(f"{'moments':>10}  {found.moments} of {found.expected}")
        say(f"{'features':>10}  {'those of the index' if found.same_features else 'of another model'}")
        if found.stamp is not None:
            say(
                f"{'filled':>10}  from {found.stamp.source}, version {found.stamp.version or '- (unfinished)'}"
            )
        say(f"{'index':>10}  version {found.expected_version}")
        say(f"{'state':>10}  {_state(current=found.current, same_features=found.same_features)}")
    for name in found.unfinished:
        say(f"{'also there':>10}  {name}, which an interrupted rebuild left; the next one goes on with it")


def _fill(
    fill: Callable[..., SyncReport],
    index: Path,
    uri: str,
    collection: str | None,
    token_env: str,
    *,
    as_json: bool,
) -> None:
    """What sync and rebuild share: the line while it goes on, and what is told at its end."""
    token = _token(token_env)
    with ProgressLine("filling", quiet=as_json) as line:
        report = fill(index, uri=uri, collection=collection, token=token, progress=_progress(line))
    if as_json:
        emit_json(report.to_dict())
    else:
        talk(
            f"{report.name}: {report.moments} moments, {report.sent} sent, {report.deleted} deleted, "
            f"{report.elapsed_s:.1f} s"
        )


def _state(*, current: bool, same_features: bool) -> str:
    if current:
        return "up to date"
    if not same_features:
        return "of another model: framesift milvus rebuild"
    return "behind: framesift milvus sync"


def _token(variable: str) -> str | None:
    token = os.environ.get(variable)
    if (
        token is None and variable != TOKEN_VARIABLE
    ):  # asked for by name: a misspelt one shall not go unnoticed
        raise InputError(f"the environment variable {variable!r} of --token-env is not set")
    return token


def _progress(line: ProgressLine) -> Callable[[int, int], None]:
    started = time.monotonic()

    def update(done: int, total: int) -> None:
        elapsed = time.monotonic() - started
        line.update(done, total, eta_s=elapsed * (total - done) / done if done else None)

    return update
