"""What an index holds: the columns of its two tables, and the few facts that are true of all of it.

``videos`` has a row a file, ``moments`` a row a searchable stretch of one. A video counts as done only when
its row in ``videos`` is there, and that is written after its moments: a moment whose video is unknown is the
remains of a killed build, which readers pass over and the next writer deletes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal
from urllib.parse import quote, unquote_to_bytes

import pyarrow as pa

from ..errors import IndexNotFoundError, IndexStateError
from .cutting import MomentMode
from .location import ObjectUri
from .place import Place, place_of

__all__ = [
    "FORMAT_VERSION",
    "META_NAME",
    "MOMENTS_TABLE",
    "VIDEOS_TABLE",
    "IndexMeta",
    "VideoRecord",
    "from_column",
    "moments_schema",
    "tags_of",
    "to_column",
    "videos_schema",
]

FORMAT_VERSION = 1
META_NAME = "framesift-index.json"
VIDEOS_TABLE = "videos"
MOMENTS_TABLE = "moments"


@dataclass(frozen=True, kw_only=True)
class IndexMeta:
    """The facts that hold for a whole index, kept in ``framesift-index.json`` beside the tables.

    Attributes:
        fingerprint: feature fingerprint of the model (encoder, temporal module, decoder settings).
        dim: width of the embeddings.
        num_frames: frames that a moment keeps at most.
        moments: how videos are cut.
        model: name, directory or hub id that :func:`framesift.load` takes; None where the model had none.
        snap_s: a frame may be replaced by a keyframe at most so many seconds away; 0 takes exact frames.
        encoded: what computed the features (``torch fp32``, ``openvino int8``), and below fp32 how far it was from fp32
            on the gate's sample; None where nothing has been indexed since this is noted.
        found_by: what the matcher of the model proposes candidates by (:attr:`.Matcher.found_by`), which decides
            whether scenes are kept for it; None in indexes that are older than this is noted.
        format_version: version of this layout.
    """

    fingerprint: str
    dim: int
    num_frames: int
    moments: MomentMode
    model: str | None = None
    snap_s: float = 0.0
    encoded: dict[str, dict[str, Any]] | None = None
    found_by: Literal["mean", "scene"] | None = None
    format_version: int = FORMAT_VERSION

    def encoded_by(self, computed_by: Mapping[str, dict[str, Any]]) -> IndexMeta:
        """The facts once videos were encoded so (:attr:`.Encoded.computed_by`); these themselves if nothing is new."""
        known = self.encoded or {}
        if computed_by.keys() <= known.keys():
            return self
        return replace(self, encoded={**known, **{k: v for k, v in computed_by.items() if k not in known}})

    def write(self, index: str | os.PathLike[str] | ObjectUri | Place) -> None:
        """Write it so that a crash leaves either nothing or all of it.

        Raises:
            IndexStateError: it cannot be written.
        """
        place_of(index).write(META_NAME, asdict(self), indent=2)

    @classmethod
    def exists(cls, index: str | os.PathLike[str] | ObjectUri | Place) -> bool:
        """Whether there is an index, readable or not.

        Raises:
            IndexStateError: it cannot be told.
        """
        return place_of(index).read(META_NAME) is not None

    @classmethod
    def read(cls, index: str | os.PathLike[str] | ObjectUri | Place) -> IndexMeta:
        """Read it back.

        Raises:
            IndexNotFoundError: there is no index at ``index``.
            IndexStateError: it cannot be read, or another version of framesift wrote it.
        """
        place = place_of(index)
        location = place.location
        content = place.read(META_NAME)
        if content is None:
            raise IndexNotFoundError(
                f"no index at {str(location)!r}; make one with: framesift index PATH... --index {location}"
            )
        try:
            values = json.loads(content)
            version = values["format_version"]
        except (ValueError, KeyError, TypeError) as error:
            raise IndexStateError(f"cannot read {META_NAME} in {str(location)!r}: {error}") from error
        if version != FORMAT_VERSION:
            raise IndexStateError(
                f"the index {str(location)!r} has format {version}, this framesift reads format "
                f"{FORMAT_VERSION}; update framesift, or index the videos again into another directory"
            )
        known = {field.name for field in fields(cls)}
        try:
            return cls(**{name: value for name, value in values.items() if name in known})
        except TypeError as error:
            raise IndexStateError(f"{META_NAME} in {str(location)!r} is incomplete: {error}") from error


@dataclass(frozen=True, kw_only=True)
class VideoRecord:
    """A row of ``videos``: one file, indexed or failed.

    Attributes:
        video_id: what moments refer to; survives a move or a change of the file.
        uri: absolute path, the key: identical files at two places are two videos.
        content_hash: BLAKE2b of the whole file, to recognise a moved one; None where it could not be read.
        mtime_ns: modification time when it was read, with ``size_bytes`` what tells a changed file.
        duration_s: length in seconds; this and the following five are None for a file that failed.
        rotation: degrees by which the frames were turned.
        added_at: ISO time (UTC) of indexing.
        status: ``"ok"`` or ``"failed"``.
        error: why it failed.
        metadata: JSON object; its ``tags`` are the user's (:attr:`tags`).
    """

    video_id: str
    uri: str
    content_hash: str | None
    mtime_ns: int
    size_bytes: int
    duration_s: float | None = None
    fps: float | None = None
    width: int | None = None
    height: int | None = None
    codec: str | None = None
    rotation: int | None = None
    added_at: str
    status: Literal["ok", "failed"] = "ok"
    error: str | None = None
    metadata: str = "{}"

    @property
    def tags(self) -> tuple[str, ...]:
        """What the user calls the video, sorted; metadata that holds no tags has none."""
        return tags_of(self.metadata)

    def tagged(self, *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> VideoRecord:
        """The record with other tags, which differ without regard to case; what else ``metadata`` holds is kept."""
        gone = {tag.casefold() for tag in remove}
        kept = {tag.casefold(): tag for tag in self.tags if tag.casefold() not in gone}
        tags = {**{tag.casefold(): tag for tag in add if tag.casefold() not in gone}, **kept}
        values = {**_metadata(self.metadata), "tags": sorted(tags.values())}
        return replace(self, metadata=json.dumps(values, ensure_ascii=False))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def to_row(self) -> dict[str, Any]:
        """The row of the table, which holds nothing but UTF-8."""
        error = self.error and self.error.encode("utf-8", "backslashreplace").decode()
        return asdict(replace(self, uri=to_column(self.uri), error=error))

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> VideoRecord:
        """The record of a row of the table."""
        return replace(cls(**row), uri=from_column(row["uri"]))


def tags_of(metadata: str | None) -> tuple[str, ...]:
    """The tags of a column ``metadata``."""
    tags = _metadata(metadata).get("tags")
    return tuple(sorted(tag for tag in tags if isinstance(tag, str))) if isinstance(tags, list) else ()


def _metadata(metadata: str | None) -> dict[str, Any]:
    try:
        values = json.loads(metadata or "{}")
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


FILE_URI = "file://"


def to_column(path: str) -> str:
    """An absolute path as the table holds it: itself, or a ``file:`` URI (RFC 8089) if it is not UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return FILE_URI + quote(os.fsencode(path))
    return path


def from_column(uri: str) -> str:
    """The path again; bytes that are not UTF-8 are surrogates in it (PEP 383)."""
    return os.fsdecode(unquote_to_bytes(uri[len(FILE_URI) :])) if uri.startswith(FILE_URI) else uri


def videos_schema() -> pa.Schema:
    """Columns of ``videos``, those of :class:`VideoRecord`."""
    return pa.schema(
        [
            pa.field("video_id", pa.string(), nullable=False),
            pa.field("uri", pa.string(), nullable=False),
            ("content_hash", pa.string()),
            ("mtime_ns", pa.int64()),
            ("size_bytes", pa.int64()),
            ("duration_s", pa.float64()),
            ("fps", pa.float64()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("codec", pa.string()),
            ("rotation", pa.int32()),
            ("added_at", pa.string()),
            ("status", pa.string()),
            ("error", pa.string()),
            ("metadata", pa.string()),
        ]
    )


def moments_schema(dim: int) -> pa.Schema:
    """Columns of ``moments``.

    ``vector`` is the normalised masked mean of the frames as stored; ``frames`` the raw frame embeddings,
    flattened from ``[frame, dim]`` and only real ones; ``frame_times_s`` has one entry for each. ``video`` is
    null unless the model has a temporal module that makes such an embedding.
    """
    return pa.schema(
        [
            pa.field("moment_id", pa.string(), nullable=False),
            pa.field("video_id", pa.string(), nullable=False),
            ("start_s", pa.float64()),
            ("end_s", pa.float64()),
            ("vector", pa.list_(pa.float32(), dim)),
            ("frames", pa.list_(pa.float16())),
            ("frame_times_s", pa.list_(pa.float64())),
            ("video", pa.list_(pa.float16(), dim)),
            ("text", pa.string()),
            ("fingerprint", pa.string()),
        ]
    )
