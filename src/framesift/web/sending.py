"""Answers that are files: from a descriptor that is open already, in ranges, under a name for saving."""

from __future__ import annotations

import os
import unicodedata
from urllib.parse import quote

from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

from .answers import shown

__all__ = ["OpenFile", "attachment"]


class OpenFile(FileResponse):
    """An open file, which is closed when it is sent; it cannot be swapped between a check and the answer.

    Args:
        file: its descriptor.
        media_type: what to call it.
        cache: the ``Cache-Control`` header; by default a browser asks each time whether it has changed.
        disposition: the ``Content-Disposition`` header, as of :func:`attachment`.
    """

    def __init__(
        self, file: int, *, media_type: str, cache: str = "private, no-cache", disposition: str | None = None
    ) -> None:
        self._file = file
        headers = {"cache-control": cache}
        if disposition is not None:
            headers["content-disposition"] = disposition
        super().__init__(
            f"/proc/self/fd/{file}", media_type=media_type, stat_result=os.fstat(file), headers=headers
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            os.close(self._file)


def attachment(name: str) -> str:
    """A ``Content-Disposition`` that saves a file under a name (RFC 6266): in full, and in ASCII for old programs."""
    name = "".join(
        character for character in shown(name) if character.isprintable() and character not in '/\\"'
    )
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = plain.replace("%", "_").strip(" .") or "file"
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
