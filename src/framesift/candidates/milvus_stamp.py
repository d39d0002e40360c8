"""What a Milvus collection says of itself, and what it is called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from ..errors import InputError

__all__ = ["FORMAT", "Collection", "Stamp", "check_name", "collection_for", "version_text"]

FORMAT = 2  # 1 held columns to filter by as well
"""Of the fields, the digests and the properties; another one is filled anew."""

PREFIX = "framesift."  # of the properties' names


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """What a collection holds, as its properties say.

    Attributes:
        fingerprint: feature fingerprint of the vectors.
        dim: their width.
        source: the index that it was filled from.
        version: that index' version when it was filled; empty while it is being changed.
        rows: how many moments it held then.
        format: of the collection.
    """

    fingerprint: str
    dim: int
    source: str
    version: str = ""
    rows: int = 0
    format: int = FORMAT

    @property
    def settled(self) -> bool:
        """Whether the last change of the collection was finished."""
        return bool(self.version)

    def changing(self) -> Stamp:
        """The stamp while the collection is being changed."""
        return replace(self, version="", rows=0)

    def to_properties(self) -> dict[str, str]:
        """As Milvus keeps it."""
        return {PREFIX + key: str(value) for key, value in asdict(self).items()}

    @classmethod
    def from_properties(cls, properties: Mapping[str, str]) -> Stamp | None:
        """What was kept; None if framesift did not make the collection."""
        try:
            return cls(
                fingerprint=properties[PREFIX + "fingerprint"],
                dim=int(properties[PREFIX + "dim"]),
                source=properties[PREFIX + "source"],
                version=properties[PREFIX + "version"],
                rows=int(properties[PREFIX + "rows"]),
                format=int(properties[PREFIX + "format"]),
            )
        except (KeyError, ValueError):
            return None


@dataclass(frozen=True, kw_only=True)
class Collection:
    """A collection that is there.

    Attributes:
        name: its own name, not an alias.
        stamp: what it holds.
    """

    name: str
    stamp: Stamp


def check_name(name: str) -> str:
    """A collection's name, if Milvus can have it.

    Raises:
        InputError: it cannot.
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,199}", name):
        raise InputError(
            f"{name!r} cannot be the name of a collection in Milvus; it is up to 200 letters, digits and underscores, "
            "and does not begin with a digit"
        )
    return name


def collection_for(index: str) -> str:
    """The name of the collection of an index, by default: of ``/videos/my.index``, it is ``framesift_my_index``."""
    last = re.split(r"[\\/]", index.rstrip("\\/"))[-1]
    return check_name(("framesift_" + re.sub(r"[^A-Za-z0-9_]", "_", last))[:200])


def version_text(version: tuple[int, ...]) -> str:
    """An index' version as a collection is stamped with it: of ``(12, 14, 0)`` it is ``12.14.0``."""
    return ".".join(map(str, version))
