"""Building an index: decode in worker processes, encode in batches across videos, commit every so often.

The three go on at the same time, each with a bounded number of videos before it.

Killing a build at any point loses at most what was not committed; running it again finishes the job with
every row once. One bad video never stops it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import torch
from torch import Tensor

from ..errors import DecodeError
from ..features import VideoFeatures, masked_mean
from ..video.frames import Frames
from ..video.loader import MEMORY_BYTES, available_cores, load_videos
from ..video.moments import Moment
from .cutting import FileDecoder, cut_moments, sampler_for
from .files import File, content_hash, list_files, plan
from .patterns import Patterns
from .schema import IndexMeta, VideoRecord, moments_schema
from .store import Store
from .subtitle_refresh import SubtitleKeeper, SubtitleReport

if TYPE_CHECKING:
    from ..model import RetrievalModel

__all__ = ["BuildConfig", "BuildReport", "Progress", "build"]

SHRINK_ABOVE_BYTES = 64 * 2**20
"""Builds that read more than this resize in the decoding processes, which then take seconds to start (they load
torch) but send little; for smaller ones that does not pay. The result is the same."""

RAW_BYTES = 48 * 2**20
"""In smaller builds, files whose frames take more than this are resized there all the same."""


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """How a build runs; none of it changes what is stored.

    Attributes:
        workers: decoding processes; None for one a core, 0 decodes in this process without any protection.
        timeout_s: a file that takes longer to decode has failed.
        memory_bytes: a file that takes more memory to decode has failed.
        batch_frames: frames encoded at once, from as many videos as it takes.
        commit_videos: videos after which a batch is committed.
        commit_s: seconds after which it is committed, if that comes first.
        retry_failed: try files again that failed before and have not changed since.
    """

    workers: int | None = None
    timeout_s: float = 300.0
    memory_bytes: int = MEMORY_BYTES
    batch_frames: int = 96  # eight videos of 12 frames: larger batches gain nothing on a CPU
    commit_videos: int = 256
    commit_s: float = 30.0
    retry_failed: bool = False


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a build is.

    Attributes:
        done: files finished, failed ones included.
        total: files to read; known ones are not among them.
        known: files that are in the index already, from earlier builds or from one that was interrupted.
        failed: files that could not be read so far.
        done_bytes: their sizes, summed.
        total_bytes: sizes of all files to read.
        elapsed_s: time since reading began.
        path: the file that was finished last.
    """

    done: int
    total: int
    failed: int
    done_bytes: int
    total_bytes: int
    elapsed_s: float
    path: str = ""
    known: int = 0

    @property
    def fraction(self) -> float:
        """Part of the work that is done, 0 to 1. A file costs a fixed part (its frames are encoded) and a
        part that grows with its size (it is decoded), so that this is the mean of both shares."""
        if self.done == self.total:
            return 1.0
        return (self.done / self.total + self.done_bytes / max(self.total_bytes, 1)) / 2

    @property
    def eta_s(self) -> float | None:
        """Seconds that are left for the files to read, at the pace so far; None before the first one."""
        return self.elapsed_s * (1 - self.fraction) / self.fraction if self.done else None


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """What a build did.

    Attributes:
        added: videos that are new in the index.
        replaced: videos whose file had changed.
        moved: videos whose file was found at another place; their rows were kept.
        skipped: files that were known and unchanged.
        known_failures: those of ``skipped`` that failed in an earlier build.
        moments: moments written.
        failed: one error for every file that could not be read.
        subtitles: what was done for them.
        elapsed_s: seconds that it took.
        waiting_s: seconds of these in which nothing could be encoded, because no video was decoded.
        encoding_s: seconds of these in which frames were encoded.
        writing_s: seconds in which rows were written, mostly at the same time as the others.
    """

    added: int
    replaced: int
    moved: int
    skipped: int
    known_failures: int
    moments: int
    failed: list[DecodeError] = field(default_factory=list)
    subtitles: SubtitleReport = field(default_factory=SubtitleReport)
    elapsed_s: float = 0.0
    waiting_s: float = 0.0
    encoding_s: float = 0.0
    writing_s: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        failed = [{"path": str(error.path), "reason": error.reason} for error in self.failed]
        return {**vars(self), "failed": failed, "subtitles": self.subtitles.to_dict()}


def build(
    store: Store,
    meta: IndexMeta,
    model: RetrievalModel,
    paths: Iterable[str | Path],
    *,
    config: BuildConfig,
    progress: Callable[[Progress], None] | None = None,
    patterns: Patterns | None = None,
) -> BuildReport:
    """Bring the videos under ``paths`` into an index; must be called under the writer's lock.

    ``patterns`` choose among the files of folders.

    Raises:
        InputError: one of ``paths`` itself cannot be read; nothing has been written then.
        IndexStateError: the index cannot be written to.
    """
    began = time.monotonic()
    files, unlisted = list_files(paths, patterns)
    store.sweep()
    planned = plan(files, store.records(), retry_failed=config.retry_failed)
    store.update_videos(planned.moved)
    count = Progress(
        done=0,
        total=len(planned.todo),
        failed=0,
        done_bytes=0,
        total_bytes=sum(file.size_bytes for file, _ in planned.todo),
        elapsed_s=0.0,
        known=planned.skipped + len(planned.moved),
    )
    started = time.monotonic()
    waiting_s = 0.0
    results = load_videos(
        [file.uri for file, _ in planned.todo],
        sampler_for(meta.moments, meta.num_frames),
        workers=available_cores() if config.workers is None else config.workers,
        timeout_s=config.timeout_s,
        memory_bytes=config.memory_bytes,
        decoder=FileDecoder(
            resize=model.encoder.preprocessing,
            raw_bytes=0 if count.total_bytes > SHRINK_ABOVE_BYTES else RAW_BYTES,
            snap_s=meta.snap_s,
        ),
        ahead=2 * config.batch_frames // meta.num_frames,  # decoded while a batch is encoded
    )
    with (
        SubtitleKeeper(
            store.index, workers=config.workers, timeout_s=config.timeout_s, memory_bytes=config.memory_bytes
        ) as keeper,
        closing(results),
        ThreadPoolExecutor(1) as hashing,
        ThreadPoolExecutor(1) as writing,
    ):
        writer = _Writer(store, meta, model, config, writing, keeper)
        if progress is not None:
            progress(count)
        for file, earlier in planned.todo:
            asked = time.monotonic()
            result = next(results)
            waiting_s += time.monotonic() - asked
            # hashed while others decode, just after this one was: its bytes are still in the page cache
            job = _Job(file=file, earlier=earlier, digest=hashing.submit(content_hash, file.uri))
            if isinstance(result, DecodeError):
                writer.fail(job, result)
            else:
                writer.take(job, result)
            count = replace(
                count,
                done=count.done + 1,
                failed=len(writer.failed),
                done_bytes=count.done_bytes + file.size_bytes,
                elapsed_s=time.monotonic() - started,
                path=file.uri,
            )
            if progress is not None:
                progress(count)
        writer.finish()
        keeper.finish(store.records(), (file.uri for file in files))
    return BuildReport(
        added=writer.added,
        replaced=writer.replaced,
        moved=len(planned.moved),
        skipped=planned.skipped,
        known_failures=planned.known_failures,
        moments=writer.moments,
        failed=[*unlisted, *writer.failed],
        subtitles=keeper.report,
        elapsed_s=time.monotonic() - began,
        waiting_s=waiting_s,
        encoding_s=writer.encoding_s,
        writing_s=writer.writing_s,
    )


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A file that was decoded; ``earlier`` is the row that it replaces."""

    file: File
    earlier: VideoRecord | None
    digest: Future[str | None]

    def record(self, frames: Frames | None = None, error: DecodeError | None = None) -> VideoRecord:
        info = frames.info if frames is not None else None
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


class _Writer:
    """Collects decoded videos; encodes when there are enough frames, commits when there are enough videos.

    ``thread``: commits are made on it, one at a time, while the next videos are encoded.
    """

    def __init__(
        self,
        store: Store,
        meta: IndexMeta,
        model: RetrievalModel,
        config: BuildConfig,
        thread: ThreadPoolExecutor,
        subtitles: SubtitleKeeper,
    ) -> None:
        self.added = self.replaced = self.moments = 0
        self.encoding_s = self.writing_s = 0.0
        self.failed: list[DecodeError] = []
        self._thread = thread
        self._commit_going_on: Future[None] | None = None
        self._store, self._meta, self._model, self._config = store, meta, model, config
        self._subtitles = subtitles
        self._subtitle_streams: dict[str, int | None] = {}
        self._schema = moments_schema(meta.dim)
        self._waiting: list[tuple[_Job, Frames]] = []
        self._records: list[VideoRecord] = []
        self._known: set[str] = set()
        self._tables: list[pa.Table] = []
        self._committed = time.monotonic()

    def take(self, job: _Job, frames: Frames) -> None:
        """A decoded video."""
        small = self._model.encoder.preprocessing.resize_crop(frames.pixels)  # now: large frames fill memory
        frames = Frames(small, frames.times_s, frames.path, frames.info)
        if len(frames) > self._config.batch_frames:
            self._encode()  # a long video is encoded by itself: short ones would be padded to its length
        self._waiting.append((job, frames))
        if sum(len(waiting) for _, waiting in self._waiting) >= self._config.batch_frames:
            self._encode()

    def fail(self, job: _Job, error: DecodeError) -> None:
        """A file that cannot be read; what the index held of it is gone with it."""
        self.failed.append(error)
        self._put(job, job.record(error=error), self._schema.empty_table())

    def finish(self) -> None:
        """Encode and commit what is left."""
        self._encode()
        self._commit()
        self._join()

    def _encode(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        began = time.monotonic()
        videos = [frames for _, frames in waiting]
        if self._model.temporal.reads_patches:
            encoded = self._model.encoder.encode_video(videos, patches=True)
        else:
            encoded = self._model.encoder.encode_video(videos)
        for row, (job, frames) in enumerate(waiting):
            frame = encoded.frame[row, : len(frames)]
            moments = cut_moments(frames, frame.cpu().numpy(), self._meta.moments, self._meta.num_frames)
            patch = None if encoded.patch is None else encoded.patch[row, : len(frames)]
            features = self._features(frame, patch, [rows for _, rows in moments])
            if not bool(features.frame.isfinite().all()):
                self.fail(job, DecodeError(job.file.uri, "the model's features of it are not finite in fp16"))
                continue
            record = job.record(frames)
            if frames.info is not None:  # videos without any are not opened a second time for them
                self._subtitle_streams[record.video_id] = frames.info.num_subtitle_streams
            self._put(job, record, self._table(record, frames, moments, features))
            self.moments += len(moments)
            if job.earlier is None:
                self.added += 1
            else:
                self.replaced += 1
        self.encoding_s += time.monotonic() - began

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

    def _put(self, job: _Job, record: VideoRecord, moments: pa.Table) -> None:
        self._records.append(record)
        self._tables.append(moments)
        if job.earlier is not None:
            self._known.add(record.video_id)
        overdue = time.monotonic() - self._committed > self._config.commit_s
        if len(self._records) >= self._config.commit_videos or overdue:
            self._commit()

    def _commit(self) -> None:
        self._join()
        moments = pa.concat_tables([self._schema.empty_table(), *self._tables])
        self._commit_going_on = self._thread.submit(
            self._write, self._records, moments, self._known, self._subtitle_streams
        )
        self._records, self._known, self._tables, self._subtitle_streams = [], set(), [], {}
        self._committed = time.monotonic()

    def _join(self) -> None:
        if self._commit_going_on is not None:
            self._commit_going_on.result()
            self._commit_going_on = None

    def _write(
        self,
        records: list[VideoRecord],
        moments: pa.Table,
        known: set[str],
        subtitle_streams: dict[str, int | None],
    ) -> None:
        began = time.monotonic()
        self._store.commit(records, moments, known=known)
        self._store.compact()
        self._subtitles.committed(records, subtitle_streams)
        self.writing_s += time.monotonic() - began
