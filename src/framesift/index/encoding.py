"""From files to rows: decode in worker processes, encode in batches across videos, cut into moments.

It knows files and the model, and nothing of tables on disk: the same work on one machine and on each of a cluster.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import pyarrow as pa
import torch
from torch import Tensor

from ..errors import DecodeError
from ..features import VideoFeatures, masked_mean
from ..video.frames import Frames
from ..video.loader import DecodingPool, available_cores, load_videos
from ..video.moments import Moment
from .cutting import FileDecoder, cut_moments, sampler_for
from .files import File, Todo, content_hash
from .reporting import BuildConfig
from .schema import IndexMeta, VideoRecord, moments_schema

if TYPE_CHECKING:
    from ..model import RetrievalModel

__all__ = ["Encode", "Encoded", "FileEncoder", "joined"]

SHRINK_ABOVE_BYTES = 64 * 2**20
"""Builds that read more than this resize in the decoding processes, which then take seconds to start (they load
torch) but send little; for smaller ones that does not pay. The result is the same."""

RAW_BYTES = 48 * 2**20
"""In smaller builds, files whose frames take more than this are resized there all the same."""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """What became of some files, ready to be committed together.

    Attributes:
        records: rows of ``videos``, those of files that cannot be read included.
        moments: rows of ``moments``, all of those videos.
        failed: an error for every record that failed.
        subtitle_streams: by ``video_id``, how many a video was seen to have; None where nobody looked.
        computed_by: by name, what computed the features (:class:`.Arithmetic`), with what its gate reported; {} if it
            has none.
        put_off: files that could not be read for a reason that lies elsewhere, such as a node of a cluster that does
            not see them. Nothing is stored of them, so that the next build tries again.
        waiting_s: seconds in which nothing could be encoded, because no video was decoded.
        encoding_s: seconds in which frames were encoded.
    """

    records: Sequence[VideoRecord]
    moments: pa.Table
    failed: Sequence[DecodeError] = ()
    subtitle_streams: Mapping[str, int | None] = field(default_factory=dict)
    computed_by: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    put_off: Sequence[tuple[File, DecodeError]] = ()
    waiting_s: float = 0.0
    encoding_s: float = 0.0


class Encode(Protocol):
    """Whatever reads and encodes the files of a build: each of them is in exactly one of the results, in any order."""

    def __call__(self, todo: Sequence[Todo], meta: IndexMeta, config: BuildConfig) -> Generator[Encoded]: ...


def joined(parts: Sequence[Encoded], meta: IndexMeta) -> Encoded:
    """Several results as one."""
    tables = [moments_schema(meta.dim).empty_table(), *(part.moments for part in parts)]
    return Encoded(
        records=[record for part in parts for record in part.records],
        moments=pa.concat_tables(tables),
        failed=[error for part in parts for error in part.failed],
        subtitle_streams={k: v for part in parts for k, v in part.subtitle_streams.items()},
        computed_by={k: v for part in parts for k, v in part.computed_by.items()},
        put_off=[one for part in parts for one in part.put_off],
        waiting_s=sum(part.waiting_s for part in parts),
        encoding_s=sum(part.encoding_s for part in parts),
    )


class FileEncoder:
    """Reads and encodes files for an index; a context manager, whose decoding processes last as long as it does.

    Args:
        meta: of the index.
        model: must have the fingerprint of ``meta``.
        config: of the build.
        total_bytes: sizes of all files that it will be given, summed.
    """

    def __init__(
        self, meta: IndexMeta, model: RetrievalModel, config: BuildConfig, *, total_bytes: int
    ) -> None:
        self._meta, self._model, self._config = meta, model, config
        self._schema = moments_schema(meta.dim)
        self._sampler = sampler_for(meta.moments, meta.num_frames)
        self._decoder = FileDecoder(
            resize=model.encoder.preprocessing,
            raw_bytes=0 if total_bytes > SHRINK_ABOVE_BYTES else RAW_BYTES,
            snap_s=meta.snap_s,
        )
        workers = available_cores() if config.workers is None else config.workers
        self._pool = (
            DecodingPool(
                self._sampler,
                workers=workers,
                timeout_s=config.timeout_s,
                memory_bytes=config.memory_bytes,
                decoder=self._decoder,
            )
            if workers
            else None
        )
        self._hashing = ThreadPoolExecutor(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.close()
        self._hashing.shutdown()

    def encode(self, todo: Sequence[Todo]) -> Generator[Encoded]:
        """A result for each file, as soon as it is encoded or has failed; one list at a time."""
        paths = [file.uri for file, _ in todo]
        with closing(self._decoded(paths)) as results:
            batch: list[_Decoded] = []
            for file, earlier in todo:
                asked = time.monotonic()
                result = next(results)
                waited_s = time.monotonic() - asked
                # hashed while others decode, just after this one was: its bytes are still in the page cache
                digest = self._hashing.submit(content_hash, file.uri)
                one = _Decoded(file=file, earlier=earlier, digest=digest, waited_s=waited_s)
                if isinstance(result, DecodeError):
                    yield self._failed(one, result)
                    continue
                # now: large frames fill memory
                small = self._model.encoder.preprocessing.resize_crop(result.pixels)
                one = replace(one, frames=Frames(small, result.times_s, result.path, result.info))
                if one.num_frames > self._config.batch_frames:
                    yield from self._encode(
                        batch
                    )  # a long video by itself: others would be padded to its length
                    batch = []
                batch.append(one)
                if sum(waiting.num_frames for waiting in batch) >= self._config.batch_frames:
                    yield from self._encode(batch)
                    batch = []
            yield from self._encode(batch)

    def _decoded(self, paths: Sequence[str]) -> Generator[Frames | DecodeError]:
        if self._pool is None:
            return load_videos(paths, self._sampler, decoder=self._decoder)
        ahead = 2 * self._config.batch_frames // self._meta.num_frames  # decoded while a batch is encoded
        return self._pool.load(paths, ahead=ahead)

    def _encode(self, batch: Sequence[_Decoded]) -> Iterable[Encoded]:
        if not batch:
            return
        began = time.monotonic()
        videos = [one.frames for one in batch if one.frames is not None]
        if self._model.temporal.reads_patches:
            encoded = self._model.encoder.encode_video(videos, patches=True)
        else:
            encoded = self._model.encoder.encode_video(videos)
        report = self._model.encoder.compared
        computed_by = {str(self._model.encoder.arithmetic): {} if report is None else report.to_dict()}
        results: list[Encoded] = []
        for row, (one, frames) in enumerate(zip(batch, videos, strict=True)):
            frame = encoded.frame[row, : len(frames)]
            moments = cut_moments(frames, frame.cpu().numpy(), self._meta.moments, self._meta.num_frames)
            patch = None if encoded.patch is None else encoded.patch[row, : len(frames)]
            features = self._features(frame, patch, [rows for _, rows in moments])
            if not bool(features.frame.isfinite().all()):
                why = "the model's features of it are not finite in fp16"
                results.append(self._failed(one, DecodeError(one.file.uri, why)))
                continue
            record = one.record()
            # videos without any subtitles are not opened a second time for them
            streams = {record.video_id: frames.info.num_subtitle_streams} if frames.info is not None else {}
            table = self._table(record, frames, moments, features)
            results.append(
                Encoded(
                    records=[record],
                    moments=table,
                    subtitle_streams=streams,
                    computed_by=computed_by,
                    waiting_s=one.waited_s,
                )
            )
        took_s = (time.monotonic() - began) / len(batch)
        yield from (replace(result, encoding_s=took_s) for result in results)

    def _failed(self, one: _Decoded, error: DecodeError) -> Encoded:
        """A file that cannot be read; what the index held of it goes with this."""
        return Encoded(
            records=[replace(one, frames=None).record(error)],
            moments=self._schema.empty_table(),
            failed=[error],
            waiting_s=one.waited_s,
        )

    def _features(
        self, frame: Tensor, patch: Tensor | None, moments: Sequence[Sequence[int]]
    ) -> VideoFeatures:
        """Features of a video's moments from its frames' embeddings, as they will be stored: in fp16."""
        mask = torch.zeros(len(moments), self._meta.num_frames, dtype=torch.bool, device=frame.device)
        for i, rows in enumerate(moments):
            mask[i, : len(rows)] = True
        chosen = torch.tensor([row for rows in moments for row in rows], device=frame.device)

        def padded(values: Tensor) -> Tensor:
            result = values.new_zeros(*mask.shape, *values.shape[1:])
            result[mask] = values[chosen]
            return result

        with torch.inference_mode():
            features = VideoFeatures(
                frame=padded(frame), frame_mask=mask, patch=None if patch is None else padded(patch)
            )
            return replace(self._model.inform(features), patch=None).to("cpu", torch.float16)

    def _table(
        self,
        record: VideoRecord,
        frames: Frames,
        moments: Sequence[tuple[Moment, Sequence[int]]],
        features: VideoFeatures,
    ) -> pa.Table:
        # of the rounded features: what is searched is what was stored
        vectors = masked_mean(features.frame.float(), features.frame_mask).numpy()
        rows = [
            {
                "moment_id": f"{record.video_id}:{i}",
                "video_id": record.video_id,
                "start_s": moment.start_s,
                "end_s": moment.end_s,
                "vector": vectors[i],
                "frames": features.frame[i][features.frame_mask[i]].flatten().numpy(),
                "frame_times_s": frames.times_s[list(chosen)],
                "video": None if features.video is None else features.video[i].numpy(),
                "fingerprint": self._meta.fingerprint,
            }
            for i, (moment, chosen) in enumerate(moments)
        ]
        return pa.Table.from_pylist(rows, schema=self._schema)


@dataclass(frozen=True, kw_only=True)
class _Decoded:
    """A file that was read; ``earlier`` is the row that it replaces, ``frames`` is None if it could not be."""

    file: File
    earlier: VideoRecord | None
    digest: Future[str | None]
    waited_s: float
    frames: Frames | None = None

    @property
    def num_frames(self) -> int:
        return 0 if self.frames is None else len(self.frames)

    def record(self, error: DecodeError | None = None) -> VideoRecord:
        info = self.frames.info if self.frames is not None else None
        return VideoRecord(
            video_id=self.earlier.video_id if self.earlier is not None else uuid.uuid4().hex,
            uri=self.file.uri,
            content_hash=self.digest.result(),
            mtime_ns=self.file.mtime_ns,
            size_bytes=self.file.size_bytes,
            duration_s=info.duration_s if info else None,
            fps=info.fps if info else None,
            width=info.width if info else None,
            height=info.height if info else None,
            codec=info.codec if info else None,
            rotation=info.rotation if info else None,
            added_at=datetime.now(UTC).isoformat(timespec="seconds"),
            status="failed" if error else "ok",
            error=error.reason if error else None,
            metadata=self.earlier.metadata if self.earlier is not None else "{}",
        )
