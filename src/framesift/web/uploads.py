"""Pictures and clips that are uploaded to search by: checked, kept for a while, named by what cannot be guessed.

What is stored is never what a client names or says it is: the name on disk is ours, the kind follows from the
content, a picture is decoded in a process with limits and written anew, and a clip is decoded there as it will be for
a search.
"""

from __future__ import annotations

import os
import secrets
import shutil
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from ..errors import DecodeError, InputError
from ..search.query import ClipTerm, ImageTerm, Term
from .answers import shown_name
from .errors import ApiError
from .media_pool import MediaPool
from .pools import Pool
from .schemas import UploadTerm
from .settings import Settings

__all__ = ["Upload", "Uploads"]

MOST_KEPT = 1000
MOST_COMING = 8
NAME_CHARS = 200


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file that a client sent.

    Attributes:
        id: by which a search names it.
        kind: ``image`` or ``clip``.
        name: as the client called it, to be shown.
        path: where it lies.
        duration_s: of a clip.
        size_bytes: of the file.
        expires_at: Unix time in seconds.
    """

    id: str
    kind: Literal["image", "clip"]
    name: str
    path: Path
    duration_s: float | None
    size_bytes: int
    expires_at: float

    def to_dict(self) -> dict[str, Any]:
        """What the client is told."""
        return {
            "id": self.id,
            "kind": self.kind,
            "name": self.name,
            "duration_s": self.duration_s,
            "expires_at": self.expires_at,
        }

    def term(self, body: UploadTerm) -> Term:
        """The part of a query that it becomes.

        Raises:
            InputError: a stretch of a picture was asked for.
        """
        if self.kind == "image":
            if body.start_s is not None or body.end_s is not None:
                raise InputError("a picture has no start_s and end_s; leave them out")
            return ImageTerm(path=self.path, weight=body.weight)
        return ClipTerm(path=self.path, start_s=body.start_s or 0.0, end_s=body.end_s, weight=body.weight)


class Uploads:
    """The uploads of one server, in a folder of its own that goes when the server ends."""

    def __init__(self, settings: Settings, pictures: MediaPool, reading: Pool) -> None:
        self._settings, self._pictures, self._reading = settings, pictures, reading
        base = settings.cache / "uploads"
        base.mkdir(parents=True, exist_ok=True, mode=0o700)
        _remove_orphans(base)
        self._folder = base / f"{os.getpid()}-{secrets.token_hex(4)}"
        self._folder.mkdir(mode=0o700)
        self._lock = threading.Lock()
        self._kept: dict[str, Upload] = {}
        self._coming = 0  # only touched by the event loop's thread

    @asynccontextmanager
    async def place(self) -> AsyncGenerator[None]:
        """A place among those that send at the same time: each may fill as much of the disk as one upload may.

        Raises:
            ApiError: status 503, all are taken.
        """
        if self._coming >= MOST_COMING:
            raise ApiError(503, "busy", "too many files are being sent already", headers={"retry-after": "5"})
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1

    async def take(self, file: BinaryIO, name: str) -> Upload:
        """Check and keep a file.

        Raises:
            DecodeError: it is neither a picture nor a video that can be read.
            ApiError: 503, too much is being decoded.
        """
        upload_id = secrets.token_hex(16)
        raw = self._folder / upload_id
        try:
            await self._reading.run(_copy, file, raw)
            kind, duration_s = await self._inspected(raw, name)
            upload = Upload(
                id=upload_id,
                kind=kind,
                name=shown_name(name)[:NAME_CHARS],
                path=raw,
                duration_s=duration_s,
                size_bytes=raw.stat().st_size,
                expires_at=time.time() + self._settings.upload_s,
            )
        except BaseException:
            raw.unlink(missing_ok=True)
            raise
        with self._lock:
            self._kept[upload_id] = upload
            self._make_room()
        return upload

    async def _inspected(self, raw: Path, name: str) -> tuple[Literal["image", "clip"], float | None]:
        try:
            return await self._pictures.run("inspect_upload", path=str(raw))
        except DecodeError as error:
            raise DecodeError(shown_name(name)[:NAME_CHARS], error.reason) from None  # not where it lies here

    def get(self, upload_id: str) -> Upload:
        """An upload by its identifier.

        Raises:
            ApiError: 404, there is none, or no longer.
        """
        with self._lock:
            self._make_room()
            upload = self._kept.get(upload_id)
        if upload is None:
            raise ApiError(
                404, "unknown_upload", "there is no such upload, or no longer; send the file again"
            )
        return upload

    def _make_room(self) -> None:
        """Drop what has expired, and the oldest while all are too many or too large."""
        now = time.time()
        total = sum(upload.size_bytes for upload in self._kept.values())
        for upload in list(self._kept.values()):  # in the order of arrival
            full = total > self._settings.uploads_bytes or len(self._kept) > MOST_KEPT
            if upload.expires_at > now and not full:
                break
            del self._kept[upload.id]
            total -= upload.size_bytes
            upload.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove all of them."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _copy(file: BinaryIO, target: Path) -> None:
    file.seek(0)
    with target.open("xb") as copy:
        shutil.copyfileobj(file, copy)


def _remove_orphans(base: Path) -> None:
    """Remove what servers left that were killed."""
    for folder in base.iterdir():
        pid = folder.name.partition("-")[0]
        if pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
            with suppress(OSError):
                shutil.rmtree(folder)
