"""What an index needs of the place that it is kept in: a local directory, or an object store.

Both hold the same: two Lance tables, and a few small documents beside them. They differ in what makes a commit durable,
in how a second writer is kept out, and in what may go wrong.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Hashable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from .location import Location, ObjectUri, located

if TYPE_CHECKING:
    from .journal import Journal
    from .published import State

__all__ = ["Place", "place_of"]


class Place(ABC):
    """An index's place. All methods raise :class:`.IndexStateError` where it cannot be read or written to.

    Attributes:
        refresh_s: for so long what a reader saw may be taken for the present; 0 where looking costs nothing.
        compares: by what :meth:`damage` looks at files when it is thorough, for people.
    """

    refresh_s: float
    compares: str

    @property
    @abstractmethod
    def location(self) -> Location:
        """The directory or URI."""

    # ---- documents

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """A small document; None where there is none of that name."""

    @abstractmethod
    def write(self, name: str, document: Any, *, indent: int | None = None) -> None:
        """Replace a JSON document durably and in one step. To be called by the writer only."""

    @abstractmethod
    def stamp(self, name: str) -> Hashable:
        """Another value once a document was replaced; None where there is none."""

    # ---- tables

    @abstractmethod
    def table(self, name: str, version: int | None = None) -> Any:
        """A Lance dataset: its newest version, or the one that is asked for.

        Raises:
            RuntimeError, OSError, ValueError: as Lance raises them.
        """

    @abstractmethod
    def make_table(self, name: str, schema: pa.Schema) -> None:
        """An empty table in place of what a killed creation left. Raises as :meth:`table` does."""

    @abstractmethod
    def versions(self, name: str) -> list[int]:
        """The versions of a table that are there, in any order."""

    # ---- reading

    @abstractmethod
    def check(self) -> State | None:
        """See that what was committed last can be read, and repair it if need be; the state to be read instead."""

    @abstractmethod
    def damage(self, state: State, journal: Journal, *, thorough: bool = False) -> str | None:
        """Why a state cannot be read; None if it can, as far as it is looked at. ``thorough``: read all of it."""

    @abstractmethod
    def recoveries(self) -> int:
        """Another number after versions were taken back, so that one number may mean two versions."""

    @abstractmethod
    def size_bytes(self) -> int:
        """Of all that is there, earlier versions included."""

    # ---- writing

    @abstractmethod
    def make(self) -> None:
        """Make what has to be there before :meth:`writing`."""

    @abstractmethod
    def claim(self) -> None:
        """Refuse a place that holds an index already, or anything that is not the remains of a killed creation.

        Raises:
            InputError: it holds something else.
        """

    @abstractmethod
    def writing(self) -> AbstractContextManager[None]:
        """The only right to write, held until the context ends.

        Raises:
            IndexLockedError: another process has it.
        """

    @abstractmethod
    def recover(self) -> None:
        """Restore the last good state where the newest is damaged; called by the writer before anything else."""

    @abstractmethod
    def guard(self) -> None:
        """To be called before every commit.

        Raises:
            IndexLockedError: the right to write has been lost.
        """

    @abstractmethod
    def sync(self) -> dict[str, tuple[int, int]]:
        """Make durable what was written since the last call; sizes and checksums of the files, for the journal."""

    # ---- beside the tables

    @property
    @abstractmethod
    def cache_folder(self) -> Path:
        """A local folder for what can be made again from the tables; not made yet."""

    @abstractmethod
    def subtitles_to_read(self) -> Path:
        """The local folder with the subtitles' database as it is now."""

    @abstractmethod
    def subtitles_to_write(self) -> Path:
        """The local folder in which the writer changes it."""

    @abstractmethod
    def keep_subtitles(self) -> None:
        """Let readers see what the writer has changed."""


def place_of(location: str | os.PathLike[str] | ObjectUri | Place) -> Place:
    """The place of an index; an object store is not asked for anything yet.

    Raises:
        InputError: a URI that cannot be one of an index.
        MissingExtraError: the client of object stores is not installed.
    """
    if isinstance(location, Place):
        return location
    found = located(location)
    if isinstance(found, ObjectUri):
        from .object_store.place import ObjectStorePlace  # needs an extra

        return ObjectStorePlace(found)
    from .directory import Directory

    return Directory(found)
