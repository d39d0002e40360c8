"""Filling a Milvus collection from an index, which stays the truth: what Milvus holds can always be made again.

A moment is right in Milvus if the digest of its id and vector is that of the index. So bringing a collection up to date
is: list the digests that are there, send what is missing, delete what should not be there. That can be killed anywhere
and run again, and does nothing the second time.

What filters look at (folders, times, tags) is not sent: whoever searches has it from the index anyway, and a copy in
Milvus would be behind it from one sync to the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FingerprintError, IndexStateError
from .milvus_digests import held_in, moment_digests
from .milvus_server import MilvusServer
from .milvus_stamp import Stamp, check_name

__all__ = ["MilvusStatus", "MomentBatch", "Source", "SyncProgress", "SyncReport", "rebuild", "status", "sync"]

BATCH_BYTES = (
    4 << 20
)  # of vectors in a request: gRPC takes 64 MiB, and a request is in memory some four times over
INDEX_WAIT_S = 3600.0

SyncProgress = Callable[[int, int], None]
"""Called with how many moments were compared, and how many there are."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MomentBatch:
    """Some moments of an index, with what Milvus holds of them.

    Attributes:
        moment_ids: one a moment.
        vectors: unit vectors, ``[moment, dim]``.
    """

    moment_ids: Sequence[str]
    vectors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.moment_ids)


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """An index that a collection is filled from, as it was at one time.

    Attributes:
        name: of the index; a collection that was filled from one is not changed from another by mistake.
        fingerprint: feature fingerprint of the vectors.
        dim: their width.
        version: of the index.
        moments: how many it has.
        batches: reads them, from the beginning with every call.
    """

    name: str
    fingerprint: str
    dim: int
    version: str
    moments: int
    batches: Callable[[], Iterable[MomentBatch]]

    @property
    def stamp(self) -> Stamp:
        """That of a collection which is being filled from it."""
        return Stamp(fingerprint=self.fingerprint, dim=self.dim, source=self.name)


@dataclass(frozen=True, kw_only=True)
class SyncReport:
    """What was done to a collection.

    Attributes:
        name: under which it is searched.
        collection: the collection behind that name.
        moments: how many it holds now.
        sent: how many were new, or had changed.
        deleted: how many had left the index.
        version: of the index that it now agrees with.
        elapsed_s: how long it took.
    """

    name: str
    collection: str
    moments: int
    sent: int
    deleted: int
    version: str
    elapsed_s: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class MilvusStatus:
    """How a collection stands to an index.

    Attributes:
        name: under which it is searched.
        expected: how many moments the index has.
        expected_version: the index' version.
        collection: the collection behind the name; None if there is none.
        moments: how many it holds.
        stamp: what it says of itself; None if there is none.
        same_features: whether its features are those of the index.
        unfinished: collections that an interrupted sync or rebuild left, which a rebuild goes on with.
    """

    name: str
    expected: int
    expected_version: str
    collection: str | None = None
    moments: int = 0
    stamp: Stamp | None = None
    same_features: bool = False
    unfinished: tuple[str, ...] = ()

    @property
    def current(self) -> bool:
        """Whether it agrees with the index."""
        version = self.stamp.version if self.stamp else ""
        return self.same_features and version == self.expected_version and self.moments == self.expected

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "current": self.current}


def sync(
    server: MilvusServer, name: str, source: Source, *, progress: SyncProgress | None = None
) -> SyncReport:
    """Bring a collection up to date, or make and fill it; what it holds already is not sent again.

    A new collection is found under its name only once it is complete. An existing one is changed in place: searches
    meanwhile see some moments as they were and some as they are.

    Args:
        server: where it lies.
        name: under which it is searched: an alias.
        source: what it is filled from.
        progress: called after every batch.

    Raises:
        FingerprintError: the collection holds features of another model; it is left as it is.
        IndexStateError: it was filled from another index, or the server cannot be reached.
        InputError: ``name`` cannot be a collection's.
    """
    found = server.find(check_name(name))
    if found is None:
        return _new(server, name, source, progress)
    if found.name == name:
        raise IndexStateError(_no_alias(server, name))
    held, given = found.stamp, source.stamp
    if held.fingerprint != given.fingerprint or held.dim != given.dim:
        raise FingerprintError(
            f"the collection {name!r} at {server.uri} holds features of another model ({held.fingerprint[:12]}, "
            f"{held.dim} dimensions), the index has {given.fingerprint[:12]}, {given.dim} dimensions; to put these in "
            "their place: framesift milvus rebuild; to keep both, name another with --collection"
        )
    if held.source != given.source:
        raise IndexStateError(
            f"the collection {name!r} at {server.uri} was filled from the index {held.source!r}, not from "
            f"{given.source!r}; name another with --collection, or, if the index has moved or the other one is not "
            "needed there, take it over with: framesift milvus rebuild"
        )
    return _fill(server, name, found.name, source, progress)


def rebuild(
    server: MilvusServer, name: str, source: Source, *, progress: SyncProgress | None = None
) -> SyncReport:
    """Fill a new collection, and have the name stand for it once it is complete; the old one is deleted then.

    Searches find the old collection up to that moment, and the new one after it. Whatever the old one holds, of
    another model or another index, the name is taken over. One that was interrupted is gone on with.

    Args:
        server, name, source, progress: as for :func:`sync`.

    Raises:
        IndexStateError: the server cannot be reached, or what ``name`` stands for was not made by framesift.
        InputError: ``name`` cannot be a collection's.
    """
    behind = server.behind(check_name(name))
    if behind is not None and behind.name == name:
        raise IndexStateError(_no_alias(server, name))
    return _new(server, name, source, progress)


def status(server: MilvusServer, name: str, source: Source) -> MilvusStatus:
    """How a collection stands to an index; changes nothing.

    Args:
        server, name, source: as for :func:`sync`.

    Raises:
        IndexStateError: the server cannot be reached, or the collection is not framesift's.
        InputError: ``name`` cannot be a collection's.
    """
    found = server.find(check_name(name))
    made = [f"{name}_{number}" for number in server.generations(name)]
    known = MilvusStatus(
        name=name,
        expected=source.moments,
        expected_version=source.version,
        unfinished=tuple(other for other in made if found is None or other != found.name),
    )
    if found is None:
        return known
    server.load(found.name)
    return replace(
        known,
        collection=found.name,
        moments=server.count(found.name),
        stamp=found.stamp,
        same_features=found.stamp.changing() == replace(source.stamp, source=found.stamp.source),
    )


def _no_alias(server: MilvusServer, name: str) -> str:
    return (
        f"{name!r} at {server.uri} is a collection itself, not a name that can be moved to another one; give the name "
        "without its number, or another one, with --collection"
    )


def _new(server: MilvusServer, name: str, source: Source, progress: SyncProgress | None) -> SyncReport:
    """Fill a collection that no search sees, then point the name at it, then drop the others."""
    behind, made = server.behind(name), server.generations(name)
    begun = [
        number
        for number, held in made.items()
        if held is not None
        and held.changing() == source.stamp
        and (behind is None or behind.name != f"{name}_{number}")
    ]
    number = begun[-1] if begun else max(made, default=0) + 1
    collection = f"{name}_{number}"
    if not begun:
        server.create(collection, source.stamp)
    report = _fill(server, name, collection, source, progress)
    server.point(name, collection)
    for other, held in made.items():
        if other != number and held is not None:  # not what somebody else gave such a name
            server.drop(f"{name}_{other}")
    return report


def _fill(
    server: MilvusServer, name: str, collection: str, source: Source, progress: SyncProgress | None
) -> SyncReport:
    started = time.monotonic()
    server.load(collection)
    held = np.sort(_joined([digests for _, digests in server.digests(collection)]))
    # first: whoever opens the collection from now on compares for itself
    server.stamp(collection, source.stamp)
    wanted: list[NDArray[np.int64]] = []
    sent = deleted = done = 0
    step = max(1, BATCH_BYTES // (4 * source.dim))
    for batch in source.batches():
        digests = moment_digests(batch.moment_ids, batch.vectors)
        wanted.append(digests)
        missing = np.flatnonzero(~held_in(digests, held))
        for first in range(0, len(missing), step):
            server.upsert(collection, _rows(batch, digests, missing[first : first + step]))
        sent += len(missing)
        done += len(batch)
        if progress is not None:
            progress(done, max(source.moments, done))
    right = np.sort(_joined(wanted))
    if not held_in(held, right).all():
        for moment_ids, digests in server.digests(collection):
            gone = [moment_ids[i] for i in np.flatnonzero(~held_in(digests, right))]
            server.delete(collection, gone)
            deleted += len(gone)
    if sent or deleted:
        server.settle(collection, wait_s=INDEX_WAIT_S)
    server.stamp(collection, replace(source.stamp, version=source.version, rows=done))
    return SyncReport(
        name=name,
        collection=collection,
        moments=done,
        sent=sent,
        deleted=deleted,
        version=source.version,
        elapsed_s=time.monotonic() - started,
    )


def _rows(batch: MomentBatch, digests: NDArray[np.int64], chosen: NDArray[np.int64]) -> list[dict[str, Any]]:
    return [
        {"moment_id": batch.moment_ids[i], "digest": int(digests[i]), "vector": batch.vectors[i]}
        for i in chosen.tolist()
    ]


def _joined(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(0, np.int64), *parts])
