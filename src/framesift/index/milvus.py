"""An index as the source of a Milvus collection: which moments it has, read from the tables batch by batch."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..candidates import milvus_sync
from ..candidates.milvus_server import TOKEN_VARIABLE, MilvusServer
from ..candidates.milvus_stamp import collection_for, version_text
from ..candidates.milvus_sync import MilvusStatus, MomentBatch, Source, SyncProgress, SyncReport
from .schema import IndexMeta, from_column, tags_of
from .store import Snapshot, Store, lance_errors

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
    path = Path(index).absolute()
    meta = IndexMeta.read(path)
    snapshot = Store(path).snapshot()
    videos = _Videos(snapshot)
    source = Source(
        name=str(path),
        fingerprint=meta.fingerprint,
        dim=meta.dim,
        version=version_text(snapshot.version),
        moments=_count(snapshot, videos),
        batches=lambda: _batches(snapshot, videos, meta.dim),
    )
    with MilvusServer(uri, token=token or os.environ.get(TOKEN_VARIABLE)) as server:
        yield server, collection or collection_for(str(path)), source


class _Videos:
    """What Milvus holds of videos, by video id."""

    def __init__(self, snapshot: Snapshot) -> None:
        table = snapshot.videos(columns=["video_id", "uri", "mtime_ns", "duration_s", "metadata"])
        self._number = {video_id: i for i, video_id in enumerate(table["video_id"].to_pylist())}
        self._folder = [_folder(from_column(uri)) for uri in table["uri"].to_pylist()]
        self._mtime_ns: list[int] = table["mtime_ns"].to_pylist()
        self._duration_s: list[float | None] = table["duration_s"].to_pylist()
        self._tags = [
            sorted({tag.casefold() for tag in tags_of(metadata)})
            for metadata in table["metadata"].to_pylist()
        ]

    def __contains__(self, video_id: str) -> bool:
        return video_id in self._number

    def batch(self, moment_ids: list[str], video_ids: list[str], vectors: np.ndarray) -> MomentBatch:
        numbers = [self._number[video_id] for video_id in video_ids]
        return MomentBatch(
            moment_ids=moment_ids,
            video_ids=video_ids,
            folders=[self._folder[i] for i in numbers],
            mtimes_ns=[self._mtime_ns[i] for i in numbers],
            durations_s=[self._duration_s[i] for i in numbers],
            tags=[self._tags[i] for i in numbers],
            vectors=vectors,
        )


def _batches(snapshot: Snapshot, videos: _Videos, dim: int) -> Iterator[MomentBatch]:
    """All moments whose video is known: the others are what a killed build left."""
    columns = ["moment_id", "video_id", "vector"]
    with lance_errors(snapshot.index, "read"):
        for rows in snapshot.moments.to_batches(columns=columns, batch_size=ROWS_AT_ONCE):
            known = np.array([video_id in videos for video_id in rows["video_id"].to_pylist()], dtype=bool)
            kept = rows if known.all() else rows.filter(pa.array(known))
            vectors = kept["vector"].flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)
            yield videos.batch(kept["moment_id"].to_pylist(), kept["video_id"].to_pylist(), vectors)


def _count(snapshot: Snapshot, videos: _Videos) -> int:
    with lance_errors(snapshot.index, "read"):
        return sum(
            sum(video_id in videos for video_id in rows["video_id"].to_pylist())
            for rows in snapshot.moments.to_batches(columns=["video_id"])
        )


def _folder(path: str) -> str:
    """The folder of a video with a separator at its end; what is not text in its name is left out."""
    return os.path.join(os.path.dirname(path), "").encode("utf-8", "ignore").decode()
