"""``framesift serve``: the web page and the REST API."""

from __future__ import annotations

import errno
import ipaddress
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer

from ..errors import InputError, MissingExtraError
from ..index.location import located
from .arithmetic import (
    BACKEND_OPTION,
    FORCE_OPTION,
    PRECISION_OPTION,
    BackendName,
    Precision,
    set_arithmetic,
)
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

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ..index import Index
    from ..web.services import Services
    from ..web.settings import Settings

__all__ = ["EXAMPLES", "listen", "serve"]

EXAMPLES = """Examples: `framesift serve --demo --open` shows the product on videos that it renders itself.
`framesift serve -i films.index -i talks.index --allow-folder /mnt/videos` serves two indexes, and lets the page add
folders below /mnt/videos. `framesift serve --host 0.0.0.0 --token-file token.txt` serves a network: put an HTTPS proxy
before it. `framesift serve -i /mnt/my.index --ray 10.0.0.1:6379 --replicas 4` serves what was published, from a
cluster."""

TOKEN_VARIABLE = "FRAMESIFT_TOKEN"
DEMO_VIDEOS = 240
DEFAULT_REPLICAS = 2


def serve(
    index: list[Path] | None = typer.Option(
        None,
        "--index",
        "-i",
        envvar="FRAMESIFT_INDEX",
        help="Directory of an index, or its URI such as s3://bucket/films; may be given several times. Default: "
        "framesift.index in this directory.",
    ),
    demo: bool = typer.Option(
        False, "--demo", help="Serve the library of framesift demo, rendered if it is missing."
    ),
    host: str = typer.Option(
        "127.0.0.1", help="Address to listen at. Others than this machine's own need a token."
    ),
    port: int = typer.Option(8080, min=0, max=65535, help="Port to listen at; 0 takes a free one."),
    token_file: Path | None = typer.Option(
        None,
        metavar="FILE",
        help=f"File with the token that clients must know. Or set the environment variable {TOKEN_VARIABLE}.",
    ),
    allow_folder: list[Path] | None = typer.Option(
        None,
        metavar="DIR",
        help="Folder that may be browsed and indexed from the page; may be given several times. Default: your home, "
        "and the folders that are indexed already.",
    ),
    allow_host: list[str] | None = typer.Option(
        None,
        metavar="NAME",
        help="Name under which browsers reach the server, besides localhost and IP addresses.",
    ),
    read_only: bool = typer.Option(False, "--read-only", help="Search only: nothing is indexed or tagged."),
    tag: str | None = typer.Option(
        None,
        "--tag",
        metavar="TAG",
        help="Serve the state that framesift publish named so, and the next one once it is published. Implies "
        "--read-only.",
    ),
    candidates: Engine = CANDIDATES_OPTION,
    candidates_by: FoundBy = CANDIDATES_BY_OPTION,
    milvus_uri: str | None = MILVUS_URI_OPTION,
    milvus_collection: str | None = MILVUS_COLLECTION_OPTION,
    insecure: bool = typer.Option(
        False, "--insecure", help="Listen beyond this machine without a token all the same."
    ),
    ray: str | None = typer.Option(
        None,
        "--ray",
        metavar="HOST:PORT",
        help="Serve from replicas on the Ray cluster whose head is there; requests enter at the head. They serve what "
        "is published under --tag (default: live), read only. Never starts a cluster: see docs/ray.md.",
    ),
    replicas: int | None = typer.Option(
        None,
        min=1,
        help="With --ray: how many replicas, each with a full copy in memory and a CPU of its own. Default: 2.",
    ),
    state: Path | None = typer.Option(
        None, metavar="DIR", help="Where index jobs are kept. Default: framesift in the user's state folder."
    ),
    backend: BackendName | None = BACKEND_OPTION,
    precision: Precision | None = PRECISION_OPTION,
    force_precision: bool = FORCE_OPTION,
    open_browser: bool = typer.Option(False, "--open", help="Open the page in the browser."),
) -> None:
    """Serve the web page and the REST API.

    Index jobs that were interrupted go on when the server starts again.
    """
    # Before torch is loaded: searches run beside one another, so each computes on one core.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    set_arithmetic(backend, precision, force_precision)
    try:
        from ..web.app import create_app
        from ..web.settings import Settings, cache_folder, state_folder
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "fastapi", "web") from None

    if replicas is not None and ray is None:
        raise InputError("--replicas is about a cluster; say which with --ray HOST:PORT, or leave it out")
    token = _token(token_file)
    if token is None and not insecure and not _is_loopback(host):
        raise InputError(
            f"--host {host} can be reached from other machines, so it needs a token: give --token-file FILE or set "
            f"{TOKEN_VARIABLE} (or say --insecure, if all who can reach it may see all videos)"
        )
    if ray is not None:
        from ..index.published import DEFAULT_TAG
        from ..jobs.cluster import parse_address

        parse_address(ray)  # first: an index may be far away
        _refuse_with_ray(demo=demo, allow_folder=allow_folder, state=state)
        tag = tag or DEFAULT_TAG
    config = candidate_config(candidates, candidates_by, milvus_uri, milvus_collection)
    sources: dict[str, str | Path | Index] = {}
    if demo:
        sources["demo"] = _demo()
    chosen = list(index or ([] if demo else [DEFAULT_INDEX]))
    for path in chosen:
        sources[_name(path, sources)] = path
    settings = Settings(
        token=token,
        hosts=tuple(allow_host or ()),
        allow_folders=_folders(allow_folder, sources, tag),
        read_only=read_only or tag is not None,
        tag=tag,
        candidates=config,
        state=(state or state_folder()).absolute(),
        cache=cache_folder() / "serve",
    )
    if ray is not None:
        libraries = {name: str(located(str(path))) for name, path in sources.items()}
        _serve_on_cluster(
            ray,
            libraries,
            settings,
            host=host,
            port=port,
            replicas=replicas or DEFAULT_REPLICAS,
            open_browser=open_browser,
        )
        return
    listening = listen(host, port)
    with listening:
        app = create_app(sources, settings=settings)
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{listening.getsockname()[1]}/"
        _run(app, listening, url, open_browser=open_browser)


def _refuse_with_ray(*, demo: bool, allow_folder: list[Path] | None, state: Path | None) -> None:
    """What replicas, which change nothing and keep nothing, would not do."""
    given = {"--allow-folder": bool(allow_folder), "--state": state is not None}
    if names := " and ".join(name for name, is_given in given.items() if is_given):
        raise InputError(
            f"{names} with --ray: replicas on a cluster are read only, so that they browse no folders and keep no "
            "index jobs; leave it out, and index with framesift index --ray ... --publish TAG"
        )
    if demo:
        raise InputError(
            "--demo with --ray: the demo is this machine's own, and nothing of it is published; leave out --ray"
        )


def _token(file: Path | None) -> str | None:
    """The token of a file, or of the environment, which child processes then do not see."""
    given = os.environ.pop(TOKEN_VARIABLE, "").strip() or None
    if file is None:
        return given
    try:
        facts = file.stat()
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not plain ASCII text"
        raise InputError(f"cannot read the token in {str(file)!r}: {reason}") from None
    if not token:
        raise InputError(
            f"{str(file)!r} is empty; write a token into it, such as: openssl rand -hex 16 > {file}"
        )
    if facts.st_mode & 0o077:
        talk(f"note: others on this machine may read {str(file)!r}; forbid it with: chmod 600 {file}")
    return token


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name(path: Path, taken: dict[str, Any]) -> str:
    """The directory's name without its suffix; with a number where another index has it already."""
    base = located(path).stem or "index"
    name, number = base, 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    return name


def _demo() -> str:
    from ..storyboard import standard
    from .demo import prepare_demo

    opened, _ = prepare_demo(standard(DEMO_VIDEOS), quiet=False)
    with opened:
        return str(opened.path)


def _folders(given: list[Path] | None, sources: dict[str, Any], tag: str | None) -> tuple[Path, ...]:
    """The folders that were allowed; without any, the home folder and those that hold indexed files."""
    from ..index import Index

    for folder in given or ():
        if not folder.is_dir():
            raise InputError(f"--allow-folder {str(folder)!r} is no folder")
    found = [folder.absolute() for folder in given or (Path.home(),)]
    if not given:
        for path in sources.values():
            with Index.open(path, tag=tag) as opened:  # here, so that a wrong --index is told at once
                found += {Path(record.uri).parent for record in opened.videos()}
    return tuple(dict.fromkeys(found))


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, so that a port that is taken is told before models are loaded."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise InputError(f"--host {host} is no address of this machine: {error.strerror}") from None
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(256)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise InputError(
                f"port {port} of {host} is taken by another program, perhaps another framesift serve; choose another "
                f"one with --port {port + 1 if port < 65535 else 8080}, or --port 0 for any that is free"
            ) from None
        raise InputError(f"cannot listen at {host}, port {port}: {error.strerror}") from None
    return listening


def _run(app: FastAPI, listening: socket.socket, url: str, *, open_browser: bool) -> None:
    from ..web.serving import Server, configured

    talk(f"framesift is at {url} (Ctrl-C ends it)")
    services: Services = app.state.services
    services.warm_up(lambda error: talk(f"warning: {error}"))  # beside: the page is there at once
    if open_browser:
        import webbrowser

        webbrowser.open(url)
    # uvicorn raises a signal again once it has ended; being asked to end is no failure
    signal.signal(signal.SIGTERM, _end)
    with suppress(KeyboardInterrupt):
        Server(configured(app)).run(sockets=[listening])


def _serve_on_cluster(
    address: str,
    libraries: dict[str, str],
    settings: Settings,
    *,
    host: str,
    port: int,
    replicas: int,
    open_browser: bool,
) -> None:
    from ..jobs.cluster import UNGUARDED, connected
    from ..jobs.ray_serve import serving, watch

    with suppress(KeyboardInterrupt), connected(address) as cluster:
        signal.signal(signal.SIGTERM, _end)  # now: connecting sets another handler
        if not cluster.wants_token:
            talk(f"note: {UNGUARDED}")
        talk(f"starting {replicas} replicas on {address}")
        with serving(cluster, libraries, settings, host=host, port=port, replicas=replicas) as served:
            talk(f"framesift is at {served.url} on the head node (Ctrl-C ends it)")
            if open_browser:
                import webbrowser

                webbrowser.open(served.url)
            watch(served.application, lambda running: talk(f"{running} of {replicas} replicas answer"))


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)
