"""Following folders: an index that stays as the files are.

The operating system says which paths changed (inotify, through watchfiles; where it cannot, the folders are looked
through every few seconds). A path that changed is *pending* until it has stayed the same for a while, because a file
that is being copied is no video yet. Then it goes the way of every build: :meth:`.Index.add`, which recognises what is
known and what was moved, and :meth:`.Index.prune` for what is gone. Whatever is missed is found when the folders are
looked through again, which happens now and then in any case.

Only a file that was seen and deleted is forgotten. One that went with its disk, or while nobody watched, keeps its
place.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import watchfiles

from ..errors import IndexLockedError, InputError
from ..video.subtitles import is_sidecar_name, match_sidecars
from .build import BuildConfig, BuildReport, Progress
from .files import by_folder, check_paths, lies_in, vanished
from .patterns import IGNORE_NAME, Patterns
from .schema import VideoRecord
from .watch_root import Facts, WatchRoot, facts_of

if TYPE_CHECKING:
    from .index import Index

__all__ = ["Stop", "WatchConfig", "WatchEvent", "WatchKind", "watch"]

TICK_S = 0.2  # between looks at what is pending, and at whether to stop

WatchKind = Literal[
    "built",
    "watching",
    "polling",
    "added",
    "replaced",
    "moved",
    "failed",
    "forgotten",
    "subtitles",
    "waiting",
    "lost",
    "back",
]


class Stop(Protocol):
    """What ends a watch from another thread: a ``threading.Event``, say."""

    def is_set(self) -> bool:
        """Whether to end."""
        ...


@dataclass(frozen=True, kw_only=True)
class WatchConfig:
    """How folders are followed.

    Attributes:
        settle_s: how long a file must have stayed the same before it is read.
        rescan_s: how often the folders are looked through, for what the operating system did not tell: changes on
            network drives, and those in a flood of others.
        poll_s: how often they are where it tells nothing at all.
        polling: do not ask the operating system in the first place.
        retry_s: how long to wait before another try where another process is writing to the index.
    """

    settle_s: float = 2.0
    rescan_s: float = 900.0
    poll_s: float = 10.0
    polling: bool = False
    retry_s: float = 2.0


@dataclass(frozen=True, kw_only=True)
class WatchEvent:
    """Something that a watch did or met.

    Attributes:
        kind: ``built`` after the build at the beginning and ``watching`` when the following begins; ``added``,
            ``replaced``, ``moved``, ``failed`` (it cannot be read), ``forgotten`` and ``subtitles`` (they were read
            again) of a video; ``lost`` and ``back`` of a folder that was given; ``polling`` where the operating system
            cannot tell of changes; ``waiting`` while another process is writing to the index.
        path: what it is about: a video, a folder, or the index.
        detail: why, or from where; empty where there is nothing to say.
        report: of the build, with ``built``.
    """

    kind: WatchKind
    path: str
    detail: str = ""
    report: BuildReport | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values: dict[str, Any] = {"event": self.kind, "path": self.path, "detail": self.detail}
        return values if self.report is None else {**values, "report": self.report.to_dict()}


def watch(
    index: Index,
    paths: Iterable[str | Path],
    *,
    stop: Stop | None = None,
    patterns: Patterns | None = None,
    progress: Callable[[Progress], None] | None = None,
    build: BuildConfig | None = None,
    config: WatchConfig | None = None,
) -> Iterator[WatchEvent]:
    """What :meth:`.Index.watch` does."""
    roots = [WatchRoot(path, is_folder, patterns or Patterns()) for path, is_folder in check_paths(paths)]
    return _Watcher(index, roots, build or BuildConfig(), config or WatchConfig(), stop).run(progress)


@dataclass
class _Pending:
    """What a path was when it was last looked at (None: not there), and since when it has been so."""

    facts: Facts | None
    since: float


@dataclass
class _Work:
    """What is ready to be done."""

    videos: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)


class _Watcher:
    def __init__(
        self,
        index: Index,
        roots: Sequence[WatchRoot],
        build: BuildConfig,
        config: WatchConfig,
        stop: Stop | None,
    ) -> None:
        self._index, self._roots = index, roots
        self._build, self._config, self._stop = build, config, stop
        self._own = str(index.path)
        self._pending: dict[str, _Pending] = {}
        self._records: dict[str, VideoRecord] = {}
        self._polling = config.polling
        self._reason = "as asked for"
        self._scan_at = 0.0
        self._retry_at = 0.0
        self._waiting = False

    def run(self, progress: Callable[[Progress], None] | None) -> Iterator[WatchEvent]:
        for root in self._roots:
            for path, facts in root.scan().items():
                root.note(path, facts)
        while not self._stopped():
            try:
                report = self._add([root.path for root in self._roots], progress)
            except IndexLockedError as error:
                yield from self._wait(error)
                while time.monotonic() < self._retry_at and not self._stopped():
                    time.sleep(min(TICK_S, self._config.retry_s))
                continue
            self._waiting = False
            yield WatchEvent(kind="built", path=str(self._index.path), report=report)
            break
        if self._stopped():
            return
        self._records = {record.uri: record for record in self._index.videos()}
        self._scan_at = 0.0  # for what happened during the build
        yield WatchEvent(kind="watching", path=str(self._index.path))
        if self._polling:
            yield self._polls()
        while not self._stopped():
            yield from self._follow()

    def _follow(self) -> Iterator[WatchEvent]:
        """Follow the folders that are there, until they are others."""
        folders = [root.path for root in self._roots if root.is_folder and root.is_there]
        was_polling = self._polling
        for changes in self._changes(folders):
            if self._polling and not was_polling:
                was_polling = True
                yield self._polls()
            moved = False
            for root in self._roots:
                if (state := root.look()) != "same" and root.is_folder:
                    moved = True
                    yield from self._lose(root)
                    if state == "back":
                        yield WatchEvent(kind="back", path=root.path)
                elif not root.is_folder:
                    self._touch(root.path, root)
            for path in changes:
                if not lies_in(path, self._own):
                    for root in self._roots:
                        if root.is_there and root.is_folder and root.holds(path):
                            self._touch(path, root)
            if time.monotonic() >= self._scan_at:
                self._scan()
            yield from self._work()
            if moved or self._stopped():
                return

    def _changes(self, folders: Sequence[str]) -> Iterator[set[str]]:
        """Sets of paths that changed, also empty ones, several times a second; ends when ``stop`` is set."""
        if folders and not self._polling:
            try:
                for changes in watchfiles.watch(
                    *folders,
                    watch_filter=None,
                    stop_event=self._stop,
                    debounce=400,
                    step=100,
                    rust_timeout=round(1000 * TICK_S),
                    yield_on_timeout=True,
                    force_polling=False,
                    ignore_permission_denied=True,
                ):
                    yield {path for _, path in changes}
                return
            except FileNotFoundError:
                time.sleep(TICK_S)  # a folder has just gone, as the next look at it tells
                yield set()
                return
            except (OSError, RuntimeError) as error:  # no inotify, or its limit is reached
                self._polling, self._reason = True, str(error)
        while not self._stopped():
            time.sleep(min(TICK_S, self._config.poll_s))
            yield set()

    def _polls(self) -> WatchEvent:
        detail = f"{self._reason}; every {self._config.poll_s:g} s"
        return WatchEvent(kind="polling", path=str(self._index.path), detail=detail)

    def _lose(self, root: WatchRoot) -> Iterator[WatchEvent]:
        """A folder is gone, or another one is in its place: nothing in it was deleted."""
        had_some = bool(root.seen)
        root.forget()
        self._pending = {path: pending for path, pending in self._pending.items() if not root.holds(path)}
        self._scan_at = 0.0
        if had_some or not root.is_there:
            yield WatchEvent(kind="lost", path=root.path, detail="the index keeps its videos")

    def _touch(self, path: str, root: WatchRoot) -> None:
        """Something happened to a path; what, the file itself tells."""
        facts = facts_of(path)
        if path in root.seen or path in self._pending or (facts is not None and root.wants(path)):
            if path not in self._pending and root.seen.get(path) != facts:
                self._pending[path] = _Pending(facts, time.monotonic())
        elif os.path.basename(path) == IGNORE_NAME or (os.path.isdir(path) and not root.knows_folder(path)):
            self._scan_soon()  # a folder that was moved here came with all that is in it
        elif facts is None:
            for lost in [seen for seen in root.seen if lies_in(seen, path)]:
                self._touch(lost, root)

    def _scan_soon(self) -> None:
        self._scan_at = min(self._scan_at, time.monotonic() + self._config.settle_s / 2)

    def _scan(self) -> None:
        for root in self._roots:
            if root.is_there:
                found = root.scan()
                for path in found.keys() | root.seen.keys():
                    if path not in found and not vanished(path):
                        root.note(path, None)  # it is excluded now: what the index holds of it stays
                    elif found.get(path) != root.seen.get(path) and path not in self._pending:
                        self._pending[path] = _Pending(found.get(path), time.monotonic())
        self._scan_at = time.monotonic() + (self._config.poll_s if self._polling else self._config.rescan_s)

    def _work(self) -> Iterator[WatchEvent]:
        """Do what has been pending for long enough."""
        now = time.monotonic()
        ready: dict[str, Facts | None] = {}
        for path, pending in self._pending.items():
            if (facts := facts_of(path)) != pending.facts:
                pending.facts, pending.since = facts, now
            elif now - pending.since >= self._config.settle_s:
                ready[path] = facts
        self._hold_back_moved(ready)
        if not ready or now < self._retry_at:
            return
        work = self._plan(ready)
        try:
            report = self._add(work.videos, None) if work.videos else None
            gone = self._index.prune(only=work.gone) if work.gone else []
        except IndexLockedError as error:
            yield from self._wait(error)
            return
        except InputError:
            if any(facts_of(path) is None for path in work.videos):
                return  # one of them has gone this moment; it is pending still
            raise
        self._waiting = False
        for path, facts in ready.items():
            self._pending.pop(path, None)
            for root in self._roots:
                if root.holds(path):
                    root.note(path, facts)
        before, self._records = self._records, {record.uri: record for record in self._index.videos()}
        yield from _tell(work.videos, before, self._records, report)
        for path in gone:
            yield WatchEvent(kind="forgotten", path=path)

    def _hold_back_moved(self, ready: dict[str, Facts | None]) -> None:
        """Keep the row of a video that has gone until what has come in the meantime, and may be it, is read.

        A file that came into a new folder is often seen later than it was missed, and a row that is forgotten
        takes the tags with it.
        """
        arriving = {
            pending.facts[0]
            for path, pending in self._pending.items()
            if pending.facts is not None and path not in ready
        }
        for path in [path for path, facts in ready.items() if facts is None]:
            record = self._records.get(path)
            if record is not None and record.size_bytes in arriving:
                del ready[path]

    def _plan(self, ready: dict[str, Facts | None]) -> _Work:
        """Which videos to read for what has changed: a subtitle file concerns those beside it."""
        work = _Work()
        videos = {
            path: None for path, facts in ready.items() if facts is not None and not is_sidecar_name(path)
        }
        beside = by_folder(filter(is_sidecar_name, ready))
        if beside:
            names = by_folder(self._records)
            for folder, sidecars in beside.items():
                for name in match_sidecars(sidecars, names.get(folder, [])):
                    if not vanished(os.path.join(folder, name)):
                        videos[os.path.join(folder, name)] = None
        work.videos = sorted(videos)
        work.gone = [
            path
            for path, facts in ready.items()
            if facts is None and path in self._records and any(root.was_deleted(path) for root in self._roots)
        ]
        return work

    def _add(self, paths: Sequence[str], progress: Callable[[Progress], None] | None) -> BuildReport:
        patterns = self._roots[0].patterns if self._roots else Patterns()
        return self._index.add(
            paths,
            include=patterns.include,
            exclude=patterns.exclude,
            progress=progress,
            config=self._build,
        )

    def _wait(self, error: IndexLockedError) -> Iterator[WatchEvent]:
        self._retry_at = time.monotonic() + self._config.retry_s
        if not self._waiting:
            self._waiting = True
            yield WatchEvent(kind="waiting", path=str(self._index.path), detail=str(error))

    def _stopped(self) -> bool:
        return self._stop is not None and self._stop.is_set()


def _tell(
    videos: Iterable[str],
    before: dict[str, VideoRecord],
    after: dict[str, VideoRecord],
    report: BuildReport | None,
) -> Iterator[WatchEvent]:
    """What became of each video."""
    places = {record.video_id: uri for uri, record in before.items()}
    subtitled = {*report.subtitles.read, *report.subtitles.lost} if report else set[str]()
    for path in videos:
        old, new = before.get(path), after.get(path)
        if new is None:
            continue
        if old is not None and (old.size_bytes, old.mtime_ns) == (new.size_bytes, new.mtime_ns):
            if path in subtitled:
                yield WatchEvent(kind="subtitles", path=path)
        elif new.status == "failed":
            yield WatchEvent(kind="failed", path=path, detail=new.error or "")
        elif old is not None:
            yield WatchEvent(kind="replaced", path=path)
        elif new.video_id in places:
            yield WatchEvent(kind="moved", path=path, detail=f"from {places[new.video_id]}")
        else:
            yield WatchEvent(kind="added", path=path)
