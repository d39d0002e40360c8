"""The objects of one index: get, put under a condition, list, delete."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ...errors import MissingExtraError
from ..location import ObjectUri
from .errors import store_errors

__all__ = ["Found", "Mark", "NotAsExpected", "Objects"]

Mark: TypeAlias = dict[str, str]
"""What tells one version of an object from every other."""

REQUEST_S, CONNECT_S = 60, 5
RETRIES, RETRY_S = 4, 30.0  # the client's own are 10 and 180 s: too long for somebody who waits for an answer


class NotAsExpected(Exception):
    """The object is there although it must not be, or it is another one than expected. Never leaves this package."""


@dataclass(frozen=True)
class Found:
    """An object's content, and the mark of this version of it."""

    content: bytes
    mark: Mark


class Objects:
    """The objects below a URI, by their names relative to it. Threads may share it; nothing is asked for at first.

    Credentials, region and endpoint are those of the environment (``AWS_*`` and so on).

    Raises:
        MissingExtraError: the client is not installed.
        IndexStateError: every method, where the object store refuses or cannot be reached.
    """

    def __init__(self, uri: ObjectUri) -> None:
        try:
            from obstore.store import from_url
        except ModuleNotFoundError as error:
            raise MissingExtraError(error.name or "obstore", "objectstore") from None
        self.uri = uri
        with store_errors(uri, "open"):
            self._store: Any = from_url(
                str(uri),
                client_options={
                    "timeout": timedelta(seconds=REQUEST_S),
                    "connect_timeout": timedelta(seconds=CONNECT_S),
                    # it reads this variable itself only where it is given no options
                    "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("true", "1"),
                },
                retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_S)},
            )

    def get(self, name: str) -> Found | None:
        """An object; None where there is none."""
        import obstore

        try:
            with store_errors(self.uri, "read"):
                result = obstore.get(self._store, name)
                return Found(bytes(result.bytes()), _mark(result.meta))
        except FileNotFoundError:
            return None

    def mark(self, name: str) -> str | None:
        """Another value for every version of an object; None where there is none."""
        import obstore

        try:
            with store_errors(self.uri, "read"):
                return obstore.head(self._store, name)["e_tag"]
        except FileNotFoundError:
            return None

    def put(
        self, name: str, content: bytes | Path, *, mode: Mark | Literal["create", "overwrite"] = "overwrite"
    ) -> Mark:
        """Write an object; gives its mark.

        Args:
            mode: ``"overwrite"``; ``"create"`` if there must be none yet; or the mark of the version to be replaced.

        Raises:
            NotAsExpected: the condition does not hold.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        condition: Any = mode

        try:
            with store_errors(self.uri, "write to"):
                return _mark(obstore.put(self._store, name, content, mode=condition))
        except (AlreadyExistsError, PreconditionError, FileNotFoundError):
            raise NotAsExpected from None

    def fetch(self, name: str, target: Path) -> str | None:
        """Write an object into a local file; gives its mark, None where there is none. Raises OSError."""
        import obstore

        try:
            with store_errors(self.uri, "read"):
                result = obstore.get(self._store, name)
                chunks = iter(result.stream())
        except FileNotFoundError:
            return None
        with target.open("wb") as file:
            while True:
                with store_errors(self.uri, "read"):
                    chunk = next(chunks, None)
                if chunk is None:
                    return result.meta["e_tag"]
                file.write(chunk)

    def listed(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Name and size in bytes of every object whose name begins with ``prefix`` and a slash."""
        import obstore

        with store_errors(self.uri, "read"):
            for page in obstore.list(self._store, prefix or None):
                yield from ((one["path"], one["size"]) for one in page)

    def top(self) -> set[str]:
        """The first parts of all names."""
        import obstore

        with store_errors(self.uri, "read"):
            result = obstore.list_with_delimiter(self._store)
        return {one["path"] for one in result["objects"]} | set(result["common_prefixes"])

    def delete(self, names: list[str]) -> None:
        """Delete objects; those that are not there are no error."""
        import obstore

        if names:
            with store_errors(self.uri, "write to"):
                obstore.delete(self._store, names)


def _mark(facts: Any) -> Mark:
    return {key: facts[key] for key in ("e_tag", "version") if facts[key] is not None}
