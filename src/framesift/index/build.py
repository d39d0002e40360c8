"""Building an index: plan, have files read and encoded, commit every so often.

The three go on at the same time, each with a bounded number of videos before it. Where files are read and encoded is
the caller's choice (:class:`.Encode`); rows are committed here only, and what is committed is what need not be done
again. Killing a build at any point loses at most what was not committed; running it again finishes the job with every
row once. One bad video never stops it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DecodeError
from .encoding import Encode, Encoded, FileEncoder, joined
from .files import Todo, list_files, plan
from .patterns import Patterns
from .reporting import BuildConfig, BuildReport, Progress
from .schema import IndexMeta
from .store import Store
from .subtitle_refresh import SubtitleKeeper

if TYPE_CHECKING:
    from ..model import RetrievalModel

__all__ = ["BuildConfig", "BuildReport", "Progress", "build", "encode_here"]


def encode_here(model: RetrievalModel) -> Encode:
    """Read and encode in this process and children of it; ``model`` has the fingerprint of the index."""

    def encode(todo: Sequence[Todo], meta: IndexMeta, config: BuildConfig) -> Generator[Encoded]:
        total_bytes = sum(file.size_bytes for file, _ in todo)
        with FileEncoder(meta, model, config, total_bytes=total_bytes) as encoder:
            yield from encoder.encode(todo)

    return encode


def build(
    store: Store,
    meta: IndexMeta,
    paths: Iterable[str | Path],
    *,
    encode: Encode,
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
    replaced = {earlier.video_id for _, earlier in planned.todo if earlier is not None}
    with (
        SubtitleKeeper(
            store.place.subtitles_to_write(),
            workers=config.workers,
            timeout_s=config.timeout_s,
            memory_bytes=config.memory_bytes,
        ) as keeper,
        ThreadPoolExecutor(1) as writing,
    ):
        committer = _Committer(store, meta, config, replaced, writing, keeper)
        if progress is not None:
            progress(count)
        # nothing to read: nothing is started for it
        results = encode(planned.todo, meta, config) if planned.todo else _nothing()
        with closing(results):
            for encoded in results:
                committer.take(encoded)
                sizes = [record.size_bytes for record in encoded.records]
                sizes += [file.size_bytes for file, _ in encoded.put_off]
                uris = [record.uri for record in encoded.records] + [file.uri for file, _ in encoded.put_off]
                count = replace(
                    count,
                    done=count.done + len(sizes),
                    failed=len(committer.failed),
                    done_bytes=count.done_bytes + sum(sizes),
                    elapsed_s=time.monotonic() - started,
                    path=uris[-1] if uris else count.path,
                )
                if progress is not None:
                    progress(count)
        committer.finish()
        keeper.finish(store.records(), (file.uri for file in files))
    return BuildReport(
        added=committer.added,
        replaced=committer.replaced,
        moved=len(planned.moved),
        skipped=planned.skipped,
        known_failures=planned.known_failures,
        moments=committer.moments,
        failed=[*unlisted, *committer.failed],
        subtitles=keeper.report,
        elapsed_s=time.monotonic() - began,
        waiting_s=committer.waiting_s,
        encoding_s=committer.encoding_s,
        writing_s=committer.writing_s,
    )


def _nothing() -> Generator[Encoded]:
    yield from ()


class _Committer:
    """Collects what was encoded, and commits it when there are enough videos or it has waited for long enough.

    Args:
        known: ``video_id`` of the rows that will be replaced.
        thread: commits are made on it, one at a time, while the next videos are encoded.
    """

    def __init__(
        self,
        store: Store,
        meta: IndexMeta,
        config: BuildConfig,
        known: set[str],
        thread: ThreadPoolExecutor,
        subtitles: SubtitleKeeper,
    ) -> None:
        self.added = self.replaced = self.moments = 0
        self.waiting_s = self.encoding_s = self.writing_s = 0.0
        self.failed: list[DecodeError] = []
        self._store, self._meta, self._config = store, meta, config
        self._known, self._thread, self._subtitles = known, thread, subtitles
        self._going_on: Future[None] | None = None
        self._waiting: list[Encoded] = []
        self._committed = time.monotonic()

    def take(self, encoded: Encoded) -> None:
        """What became of some files; they are committed together."""
        good = [record for record in encoded.records if record.status == "ok"]
        replaced = sum(record.video_id in self._known for record in good)
        self.added += len(good) - replaced
        self.replaced += replaced
        self.moments += len(encoded.moments)
        self.failed += [*encoded.failed, *(error for _, error in encoded.put_off)]
        self.waiting_s += encoded.waiting_s
        self.encoding_s += encoded.encoding_s
        self._waiting.append(encoded)
        enough = sum(len(one.records) for one in self._waiting) >= self._config.commit_videos
        if enough or time.monotonic() - self._committed > self._config.commit_s:
            self._commit()

    def finish(self) -> None:
        """Commit what is left."""
        self._commit()
        self._join()

    def _commit(self) -> None:
        self._join()
        batch, self._waiting = self._waiting, []
        self._going_on = self._thread.submit(self._write, batch)
        self._committed = time.monotonic()

    def _join(self) -> None:
        if self._going_on is not None:
            self._going_on.result()
            self._going_on = None

    def _write(self, batch: Sequence[Encoded]) -> None:
        began = time.monotonic()
        whole = joined(batch, self._meta)
        self._note(whole)
        known = {record.video_id for record in whole.records} & self._known
        self._store.commit(whole.records, whole.moments, known=known)
        self._store.compact()
        self._subtitles.committed(whole.records, whole.subtitle_streams)
        self.writing_s += time.monotonic() - began

    def _note(self, encoded: Encoded) -> None:
        """Enter what computed the features into the index's facts, before there are any of them."""
        if self._meta.encoded_by(encoded.computed_by) is self._meta:
            return
        # read anew: other processes may have entered theirs since this one opened the index
        now = IndexMeta.read(self._store.place)
        self._meta = now.encoded_by(encoded.computed_by)
        if self._meta is not now:
            self._meta.write(self._store.place)
