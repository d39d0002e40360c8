"""An index in an object store."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Generator, Hashable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa

from ...errors import IndexStateError, InputError
from ..journal import JOURNAL_NAME, TABLES, Journal, files_of, manifest_version, open_table
from ..location import ObjectUri
from ..lock import LOCK_NAME
from ..place import Place
from ..published import PUBLISHED_NAME, State
from ..schema import META_NAME
from ..subtitles import SUBTITLES_NAME
from .errors import explained
from .lease import Lease
from .objects import Objects
from .subtitles import SubtitleCopies

__all__ = ["ObjectStorePlace"]

REFRESH_S = 2.0
"""A look at an object store is a request over the network, and every search begins with one."""


class ObjectStorePlace(Place):
    """The place of an index in an object store. Lance takes credentials from the same environment variables.

    Args:
        uri: what the keys of all its objects begin with.

    Raises:
        MissingExtraError: the client of object stores is not installed.
    """

    refresh_s = REFRESH_S
    compares = "size"

    def __init__(self, uri: ObjectUri) -> None:
        self._uri = uri
        self._objects = Objects(uri)
        self._lease: Lease | None = None
        self._subtitles = SubtitleCopies(
            self._objects, self.cache_folder.parent / "subtitles", refresh_s=REFRESH_S
        )

    def __repr__(self) -> str:
        return f"<ObjectStorePlace {self._uri}>"

    @property
    def location(self) -> ObjectUri:
        return self._uri

    # ---- documents

    def read(self, name: str) -> bytes | None:
        found = self._objects.get(name)
        return None if found is None else found.content

    def write(self, name: str, document: Any, *, indent: int | None = None) -> None:
        self.guard()
        self._objects.put(name, json.dumps(document, indent=indent).encode())

    def stamp(self, name: str) -> Hashable:
        return self._objects.mark(name)

    # ---- tables

    def table(self, name: str, version: int | None = None) -> Any:
        return open_table(f"{self._uri}/{name}.lance", version)

    def make_table(self, name: str, schema: pa.Schema) -> None:
        self._objects.delete([path for path, _ in self._objects.listed(f"{name}.lance")])
        lance.write_dataset(schema.empty_table(), f"{self._uri}/{name}.lance")

    def versions(self, name: str) -> list[int]:
        names = (path.rpartition("/")[2] for path, _ in self._objects.listed(f"{name}.lance/_versions"))
        return [version for version in map(manifest_version, names) if version is not None]

    # ---- reading

    def check(self) -> State | None:
        """A put is never seen in part."""

    def damage(self, state: State, journal: Journal, *, thorough: bool = False) -> str | None:
        for name in TABLES:
            version = state.version(name)
            try:
                fragments = self.table(name, version).get_fragments()
            except (RuntimeError, OSError, ValueError) as error:
                return f"version {version} of the table {name!r}: {explained(str(error), self._uri)}"
            if not thorough:
                continue
            there = dict(self._objects.listed(f"{name}.lance"))
            for path, size in (file for fragment in fragments for file in files_of(fragment)):
                found = there.get(f"{name}.lance/{path}")
                if found is None or found != (size or found):
                    reason = "is missing" if found is None else f"has {found} bytes, not {size}"
                    return f"version {version} of the table {name!r}: {path}: {reason}"
        return None

    def recoveries(self) -> int:
        return 0

    def size_bytes(self) -> int:
        return sum(size for _, size in self._objects.listed())

    # ---- writing

    def make(self) -> None:
        """A prefix is there as soon as an object has it."""

    def claim(self) -> None:
        names = self._objects.top()
        if META_NAME in names:
            raise IndexStateError(
                f"there is an index at {str(self._uri)!r} already; open it, or choose another URI"
            )
        own = {META_NAME, LOCK_NAME, JOURNAL_NAME, PUBLISHED_NAME, SUBTITLES_NAME}
        foreign = sorted(names - own - {f"{name}.lance" for name in TABLES})
        if foreign:
            raise InputError(
                f"{str(self._uri)!r} holds other objects ({foreign[0]}, ...); an index needs a URI of its own, such as "
                f"{self._uri}/my.index"
            )

    @contextmanager
    def writing(self) -> Generator[None]:
        with Lease(self._objects) as lease:
            self._lease = lease
            self._subtitles.begin()
            try:
                yield
            finally:
                self._lease = None

    def recover(self) -> None:
        """Nothing is ever torn."""

    def guard(self) -> None:
        assert self._lease is not None, "only the writer writes"
        self._lease.check()

    def sync(self) -> dict[str, tuple[int, int]]:
        """A put is durable; checksums are the object store's own."""
        return {}

    # ---- beside the tables

    @property
    def cache_folder(self) -> Path:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        # one URI means another index at another endpoint
        key = f"{self._uri} {os.environ.get('AWS_ENDPOINT_URL', '')}".encode()
        digest = hashlib.blake2b(key, digest_size=8).hexdigest()
        return base / "framesift" / "indexes" / digest / "cache"

    def subtitles_to_read(self) -> Path:
        return self._subtitles.to_read()

    def subtitles_to_write(self) -> Path:
        return self._subtitles.to_write()

    def keep_subtitles(self) -> None:
        self.guard()
        self._subtitles.keep()
