"""Where an index is, as users say it: a directory, or the URI of an object store.

Light: the command line imports it before anything else.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ..errors import InputError

__all__ = ["SCHEMES", "Location", "ObjectUri", "located"]

SCHEMES = ("s3", "gs", "az")
URI = re.compile(rf"({'|'.join(SCHEMES)}):/+([^/]*)/?(.*)", re.DOTALL)
FOREIGN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # two letters at least: C:/ is a directory
BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,62}")
KEY = re.compile(r"[A-Za-z0-9._=+@-]+(/[A-Za-z0-9._=+@-]+)*")


@dataclass(frozen=True)
class ObjectUri:
    """A place in an object store: ``s3://bucket/films``.

    Attributes:
        scheme: ``s3``, ``gs`` or ``az``.
        bucket: the bucket, or the container of Azure.
        key: what the keys of all objects begin with, without slashes at either end.
    """

    scheme: str
    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}"

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return Path(self.name).stem


Location: TypeAlias = Path | ObjectUri


def located(place: str | os.PathLike[str] | ObjectUri) -> Location:
    """The absolute directory or the URI that is meant.

    A ``Path`` that was made of a URI has lost one of its two slashes (the command line makes such ones); it still
    means the URI.

    Raises:
        InputError: it begins like a URI, but is none that an index can have.
    """
    if isinstance(place, ObjectUri):
        return place
    found = URI.fullmatch(os.fspath(place))
    if found is None:
        if FOREIGN.match(os.fspath(place)):
            raise InputError(
                f"an index cannot be at {os.fspath(place)!r}; expected a directory, or a URI of an object store, which "
                f"begins with {', '.join(f'{scheme}://' for scheme in SCHEMES)}"
            )
        return Path(place).absolute()
    scheme, bucket, key = found[1], found[2], found[3].rstrip("/")
    if not BUCKET.fullmatch(bucket) or not KEY.fullmatch(key) or {".", ".."} & set(key.split("/")):
        raise InputError(
            f"{scheme}://{bucket}/{key} cannot be an index; expected {scheme}://BUCKET/PATH, with letters, digits and "
            "any of . _ = + @ - in the path, such as s3://videos/films.index"
        )
    return ObjectUri(scheme, bucket, key)
