"""What a server may do and how much of it: limits, folders, secrets."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from ..candidates import CandidateConfig
from ..errors import InputError

__all__ = ["MIN_TOKEN_CHARS", "Settings", "cache_folder", "state_folder"]

MIN_TOKEN_CHARS = 16  # 64 bits even if all of it is hexadecimal


def state_folder() -> Path:
    """Where jobs are kept: ``$XDG_STATE_HOME/framesift``, or ``~/.local/state/framesift``."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "framesift"


def cache_folder() -> Path:
    """Where what can be made again is kept: ``$XDG_CACHE_HOME/framesift``, or below ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "framesift"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a server behaves. Every limit holds for one server, not for one client.

    Attributes:
        token: what a request must bear; None: every program of this machine that reaches the port may ask.
        hosts: names under which the server is reached, besides ``localhost`` and IP addresses (a page that rebinds its
            own name to this address is thereby refused).
        allow_folders: where folders may be browsed and indexed from; links in them must not lead out of them.
        read_only: nothing can be indexed, tagged or forgotten.
        tag: serve what is published under this name, as :meth:`.Index.open` does; None: what was committed last.
        candidates: which engine proposes what is compared frame by frame, as :meth:`.Index.open` takes it.
        state: folder of jobs.
        cache: folder of pictures, clips and uploads.
        cache_bytes: what pictures and clips may take there; the ones unused longest go first.
        body_bytes: a JSON body's limit.
        body_s, slowest_bytes_s: how long a body may take: so many seconds, and one more for so many bytes.
        head_s: seconds after which a connection on which nothing is asked is closed, however much of a head came.
        connections: at a time; others are sent away with status 503. Most systems give a process 1024 open files.
        upload_bytes: an uploaded picture's or clip's limit.
        uploads_bytes: the limit of all uploads together; the oldest go first.
        upload_s: how long an upload is kept, in seconds.
        search_threads: searches at a time; each computes on one core.
        search_waiting: searches that may wait for their turn, before others are sent away with status 503.
        picture_processes, picture_waiting: the same for pictures, each of which is decoded in a process of its own.
        picture_s: seconds after which a picture is given up.
        clip_processes, clip_waiting, clip_s: the same for clips that are encoded or cut out.
        clip_length_s: length of such a clip, at most, in seconds.
    """

    token: str | None = field(default=None, repr=False)
    hosts: tuple[str, ...] = ()
    allow_folders: tuple[Path, ...] = field(default_factory=lambda: (Path.home(),))
    read_only: bool = False
    tag: str | None = None
    candidates: CandidateConfig | None = None
    state: Path = field(default_factory=state_folder)
    cache: Path = field(default_factory=lambda: cache_folder() / "serve")
    cache_bytes: int = 2 * 2**30
    body_bytes: int = 2**20
    body_s: float = 20.0
    slowest_bytes_s: float = 16 * 2**10
    head_s: float = 30.0
    connections: int = 400
    upload_bytes: int = 200 * 2**20
    uploads_bytes: int = 2**30
    upload_s: float = 3600.0
    search_threads: int = 2
    search_waiting: int = 128
    picture_processes: int = 2
    picture_waiting: int = 256
    picture_s: float = 30.0
    clip_processes: int = 1
    clip_waiting: int = 8
    clip_s: float = 300.0
    clip_length_s: float = 600.0

    def __post_init__(self) -> None:
        if self.token is not None and len(self.token) < MIN_TOKEN_CHARS:
            raise InputError(
                f"the token has {len(self.token)} characters; it must have {MIN_TOKEN_CHARS} at least, "
                "such as the output of: openssl rand -hex 16"
            )
        if self.token is not None and not self.token.isascii():
            raise InputError("the token holds characters that are not ASCII, which no HTTP header carries")
