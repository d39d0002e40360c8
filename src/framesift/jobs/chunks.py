"""What a node does with a chunk of files: decode and encode them, exactly as a build on one machine does.

Chunks and results travel as pickles, between processes that run the same code under the same user's control (a Ray
cluster runs whatever it is given, so that its token is what protects it). Errors travel as values: one that Ray meets
in an actor would be tried again without end, or arrive as a page of text.
"""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..errors import ClusterError, DecodeError, FingerprintError, FramesiftError
from ..index.files import File, Todo
from ..index.reporting import BuildConfig
from ..index.schema import IndexMeta

if TYPE_CHECKING:
    from ..index.encoding import Encoded, FileEncoder

__all__ = ["Chunk", "ChunkEncoder", "Loading", "Outcome"]


@dataclass(frozen=True, kw_only=True)
class Loading:
    """How a node loads the model: what :func:`framesift.load` takes."""

    reference: str
    device: str = "auto"
    precision: str = "fp32"
    backend: str = "auto"
    force: bool = False


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Files that are encoded by one actor and committed together; ``number`` counts from 0."""

    number: int
    todo: Sequence[Todo]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a chunk: ``encoded``, or why no chunk can be done on that node."""

    number: int
    encoded: Encoded | None = None
    failure: FramesiftError | None = None


class ChunkEncoder:
    """An actor, for :meth:`ray.data.Dataset.map_batches`: it loads the model once, then encodes chunk after chunk.

    Args:
        meta: of the index.
        config: of the build.
        loading: of the model.
        total_bytes: size of all files of the build.
    """

    def __init__(self, meta: IndexMeta, config: BuildConfig, loading: Loading, total_bytes: int) -> None:
        # before torch is loaded: its idle threads would otherwise spin on cores that decoding needs
        os.environ.setdefault("GOMP_SPINCOUNT", "0")
        self._meta = meta
        self._encoder: FileEncoder | None = None
        self._failure: FramesiftError | None = None
        try:
            self._encoder = _encoder(meta, config, loading, total_bytes)
        except FramesiftError as error:
            self._failure = _on_this_node(error)
        except (
            Exception
        ) as error:  # a driver of the device that is missing, say: whatever it is, it is this node's
            self._failure = ClusterError(
                f"node {_here()} cannot load the model: {type(error).__name__}: {error}"
            )

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        """Column ``chunk`` in, column ``outcome`` out."""
        chunks: list[Chunk] = [pickle.loads(one) for one in batch["chunk"]]
        return {"outcome": [pickle.dumps(self.outcome(chunk)) for chunk in chunks]}

    def outcome(self, chunk: Chunk) -> Outcome:
        """What became of a chunk."""
        if self._encoder is None:
            return Outcome(number=chunk.number, failure=self._failure)
        from ..index.encoding import joined

        seen: list[Todo] = []
        put_off: list[tuple[File, DecodeError]] = []
        for file, earlier in chunk.todo:
            if (error := _unseen(file)) is None:
                seen.append((file, earlier))
            else:
                put_off.append((file, error))
        try:
            encoded = joined(list(self._encoder.encode(seen)), self._meta)
        except FramesiftError as error:
            return Outcome(number=chunk.number, failure=_on_this_node(error))
        except Exception as error:  # out of the device's memory, say
            failure = ClusterError(f"node {_here()} cannot encode: {type(error).__name__}: {error}")
            return Outcome(number=chunk.number, failure=failure)
        return Outcome(number=chunk.number, encoded=replace(encoded, put_off=put_off))


def _encoder(meta: IndexMeta, config: BuildConfig, loading: Loading, total_bytes: int) -> FileEncoder:
    from ..hub import load
    from ..index.encoding import FileEncoder

    model = load(
        loading.reference,
        device=loading.device,
        dtype=loading.precision,
        backend=loading.backend,
        force=loading.force,
    )
    if (found := model.fingerprint()) != meta.fingerprint:
        raise FingerprintError(
            f"the model {loading.reference!r} has the fingerprint {found[:12]} there, and the index was built with "
            f"{meta.fingerprint[:12]}: give all nodes the same model and versions"
        )
    return FileEncoder(meta, model, config, total_bytes=total_bytes)


def _unseen(file: File) -> DecodeError | None:
    """Why this node cannot be asked about a file at all."""
    try:
        size = os.stat(file.uri).st_size
    except OSError as error:
        why = error.strerror or str(error)
        return DecodeError(
            file.uri, f"node {_here()} does not see it ({why}); it is tried again in the next build"
        )
    if size != file.size_bytes:
        return DecodeError(
            file.uri,
            f"node {_here()} sees {size} bytes of it, not {file.size_bytes}: it is being written, or another file lies "
            "at that path there; it is tried again in the next build",
        )
    return None


def _on_this_node(error: FramesiftError) -> FramesiftError:
    """The error with the node's name before it."""
    error.args = (f"node {_here()}: {error}",)
    return error


def _here() -> str:
    import ray

    return f"{socket.gethostname()} ({ray.util.get_node_ip_address()})"
