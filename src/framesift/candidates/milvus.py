"""Candidates from a Milvus server, for more moments than the codes of one machine's memory hold.

Milvus only proposes: every row is scored from the gallery's own vectors before the cut, so that scores, filters and
order are those of exact scoring, and the matcher sees the same candidates wherever Milvus' index found them. Rows that
Milvus does not hold, because they are newer than its last filling, are all scored. It is filled by
:mod:`.milvus_sync`. Tried against Milvus Lite only, not yet against a cluster.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import (
    ConfigError,
    FingerprintError,
    IndexNotFoundError,
    InputError,
    ShapeError,
    StaleCandidatesWarning,
)
from .asking import checked_queries
from .base import CandidateIndex, Found, Vectors
from .best import stacked
from .config import CandidateConfig
from .exact import ExactCandidates, score_rows
from .milvus_digests import MomentRows, held_in, moment_digests
from .milvus_server import MOST_HITS, TOKEN_VARIABLE, MilvusServer
from .milvus_stamp import check_name, collection_for, version_text

__all__ = ["MilvusCandidates", "open_milvus"]

EXACT_ROWS = 16_384  # allowed by a filter: 32 MiB at 512 are scored sooner than a server is asked
GROWTH = 4  # of what is asked for, where a filter left too little of the last answer


class MilvusCandidates(CandidateIndex):
    """What a collection proposes for a gallery, scored again from the gallery's vectors.

    Args:
        server: where the collection lies.
        collection: its name, or an alias.
        moment_ids: gives the moment ids of all rows, in their order; asked for once, with the first search.
        vectors: what rows are scored from.
        fresh: rows that the collection does not hold, or holds with another vector, ``[row]``; all of them are scored.
    """

    name: ClassVar[str] = "milvus"

    def __init__(
        self,
        server: MilvusServer,
        collection: str,
        *,
        moment_ids: Callable[[], Sequence[str]],
        vectors: Vectors,
        fresh: NDArray[np.int64] | None = None,
    ) -> None:
        self._server, self._collection = server, collection
        self._moment_ids, self._vectors = moment_ids, vectors
        self._exact = ExactCandidates(vectors)
        self._given_fresh = np.zeros(0, np.int64) if fresh is None else fresh

    def __len__(self) -> int:
        return len(self._vectors)

    def __repr__(self) -> str:
        return f"<MilvusCandidates {len(self)} rows, {self._collection} at {self._server.uri}>"

    @cached_property
    def _rows(self) -> MomentRows:
        rows = MomentRows(self._moment_ids())
        if len(rows) != len(self):
            raise ShapeError("moment ids", expected=f"one for each of {len(self)} rows", got=len(rows))
        return rows

    @cached_property
    def _fresh(self) -> NDArray[np.bool_]:
        """Which rows Milvus cannot propose, ``[row]``."""
        fresh = np.zeros(len(self), dtype=bool)
        fresh[self._given_fresh] = True
        fresh[self._rows.ambiguous] = True
        return fresh

    def search(
        self, queries: NDArray[np.float32], depth: int, *, allowed: NDArray[np.bool_] | None = None
    ) -> Found:
        """As every engine; ``allowed`` acts on what Milvus proposes, which is asked for more until enough are left.

        Raises:
            InputError, ShapeError: as for every engine.
            IndexStateError: the server cannot be reached, or the collection is gone.
        """
        queries = checked_queries(queries, depth, allowed, rows=len(self), dim=self._vectors.dim)
        count = len(self) if allowed is None else int(np.count_nonzero(allowed))
        depth = min(depth, count)
        few = allowed is not None and count <= EXACT_ROWS
        if few or not count or _with_spare(depth) > MOST_HITS:
            return self._exact.search(queries, max(depth, 1), allowed=allowed)
        fresh = self._fresh if allowed is None else self._fresh & allowed
        proposed = self._proposed(queries, depth, count, allowed)
        always = np.flatnonzero(fresh)
        lines: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
        for query, rows in zip(queries, proposed, strict=True):
            if rows is None:  # nothing short of all rows is sure to hold enough
                found = self._exact.search(query[None], depth, allowed=allowed)
                lines.append((found.rows[0], found.scores[0]))
            else:
                some = np.union1d(rows, always)
                lines += score_rows(self._vectors, query[None], some, depth)
        return stacked(lines, depth)

    def _proposed(
        self, queries: NDArray[np.float32], depth: int, count: int, allowed: NDArray[np.bool_] | None
    ) -> list[NDArray[np.int64] | None]:
        """For each query at least ``depth`` allowed rows, or all that Milvus has; None where it gave too few.

        Args:
            queries: ``[query, dim]``.
            depth: how many rows are wanted.
            count: how many are allowed.
            allowed: ``[row]``, or None for all.
        """
        usable = ~self._fresh if allowed is None else ~self._fresh & allowed
        needed = min(depth, int(np.count_nonzero(usable)))
        proposed: list[NDArray[np.int64] | None] = [None] * len(queries)
        if not needed:
            return [np.zeros(0, np.int64) for _ in queries]
        # as if the filter had nothing to do with the query
        limit = min(MOST_HITS, -(-_with_spare(depth) * len(self) // count))
        waiting = list(range(len(queries)))
        while waiting:
            answers = self._server.search(self._collection, queries[waiting], limit)
            again: list[int] = []
            for number, moment_ids in zip(waiting, answers, strict=True):
                rows = self._rows.find(moment_ids)
                rows = np.unique(rows[rows >= 0])
                rows = rows[usable[rows]]
                if len(rows) >= needed:
                    proposed[number] = rows
                elif len(moment_ids) == limit < MOST_HITS:  # else Milvus has no more to give
                    again.append(number)
            waiting, limit = again, min(MOST_HITS, GROWTH * limit)
        return proposed


def open_milvus(
    config: CandidateConfig,
    *,
    moment_ids: Callable[[], Sequence[str]],
    vectors: Vectors,
    fingerprint: str,
    name: str,
    version: tuple[int, ...] | None = None,
    token: str | None = None,
) -> MilvusCandidates:
    """The engine of a gallery whose candidates come from Milvus.

    Where the collection was filled from this very version of the index, nothing is compared. Otherwise digests of all
    moments are, which reads all vectors once and lists the collection.

    Args:
        config: says where the server is, and the collection, unless that is the default one.
        moment_ids: gives the moment ids of all rows, in their order.
        vectors: what rows are scored from, in the same order.
        fingerprint: feature fingerprint of the gallery.
        name: of the index, for the collection's name by default.
        version: of the index (:attr:`.Index.version`). Without it everything is compared.
        token: ``user:password`` or an API key; by default what the environment variable FRAMESIFT_MILVUS_TOKEN holds.

    Raises:
        ConfigError: ``config`` names no server, or wants what Milvus does not hold.
        IndexNotFoundError: there is no such collection.
        FingerprintError: it holds features of another model.
        IndexStateError: the server cannot be reached, or the collection is not framesift's.
        MissingExtraError: pymilvus is not installed.

    Warns:
        StaleCandidatesWarning: the collection lacks some of the moments.
    """
    if config.milvus_uri is None:
        raise ConfigError(
            "candidates.milvus_uri is not set; candidates from Milvus need the address of a server, such as "
            "http://localhost:19530"
        )
    if config.by not in ("auto", "mean"):
        raise ConfigError(
            f"candidates.by is {config.by!r}, but Milvus holds one vector a moment; take by='mean', or another engine"
        )
    collection = check_name(config.milvus_collection or collection_for(name))
    server = MilvusServer(config.milvus_uri, token=token or os.environ.get(TOKEN_VARIABLE))
    found = server.find(collection)
    if found is None:
        raise IndexNotFoundError(
            f"there is no collection {collection!r} at {server.uri}; fill it with: framesift milvus "
            f"sync --uri {server.uri}"
        )
    stamp = found.stamp
    if stamp.fingerprint != fingerprint:
        raise FingerprintError(
            f"the collection {collection!r} at {server.uri} holds features of another model ({stamp.fingerprint[:12]}, "
            f"not {fingerprint[:12]}); fill it from this index with: framesift milvus rebuild, or name another with "
            "--collection"
        )
    if stamp.dim != vectors.dim:
        raise InputError(
            f"the collection {collection!r} at {server.uri} holds vectors of {stamp.dim} dimensions, the index has "
            f"{vectors.dim}; fill it again with: framesift milvus rebuild"
        )
    server.load(found.name)
    current = version is not None and stamp.version == version_text(version) and stamp.rows == len(vectors)
    fresh = None if current else _fresh_rows(server, collection, moment_ids(), vectors)
    if fresh is not None and len(fresh):
        warnings.warn(
            StaleCandidatesWarning(
                f"the collection {collection!r} at {server.uri} lacks {len(fresh)} of {len(vectors)} moments, which "
                "are scored one by one; bring it up to date with: framesift milvus sync"
            ),
            stacklevel=2,
        )
    return MilvusCandidates(server, collection, moment_ids=moment_ids, vectors=vectors, fresh=fresh)


def _fresh_rows(
    server: MilvusServer, collection: str, moment_ids: Sequence[str], vectors: Vectors
) -> NDArray[np.int64]:
    held = np.sort(
        np.concatenate([np.zeros(0, np.int64), *(digests for _, digests in server.digests(collection))])
    )
    fresh = np.ones(len(vectors), dtype=bool)
    for first, block in vectors.blocks():
        rows = slice(first, first + len(block))
        fresh[rows] = ~held_in(moment_digests(moment_ids[rows], block), held)
    return np.flatnonzero(fresh)


def _with_spare(depth: int) -> int:
    """Somewhat more rows than are wanted: some that Milvus holds may have left the gallery."""
    return depth + depth // 8 + 16
