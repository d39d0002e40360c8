"""Getting an index back after a power failure.

A Lance commit is atomic for a process that dies, but it never calls fsync: when the power fails, a file of the
newest commit may be missing, cut short or full of zeros, and then the table does not open at all. Therefore
every commit is synced before it counts, and ``framesift-commits.json`` (the journal) notes which version of
``videos`` belongs to which version of ``moments``, and size and checksum of every file that they consist of.

When an index is opened, the newest version of each table is checked. If one is damaged, both tables go back to
the newest pair that is whole: the manifests after it are moved to ``set-aside/``, and the user is told.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import time
import warnings
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lance

from ..errors import IndexRecoveredWarning, IndexStateError
from .durable import fsync_path, write_json
from .published import PUBLISHED_NAME, Published, State
from .schema import MOMENTS_TABLE, VIDEOS_TABLE

__all__ = [
    "ASIDE",
    "JOURNAL_NAME",
    "TABLES",
    "Journal",
    "State",
    "checksum",
    "files_of",
    "find_damage",
    "manifest_version",
    "manifests",
    "newest_whole",
    "open_table",
    "recover",
    "superseded",
    "tables",
    "tell",
    "why",
]

JOURNAL_NAME = "framesift-commits.json"
ASIDE = "set-aside"
KEPT_STATES = 3
"""Earlier states that stay on disk whatever their age: what is gone back to."""

CHECKED_BYTES = 64 * 2**20
"""Of the newest files so much is read and compared with its checksum whenever an index is opened."""

DATA_MAGIC, DELETION_MAGIC = b"LANC", b"ARROW1"  # with what Lance's files and Arrow's end
CHUNK_BYTES = 2**20
CACHE_BYTES = 32 * 2**20  # Lance's own limits are 1 and 6 GiB
NEWEST_VERSION_NUMBER = 2**64 - 1  # manifests are named by what is left to it, so that the newest sorts first
SOURCE_LINE = re.compile(r",? ?\S+\.rs:\d+(:\d+)?")  # where in Lance's own source an error arose

PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM, errno.ENOMEM, errno.EINTR})
"""Errors on reading after which nothing must be set aside."""

TABLES = (VIDEOS_TABLE, MOMENTS_TABLE)


@dataclass(frozen=True)
class Journal:
    """What was made durable.

    Attributes:
        states: the latest states, the newest last.
        files: size in bytes and CRC-32 of every file in use, by its path inside the index.
    """

    states: tuple[State, ...] = ()
    files: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def read(cls, index: Path) -> Journal:
        """The journal of a directory; an empty one where there is none to be read."""
        try:
            return cls.parse((index / JOURNAL_NAME).read_bytes())
        except OSError:
            return cls()

    @classmethod
    def parse(cls, document: bytes | None) -> Journal:
        """The journal of a document; an empty one where there is none, or it is none."""
        try:
            values = json.loads(document or b"")
            states = tuple(State(int(v), int(m), float(time_s)) for v, m, time_s in values["states"])
            files = {str(name): (int(size), int(crc)) for name, (size, crc) in values["files"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls()
        return cls(states, files)

    def document(self) -> dict[str, Any]:
        """What :meth:`parse` reads, for JSON."""
        states = [[state.videos, state.moments, state.time_s] for state in self.states]
        return {"states": states, "files": self.files}

    def write(self, index: Path) -> None:
        """Replace the one in a directory, durably. Raises OSError."""
        write_json(index / JOURNAL_NAME, self.document())

    def with_state(self, state: State, *, grace_s: float) -> Journal:
        """The journal after one more commit; forgets states that nobody can need any more.

        A state is superseded when the next one is committed. It is kept while that is less than ``grace_s`` ago
        (someone may be reading it), and as one of the last ``KEPT_STATES``.
        """
        states = [*self.states, state]
        while len(states) > KEPT_STATES and states[1].time_s < state.time_s - grace_s:
            states.pop(0)
        return Journal(tuple(states), self.files)


def tables(index: Path) -> dict[str, Path]:
    """Directories of the two tables, by name."""
    return {name: index / f"{name}.lance" for name in TABLES}


def open_table(table: str | Path, version: int | None = None) -> Any:
    """A Lance dataset whose caches cannot fill the memory."""
    return lance.dataset(
        table, version=version, index_cache_size_bytes=CACHE_BYTES, metadata_cache_size_bytes=CACHE_BYTES
    )


def manifests(table: Path) -> dict[int, Path]:
    """The versions of a table that are on disk."""
    found: dict[int, Path] = {}
    for path in (table / "_versions").glob("*.manifest"):
        if (version := manifest_version(path.name)) is not None:
            found[version] = path
    return found


def manifest_version(name: str) -> int | None:
    """The version of which a file is the manifest, by its name; None if it is none."""
    stem, dot, suffix = name.partition(".")
    if not stem.isdigit() or dot + suffix != ".manifest":
        return None
    return NEWEST_VERSION_NUMBER - int(stem) if len(stem) == 20 else int(stem)


def checksum(path: Path) -> tuple[int, int]:
    """Size in bytes and CRC-32 of a file."""
    size = crc = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            size += len(chunk)
            crc = zlib.crc32(chunk, crc)
    return size, crc


def find_damage(
    index: Path, name: str, version: int, journal: Journal, *, checked_bytes: int | None = CHECKED_BYTES
) -> str | None:
    """Why a version of a table cannot be read; None if it can.

    All its files must be there, whole by their size and their last bytes. Files of which the journal knows the
    checksum are compared with it, the newest first, until ``checked_bytes`` have been read (None: all). Those
    that it does not know are read through Lance.

    Raises:
        IndexStateError: the files may be whole, but cannot be read just now.
    """
    table = tables(index)[name]
    budget = float("inf") if checked_bytes is None else checked_bytes
    try:
        dataset = open_table(table, version)
        for fragment in reversed(dataset.get_fragments()):
            unknown = False
            for path, size in files_of(fragment):
                expected = journal.files.get(f"{table.name}/{path}")
                reason = _file_damage(table / path, size, expected if budget > 0 else None)
                if reason is not None:
                    return f"{path}: {reason}"
                budget -= expected[0] if expected else 0
                unknown |= expected is None
            if unknown and journal.states:
                for batch in fragment.to_batches(batch_size=1024):
                    batch.validate(full=True)
    except (RuntimeError, OSError, ValueError) as error:
        if _is_passing(error):
            raise IndexStateError(f"cannot read the index {str(index)!r}: {why(error)}") from error
        return why(error)
    return None


def _is_passing(error: Exception) -> bool:
    """Whether the fault is this process's or its surroundings', and says nothing of the files."""
    said = re.search(r"os error (\d+)", str(error))  # as Rust puts it
    number = getattr(error, "errno", None) or (int(said[1]) if said else None)
    return number in PASSING


def files_of(fragment: Any) -> Iterable[tuple[str, int | None]]:
    """The files of a fragment, by their paths inside the table, with the sizes that the manifest notes."""
    for file in fragment.data_files():
        yield f"data/{file.path}", file.file_size_bytes
    if deletions := fragment.deletion_file():
        yield deletions, None


def _file_damage(path: Path, size: int | None, expected: tuple[int, int] | None) -> str | None:
    magic = {".lance": DATA_MAGIC, ".arrow": DELETION_MAGIC}.get(path.suffix, b"")
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno()).st_size
            if found != (size or found) or found < max(1, len(magic)):
                return f"has {found} bytes, not {size}"
            file.seek(found - len(magic))
            if file.read() != magic:
                return "does not end as it should"
    except FileNotFoundError:
        return "is missing"
    if expected is not None and checksum(path) != expected:
        return "its content has changed since it was written"
    return None


def newest(index: Path) -> dict[str, int]:
    """The newest version of each table, readable or not. Raises IndexStateError for a table without any."""
    found = {name: max(manifests(table), default=0) for name, table in tables(index).items()}
    for name, version in found.items():
        if not version:
            raise IndexStateError(f"the index {str(index)!r} has no table {name!r}; {_AGAIN}")
    return found


_AGAIN = "delete it and index the videos again"


def newest_whole(index: Path, *, checked_bytes: int | None = CHECKED_BYTES) -> tuple[State, str]:
    """The newest state of which every file can be read, and why it is not the newest on disk ("" if it is).

    Raises:
        IndexStateError: there is none.
    """
    journal = Journal.read(index)
    top = newest(index)
    reasons: dict[str, str] = {}

    def whole(name: str, version: int) -> bool:
        reason = find_damage(index, name, version, journal, checked_bytes=checked_bytes)
        if reason is not None:
            reasons.setdefault(name, f"version {version} of the table {name!r} cannot be read ({reason})")
        return reason is None

    good = {name: whole(name, version) for name, version in top.items()}
    for name in TABLES:
        if journal.states and top[name] < (noted := journal.states[-1].version(name)):
            good[name] = False
            reasons.setdefault(name, f"version {noted} of the table {name!r} cannot be read (it is missing)")
    if all(good.values()):
        return State(top[VIDEOS_TABLE], top[MOMENTS_TABLE], time.time()), ""
    said = "; ".join(reasons.values())
    for state in reversed(journal.states):
        if all(state.version(name) <= top[name] and whole(name, state.version(name)) for name in TABLES):
            return state, said
    # no journal to go by: the newest of each table; the sweep of the next build makes them fit
    found = {
        name: next((v for v in sorted(manifests(table), reverse=True) if whole(name, v)), 0)
        for name, table in tables(index).items()
    }
    if not all(found.values()):
        raise IndexStateError(f"the index {str(index)!r} cannot be read: {said}; {_AGAIN}")
    written = [manifests(table)[found[name]].stat().st_mtime for name, table in tables(index).items()]
    return State(found[VIDEOS_TABLE], found[MOMENTS_TABLE], max(written)), said


def recover(index: Path) -> str:
    """Set aside what a power failure left of the newest commits; call it under the writer's lock.

    Returns:
        What was wrong; "" if nothing was. It is also said in an :class:`IndexRecoveredWarning`.

    Raises:
        IndexStateError: no state of the index can be read, or it cannot be written to.
    """
    state, reason = newest_whole(index)
    if not reason:
        return ""
    aside = index / ASIDE
    moved: list[Path] = []
    try:
        aside.mkdir(exist_ok=True)
        if (place := index / PUBLISHED_NAME).exists():
            # first: a version that is gone must never be what a tag names
            write_json(place, Published.parse(place.read_bytes(), index).not_after(state).document())
        for name, table in tables(index).items():
            late = {v: path for v, path in manifests(table).items() if v > state.version(name)}
            for version, path in sorted(late.items(), reverse=True):
                target = _free_name(aside, f"{name}-{version}")
                shutil.move(path, target)
                moved.append(target)
            (table / "_versions" / "latest_version_hint.json").unlink(missing_ok=True)
            fsync_path(table / "_versions")
        fsync_path(aside)
        journal = Journal.read(index)
        Journal(tuple(s for s in journal.states if s.time_s <= state.time_s), journal.files).write(index)
        fsync_path(index)
    except OSError as error:
        raise IndexStateError(
            f"the index {str(index)!r} is damaged ({reason}) and cannot be written to ({error.strerror})"
        ) from error
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(state.time_s))
    tell(
        index,
        f"{reason}. The state of {when} was restored and {len(moved)} newer manifests moved to "
        f"{str(aside)!r}; run framesift index again to index what is missing since then",
    )
    return reason


def tell(index: Path, what: str) -> None:
    """Tell the user, in whatever way Python's warnings go."""
    warnings.warn(f"index {str(index)!r}: {what}", IndexRecoveredWarning, stacklevel=3)


def _free_name(folder: Path, stem: str) -> Path:
    taken = {path.name for path in folder.iterdir()}
    numbers = ("", *(f".{n}" for n in range(1, len(taken) + 2)))
    return folder / next(f"{stem}{n}.manifest" for n in numbers if f"{stem}{n}.manifest" not in taken)


def why(error: BaseException) -> str:
    """The first line of an error of Lance's, without the place in its source."""
    return SOURCE_LINE.sub("", next(iter(str(error).splitlines()), type(error).__name__)).strip()


def superseded(
    states: Sequence[State], name: str, on_disk: Iterable[int], *, kept: Iterable[State] = ()
) -> list[int]:
    """Versions of a table that are older than every state of the journal, but for those of ``kept``."""
    oldest = min((state.version(name) for state in states), default=0)
    spared = {state.version(name) for state in kept}
    return [version for version in on_disk if version < oldest and version not in spared]
