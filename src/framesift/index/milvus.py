"""An index as the source of a Milvus collection: which moments it has, batch by batch."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..candidates import milvus_sync
from ..candidates.milvus_server import TOKEN_VARIABLE, MilvusServer
from ..candidates.milvus_stamp import collection_for, version_text
from ..candidates.milvus_sync import MilvusStatus, MomentBatch, Source, SyncProgress, SyncReport
from .gallery import LanceGallery
from .index import Index

__all__ = ["milvus_status", "rebuild_milvus", "sync_milvus"]

ROWS_AT_ONCE = 8_192  # 16 MiB of vectors at 512


def sync_milvus(
    index: str | Path,
    *,
    uri: str,
    collection: str | None = None,
    token: str | None = None,
    progress: SyncProgress | None = None,
) -> SyncReport:
    """Bring the Milvus collection of an index up to date, or make it; can be killed and run again at any time.

    Args:
        index: directory of the index.
        uri: ``http://host:19530``, ``https://...``, or the path of a Milvus Lite file, which ends in ``.db``.
        collection: its name, by default one made of the index' name.
        token: ``user:password`` or an API key; by default what the environment variable FRAMESIFT_MILVUS_TOKEN holds.
        progress: called with how many moments were compared, and how many there are.

    Raises:
        IndexNotFoundError, IndexStateError: of the index, or of the server.
        FingerprintError: the collection holds features of another model.
        InputError: ``uri`` is no address, or ``collection`` no name.
        MissingExtraError: pymilvus is not installed.
    """
    with _opened(index, uri, collection, token) as (server, name, source):
        return milvus_sync.sync(server, name, source, progress=progress)


def rebuild_milvus(
    index: str | Path,
    *,
    uri: str,
    collection: str | None = None,
    token: str | None = None,
    progress: SyncProgress | None = None,
) -> SyncReport:
    """Fill a new Milvus collection from an index, and have it searched in place of the old one once it is complete.

    Args, raises: as for :func:`sync_milvus`, but that a collection of another model or index is replaced.
    """
    with _opened(index, uri, collection, token) as (server, name, source):
        return milvus_sync.rebuild(server, name, source, progress=progress)


def milvus_status(
    index: str | Path, *, uri: str, collection: str | None = None, token: str | None = None
) -> MilvusStatus:
    """How the Milvus collection of an index stands to it; changes nothing.

    Args, raises: as for :func:`sync_milvus`.
    """
    with _opened(index, uri, collection, token) as (server, name, source):
        return milvus_sync.status(server, name, source)


@contextmanager
def _opened(
    index: str | Path, uri: str, collection: str | None, token: str | None
) -> Generator[tuple[MilvusServer, str, Source]]:
    """The server, the name of the collection, and the index as it is now."""
    with Index.open(index) as opened:
        gallery = opened.gallery()
        source = Source(
            name=str(opened.path),
            fingerprint=opened.info().fingerprint,
            dim=gallery.dim,
            version=version_text(gallery.version),
            moments=len(gallery),
            batches=lambda: _batches(gallery),
        )
        with MilvusServer(uri, token=token or os.environ.get(TOKEN_VARIABLE)) as server:
            yield server, collection or collection_for(str(opened.path)), source


def _batches(gallery: LanceGallery) -> Iterator[MomentBatch]:
    moment_ids = gallery.moment_ids()
    for begin, block in gallery.vector_blocks():
        for first in range(0, len(block), ROWS_AT_ONCE):
            vectors = block[first : first + ROWS_AT_ONCE]
            start = begin + first
            yield MomentBatch(moment_ids=moment_ids[start : start + len(vectors)], vectors=vectors)
