"""``framesift mcp``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import typer

from ..errors import InputError, MissingExtraError
from .candidates import (
    CANDIDATES_BY_OPTION,
    CANDIDATES_OPTION,
    MILVUS_COLLECTION_OPTION,
    MILVUS_URI_OPTION,
    Engine,
    FoundBy,
    candidate_config,
)
from .output import DEFAULT_INDEX, talk

__all__ = ["EXAMPLES", "mcp"]

EXAMPLES = """Examples: `framesift mcp --index ~/videos.index` is what an agent's configuration runs, such as
{"mcpServers": {"framesift": {"command": "framesift", "args": ["mcp", "--index", "/home/me/videos.index"]}}}.
`framesift mcp -i talks.index -i trips.index` offers two. `FRAMESIFT_TOKEN=$(openssl rand -hex 16) framesift mcp --http`
serves http://127.0.0.1:8765/mcp to whoever knows the token."""

LEAST_TOKEN = 8


def mcp(
    index: list[Path] = typer.Option(
        [DEFAULT_INDEX],
        "--index",
        "-i",
        envvar="FRAMESIFT_INDEX",
        help="Directory of an index; several may be given, and go by the names of their directories.",
    ),
    model: str | None = typer.Option(
        None,
        "--model",
        "-m",
        help="Another model of the same encoder for all of them, e.g. with another matcher.",
    ),
    tag: str | None = typer.Option(
        None,
        "--tag",
        metavar="TAG",
        help="Search the state that framesift publish named so, and the next one once it is published.",
    ),
    candidates: Engine = CANDIDATES_OPTION,
    candidates_by: FoundBy = CANDIDATES_BY_OPTION,
    milvus_uri: str | None = MILVUS_URI_OPTION,
    milvus_collection: str | None = MILVUS_COLLECTION_OPTION,
    http: bool = typer.Option(
        False, "--http", help="Serve HTTP on 127.0.0.1 instead of the standard streams."
    ),
    port: int = typer.Option(
        8765, min=0, max=65535, help="Port for --http; 0 takes one that is free, and says which."
    ),
    token: str | None = typer.Option(
        None,
        envvar="FRAMESIFT_TOKEN",
        show_envvar=True,
        help="With --http: what clients must send as a bearer token. Other users of this machine see the option; they "
        "do not see the variable.",
    ),
) -> None:
    """Let an agent search: a Model Context Protocol server with the tools search, describe, fetch_frame, fetch_sheet,
    list_videos and index_info.

    It answers on stdin and stdout, so an agent starts it itself. It changes nothing, and reads no files but indexed
    videos.
    """
    if token is not None and len(token) < LEAST_TOKEN:
        raise InputError(f"the token has {len(token)} characters; it needs at least {LEAST_TOKEN}")
    try:
        from ..mcp_server.opening import Opening, named
        from ..mcp_server.server import build_server
        from ..mcp_server.transport import serve_http, serve_stdio
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in (
            "mcp",
            "mcp_types",
            "pydantic",
            "uvicorn",
            "starlette",
            "anyio",
        ):
            raise
        raise MissingExtraError("mcp", "mcp") from None
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    config = candidate_config(candidates, candidates_by, milvus_uri, milvus_collection)
    opening = Opening(
        named(index, tag=tag),
        model=model,
        tag=tag,
        candidates=config,
        failed=lambda error: talk(f"error: {error}"),
    )
    server = build_server(opening)
    names = ", ".join(opening.names)
    if http:
        serve_http(server, port=port, token=token, ready=lambda url: talk(f"{names}: serving {url}"))
    else:
        talk(f"{names}: serving on the standard streams")
        serve_stdio(server)
