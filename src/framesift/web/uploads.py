"""Pictures and clips that are uploaded to search by: checked, kept for a while, named by what cannot be guessed.

What is stored is never what a client names or says it is: the name on disk is ours, the kind follows from the
content, a picture is decoded in a process with limits and written anew, and a clip is decoded there as it will be for
a search.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import shutil
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from ..errors import DecodeError, InputError
from ..search.query import ClipTerm, ImageTerm, Term
from .answers import shown_name
from .errors import ApiError
from .media_pool import MediaPool
from .pools import Places, Pool
from .schemas import UploadTerm
from .settings import Settings

__all__ = ["Upload", "Uploads"]

MOST_KEPT = 1000
MOST_COMING = 8
SPARE_BYTES = 2**29  # of the disk is left for others
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
        with _locked(base):  # nobody takes our folder for an orphan before it is locked
            _remove_orphans(base)
            self._folder = base / secrets.token_hex(8)
            self._folder.mkdir(mode=0o700)
            self._owner = _lock(self._folder)
        self._lock = threading.Lock()
        self._kept: dict[str, Upload] = {}
        self._coming = Places(MOST_COMING, "too many files are being sent already")
        self._coming_bytes = 0  # only touched by the event loop's thread

    @contextmanager
    def place(self, size_bytes: int | None) -> Generator[None]:
        """A place among those that send at the same time, and on the disk.

        Args:
            size_bytes: of what will come; None: not known, as much as is allowed.

        Raises:
            ApiError: 503, all are taken; 507, the disk would be full.
        """
        needed = 2 * (
            self._settings.upload_bytes if size_bytes is None else size_bytes
        )  # a temporary file first
        with self._coming.place():
            self._coming_bytes += needed
            try:
                if shutil.disk_usage(self._folder).free < self._coming_bytes + SPARE_BYTES:
                    raise ApiError(507, "disk_full", "the server's disk is too full to take this file")
                yield
            finally:
                self._coming_bytes -= needed

    def draft(self, suffix: str) -> Path:
        """A free name for a file that is not kept, in the folder that goes when the server ends, however it ends."""
        return self._folder / f"draft-{secrets.token_hex(8)}{suffix}"

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
        asyncio.get_running_loop().call_later(self._settings.upload_s + 1, self._tidy)
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

    def _tidy(self) -> None:
        with self._lock:
            self._make_room()

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
        if self._owner is not None:
            os.close(self._owner)
            self._owner = None


def _copy(file: BinaryIO, target: Path) -> None:
    file.seek(0)
    with target.open("xb") as copy:
        shutil.copyfileobj(file, copy)


def _lock(folder: Path, wait: bool = False) -> int | None:
    """A descriptor that locks a folder for as long as it is open, also against this process; None: it is locked."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(file)
        return None
    return file


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    file = _lock(folder, wait=True)
    assert file is not None
    try:
        yield
    finally:
        os.close(file)


def _remove_orphans(base: Path) -> None:
    """Remove what servers left that were killed: a lock ends with its process, a number of a process comes again."""
    for folder in base.iterdir():
        with suppress(OSError):
            file = _lock(folder)
            if file is not None:
                try:
                    shutil.rmtree(folder)
                finally:
                    os.close(file)
