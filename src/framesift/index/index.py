"""An index: videos in, the right moments out."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import torch

from ..errors import FingerprintError, IndexStateError, InputError, UnknownModelError, suggest
from ..features import VideoFeatures
from ..ranking import RERANK_DEPTH, Hit, rank
from .build import BuildConfig, BuildReport, Progress, build
from .cutting import MomentMode
from .decoded import DecodedGallery
from .files import vanished
from .gallery import LanceGallery
from .hits import hits_of
from .journal import ASIDE, JOURNAL_NAME, recover
from .lock import LOCK_NAME, WriterLock
from .patterns import Patterns, Selection
from .schema import META_NAME, MOMENTS_TABLE, VIDEOS_TABLE, IndexMeta, VideoRecord
from .store import Store
from .subtitle_store import SubtitleStore
from .subtitles import SUBTITLES_NAMES, Subtitles
from .verify import Verification, verify

if TYPE_CHECKING:
    from ..model import RetrievalModel
    from ..rerankers import Fusion, Reranker
    from ..reranking import RerankEncoder
    from .watch import Stop, WatchConfig, WatchEvent

__all__ = ["Index", "IndexInfo"]

OWN_NAMES = {
    *(META_NAME, LOCK_NAME, JOURNAL_NAME, ASIDE, f"{VIDEOS_TABLE}.lance", f"{MOMENTS_TABLE}.lance"),
    *SUBTITLES_NAMES,
}


MOST_TAG_CHARACTERS = 100


@dataclass(frozen=True, kw_only=True)
class IndexInfo:
    """What an index holds.

    Attributes:
        path: its directory.
        videos: files that are indexed.
        failed: files that could not be read.
        moments: what is searched.
        duration_s: length of all indexed videos, as far as it is known.
        size_bytes: of the directory, earlier versions included.
        model: name, directory or hub id of the model; None if it had none.
        fingerprint: of the features.
        cutting: ``whole``, ``shots`` or ``auto``.
        dim: width of the embeddings.
        num_frames: frames that a moment keeps at most.
        snap_s: how far a decoded keyframe may lie from the frame that was due, in seconds; 0: frames are exact.
        subtitled: videos with subtitles.
        cues: of all their subtitles.
        set_aside: manifests in ``set-aside/`` that could not be read or came after one of those.
        format_version: of the layout.
    """

    path: str
    videos: int
    failed: int
    moments: int
    duration_s: float
    size_bytes: int
    model: str | None
    fingerprint: str
    cutting: MomentMode
    dim: int
    num_frames: int
    snap_s: float
    subtitled: int
    cues: int
    set_aside: int
    format_version: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class Index:
    """A directory that holds videos' features and answers queries.

    Any number of processes may search it while one writes to it; every search sees what was committed last.

    Get one with :meth:`create` or :meth:`open`::

        with fs.Index.create("my.index", model="storyboard-xpool") as index:
            index.add(["videos/"])
            for hit in index.search("a red circle crosses the screen"):
                print(hit)
    """

    def __init__(self, path: Path, meta: IndexMeta, store: Store, model: RetrievalModel | None) -> None:
        self.path = path
        self._meta = meta
        self._store: Store | None = store
        self._model = model
        self._gallery: LanceGallery | None = None
        self._reranks: RerankEncoder | None = None
        self._refreshing = threading.Lock()
        self._loading = threading.Lock()  # a model is dear: threads that need it wait for the first

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        model: RetrievalModel | str | Path,
        moments: MomentMode = "auto",
        reference: str | None = None,
        snap_s: float = 0.0,
    ) -> Index:
        """Make an empty index.

        Args:
            path: directory that does not exist yet, or is empty.
            model: what encodes videos and queries; or a name, directory or hub id for :func:`framesift.load`.
            moments: ``whole`` keeps a video as one moment, ``shots`` cuts it where the picture changes,
                ``auto`` takes ``whole`` for videos of less than a minute and ``shots`` for longer ones.
            reference: what :meth:`open` shall load the model by, if that is neither ``model`` itself nor the
                name that the model carries.
            snap_s: decode keyframes that are at most so many seconds from the frames that are due, where there
                are any: faster, but not exact. 0 takes the exact frames.

        Raises:
            IndexStateError: there is an index already, or the directory cannot be written to.
            InputError: ``path`` holds something else, ``moments`` is unknown, or ``snap_s`` is negative.
            ModelError: the model cannot be had.
        """
        path = Path(path).absolute()
        modes = ("auto", "whole", "shots")
        if moments not in modes:
            raise InputError(
                f"moments={moments!r} is unknown; it is one of {', '.join(modes)}{suggest(moments, modes)}"
            )
        if not 0 <= snap_s < math.inf:
            raise InputError(f"snap_s={snap_s} is no length of time; it is 0 or a number of seconds")
        _check_free(path)
        loaded = _loaded(model)
        meta = IndexMeta(
            fingerprint=loaded.fingerprint(),
            dim=loaded.dim,
            num_frames=loaded.num_frames,
            moments=moments,
            model=_reference(reference or model),
            snap_s=snap_s,
        )
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise IndexStateError(f"cannot create the index {str(path)!r}: {error.strerror}") from error
        with WriterLock(path):
            _check_free(path)  # again: someone else may have been faster
            store = Store.create(path, meta)
            meta.write(path)  # last: an index without it does not exist
        return cls(path, meta, store, loaded)

    @classmethod
    def open(cls, path: str | Path, *, model: RetrievalModel | str | Path | None = None) -> Index:
        """Open an index.

        Args:
            path: its directory.
            model: another model than the one it was built with. Its matcher may differ, its features must
                not. Without it, the index's own is loaded when it is first needed.

        Raises:
            IndexNotFoundError: there is none at ``path``.
            IndexStateError: it cannot be read.
            FingerprintError: ``model`` computes other features than those stored.
            ModelError: ``model`` cannot be had.
        """
        path = Path(path).absolute()
        meta = IndexMeta.read(path)
        index = cls(path, meta, Store(path), None)
        if model is not None:
            index._model = index._checked(_loaded(model))
        return index

    # ---- what it is

    def __len__(self) -> int:
        """Number of moments."""
        return self._opened().num_moments()

    def __repr__(self) -> str:
        state = "closed" if self._store is None else f"{len(self)} moments"
        return f"<Index {self.path.name} {state}, model {self._meta.model or self._meta.fingerprint[:12]}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of tables, vectors in memory and a reranker's own encoder; the model stays usable by others."""
        self._store = self._gallery = self._reranks = None

    @property
    def model(self) -> RetrievalModel:
        """The model that encodes queries and videos, loaded when it is first asked for.

        Raises:
            ModelError: it cannot be had.
            FingerprintError: what is found under its name now computes other features.
        """
        with self._loading:
            if self._model is None:
                self._model = self._own_model()
            return self._model

    @property
    def version(self) -> tuple[int, int, int]:
        """Another value after every change, by whatever process; cheap, for what is kept in memory of an index."""
        return self._opened().version()

    def gallery(self) -> LanceGallery:
        """The moments as committed last. Threads may share it; it stays as it is while the index changes."""
        return self._current()

    def videos(self) -> list[VideoRecord]:
        """All files the index knows, failed ones included, sorted by path."""
        return self._opened().records()

    def records_of(self, paths: str | Path | Iterable[str | Path]) -> list[VideoRecord]:
        """What the index knows of files, and of all files of folders, sorted by path.

        Raises:
            InputError: it knows none of a path's files.
        """
        return self._chosen(self.videos(), [paths] if isinstance(paths, str | Path) else paths)

    def info(self) -> IndexInfo:
        """Counts, sizes and the model; loads nothing heavy."""
        records = self.videos()
        subtitles = self.subtitles.counts()
        good = [record for record in records if record.status == "ok"]
        return IndexInfo(
            path=str(self.path),
            videos=len(good),
            failed=len(records) - len(good),
            moments=len(self),
            duration_s=sum(record.duration_s or 0.0 for record in good),
            size_bytes=_size_bytes(self.path),
            model=self._meta.model,
            fingerprint=self._meta.fingerprint,
            cutting=self._meta.moments,
            dim=self._meta.dim,
            num_frames=self._meta.num_frames,
            snap_s=self._meta.snap_s,
            subtitled=subtitles.videos,
            cues=subtitles.cues,
            set_aside=len(list((self.path / ASIDE).glob("*"))),
            format_version=self._meta.format_version,
        )

    @property
    def subtitles(self) -> Subtitles:
        """What is said in the videos and when, as far as they have subtitles: searchable, and by time."""
        return Subtitles(self.path)

    # ---- changing it

    def add(
        self,
        paths: str | Path | Iterable[str | Path],
        *,
        include: str | Iterable[str] = (),
        exclude: str | Iterable[str] = (),
        progress: Callable[[Progress], None] | None = None,
        config: BuildConfig | None = None,
    ) -> BuildReport:
        """Index video files and folders of them, with their subtitles; what is known and unchanged is skipped.

        Safe to kill at any time: running it again finishes the job.

        Args:
            paths: files and folders; folders are searched recursively for video files.
            include: patterns as in a ``.gitignore`` file, relative to each folder; only files that match one of them
                are taken from folders.
            exclude: patterns of files and folders to leave out. They win over ``include``, as ``.framesiftignore``
                files in the folders do; neither makes the index forget what it holds (see :meth:`prune_excluded`).
            progress: called at the start and after every file.
            config: decoding processes, time limit, batch and commit sizes.

        Returns:
            What was done, with one error for every file that could not be read.

        Raises:
            InputError: one of ``paths`` itself cannot be read, or a pattern is none; the index is unchanged then.
            IndexLockedError: another process is writing.
            FingerprintError, ModelError: as for :attr:`model`.
        """
        given = [paths] if isinstance(paths, str | Path) else list(paths)
        patterns = Patterns.of(include, exclude)
        model = self.model
        with self._writing() as store:
            return build(
                store,
                self._meta,
                model,
                given,
                config=config or BuildConfig(),
                progress=progress,
                patterns=patterns,
            )

    def remove(self, paths: str | Path | Iterable[str | Path]) -> list[str]:
        """Forget files, and all files of folders; the files themselves are not touched.

        Returns:
            The paths that were forgotten.

        Raises:
            InputError: the index knows none of a path's files; nothing is removed then.
            IndexLockedError: another process is writing.
        """
        given = [paths] if isinstance(paths, str | Path) else list(paths)
        with self._writing() as store:
            chosen = self._chosen(store.records(), given)
            _forget(store, [record.video_id for record in chosen])
        return [record.uri for record in chosen]

    def tag(
        self, paths: str | Path | Iterable[str | Path], *, add: Iterable[str] = (), remove: Iterable[str] = ()
    ) -> list[VideoRecord]:
        """Give files, and all files of folders, tags to search by, or take them away; they survive indexing again.

        A tag that is given and taken away in one call is taken away. Tags differ without regard to case.

        Returns:
            What the index now knows of these files, sorted by path.

        Raises:
            InputError: the index knows none of a path's files, or a tag is empty, too long or no line of text; nothing
                is changed then.
            IndexLockedError: another process is writing.
        """
        given = [paths] if isinstance(paths, str | Path) else list(paths)
        added, removed = [list(map(_checked_tag, tags)) for tags in (add, remove)]
        with self._writing() as store:
            before = self._chosen(store.records(), given)
            after = [record.tagged(add=added, remove=removed) for record in before]
            store.update_videos([new for old, new in zip(before, after, strict=True) if new.tags != old.tags])
        return after

    def prune(self, *, only: Iterable[str | Path] | None = None) -> list[str]:
        """Forget the files that are no longer there; returns their paths.

        Args:
            only: look at these files only; those that the index does not know are passed over.

        Raises:
            IndexLockedError: another process is writing.
        """
        chosen = None if only is None else {os.path.abspath(path) for path in only}
        with self._writing() as store:
            records = [r for r in store.records() if chosen is None or r.uri in chosen]
            gone = {r.video_id: r.uri for r in records if vanished(r.uri)}
            _forget(store, list(gone))
        return sorted(gone.values())

    def watch(
        self,
        paths: str | Path | Iterable[str | Path],
        *,
        include: str | Iterable[str] = (),
        exclude: str | Iterable[str] = (),
        stop: Stop | None = None,
        progress: Callable[[Progress], None] | None = None,
        config: BuildConfig | None = None,
        watching: WatchConfig | None = None,
    ) -> Iterator[WatchEvent]:
        """Index files and folders as :meth:`add` does, then keep the index as they are, for as long as it is iterated.

        New files are added, changed ones replaced, deleted ones forgotten, subtitle files followed. A file is left
        alone while it grows; a folder that is gone, as with its disk, keeps its videos in the index until it is back.
        While another process writes to the index, it waits.

        Args:
            paths: files and folders, which must be there at the beginning.
            include: as for :meth:`add`.
            exclude: as for :meth:`add`; what the index holds already is kept.
            stop: ends the iteration once it is set, a ``threading.Event`` for instance; not in the middle of a file.
            progress: of the build at the beginning.
            config: of this and all later builds.
            watching: how long to wait for what.

        Returns:
            An iterator that works while it is asked for its next event.

        Raises:
            InputError: one of ``paths`` cannot be read, or a pattern is none.
            FingerprintError, ModelError: as for :attr:`model`.
        """
        from .watch import watch

        given = [paths] if isinstance(paths, str | Path) else list(paths)
        patterns = Patterns.of(include, exclude)
        return watch(
            self, given, stop=stop, patterns=patterns, progress=progress, build=config, config=watching
        )

    def prune_excluded(
        self,
        paths: str | Path | Iterable[str | Path],
        *,
        include: str | Iterable[str] = (),
        exclude: str | Iterable[str] = (),
    ) -> list[str]:
        """Forget files below folders that the patterns, or ``.framesiftignore`` files, leave out; returns their paths.

        Args:
            paths: folders; files named here are kept, as :meth:`add` takes them whatever the patterns say.
            include: as for :meth:`add`.
            exclude: as for :meth:`add`.

        Raises:
            InputError: a pattern is none.
            IndexLockedError: another process is writing.
        """
        given = [paths] if isinstance(paths, str | Path) else list(paths)
        patterns = Patterns.of(include, exclude)
        places = [os.path.abspath(path) for path in given]
        folders = {place: Selection(place, patterns) for place in places if os.path.isdir(place)}
        with self._writing() as store:
            left_out: dict[str, str] = {}
            for record in store.records():
                holding = [
                    s for place, s in folders.items() if record.uri.startswith(os.path.join(place, ""))
                ]
                if holding and record.uri not in places and not any(s.takes(record.uri) for s in holding):
                    left_out[record.video_id] = record.uri
            _forget(store, list(left_out))
        return sorted(left_out.values())

    def compact(self) -> None:
        """Merge small data files into large ones. A build does it by itself where there are many.

        Deleted rows and versions from before leave the disk with the third change after this one, and not
        before ten minutes have passed, so that nobody's search loses what it reads.

        Raises:
            IndexLockedError: another process is writing.
        """
        with self._writing() as store:
            store.sweep()
            store.compact(least_fragments=2)
            with SubtitleStore(self.path) as subtitles:
                subtitles.compact()

    def verify(self) -> Verification:
        """Read all of the index and check that it is whole; changes nothing.

        Checksums of the files, duplicate keys, moments without a video and the reverse, fingerprints, and that
        every vector is the mean of its frames.
        """
        self._opened()
        return verify(self.path, self._meta)

    # ---- searching it

    def search(
        self,
        query: str,
        *,
        k: int = 10,
        depth: int = 200,
        rerank_depth: int = RERANK_DEPTH,
        fusion: Fusion | None = None,
        unit: Literal["moment", "video"] = "moment",
    ) -> list[Hit]:
        """The best moments for a query.

        A model's reranker then looks at the best of them again. One that reads patch tokens, which no index stores, has
        their frames decoded from the video files; a moment whose file is gone or has changed keeps the place that the
        matcher gave it, with a :class:`.NotRerankedWarning`.

        Args:
            query: what to look for, in words.
            k: how many results at most.
            depth: how many candidates are compared frame by frame; larger than the index means all of it.
            rerank_depth: how many of these the model's reranker sees, if it has one; 0: none, which leaves the
                matcher's order.
            fusion: how the scores of reranker and matcher are combined; default: the reranker's own way.
            unit: ``moment`` merges moments that follow one another in a video into one result; ``video``
                gives the best moment of each video.

        Raises:
            InputError: the query is empty, ``k`` or ``depth`` is less than 1, or ``rerank_depth`` less than 0.
            FingerprintError, ModelError: as for :attr:`model`; also, the reranker's own encoder cannot be had.
        """
        query = query.strip()
        if not query:
            raise InputError(
                "the query is empty; say in words what to look for, such as 'a dog runs on grass'"
            )
        if k < 1:
            raise InputError(f"k is {k}; it must be at least 1")
        if rerank_depth < 0:
            raise InputError(f"rerank_depth is {rerank_depth}; it must be at least 0")
        if unit not in ("moment", "video"):
            raise InputError(f"unit={unit!r} is unknown; it is one of moment, video")
        model = self.model
        text = model.encode_text([query])
        reranker = model.reranker if rerank_depth else None
        encoder = None if reranker is None else self.rerank_encoder(reranker)
        rerank_text = None if encoder is None else encoder.encode_text([query], text)

        def answer(gallery: LanceGallery) -> list[Hit]:
            decodes = encoder is not None and encoder.reranker.reads_patches
            ranking = rank(
                text,
                gallery,
                model.matcher,
                depth=depth,
                reranker=reranker,
                rerank_depth=max(rerank_depth, 1),
                rerank_text=rerank_text,
                rerank_gallery=DecodedGallery(gallery, encoder) if encoder and decodes else None,
                fusion=fusion,
            )
            return hits_of(text, ranking, gallery, model, k=k, unit=unit)

        gallery = self._current()
        try:
            return answer(gallery)
        except IndexStateError:
            newer = self._current()
            if newer is gallery:
                raise
            return answer(newer)  # the versions that the first try read were dropped meanwhile

    def rerank_encoder(self, reranker: Reranker) -> RerankEncoder:
        """What gives a reranker over the index's model its features; kept for the next time.

        Raises:
            ModelError: an encoder of its own cannot be had.
        """
        model = self.model
        with self._loading:
            if self._reranks is None or self._reranks.reranker is not reranker:
                # imports transformers, which other searches do not need
                from ..reranking import RerankEncoder

                self._reranks = RerankEncoder(model, reranker)
            return self._reranks

    def features(self, paths: Iterable[str | Path]) -> VideoFeatures:
        """The stored features of videos that are kept whole, a row for each path: what evaluation needs.

        Raises:
            InputError: a video is not in the index, failed, or is cut into several moments.
        """
        gallery = self._current()
        rows: list[int] = []
        for path in paths:
            found = gallery.rows_of(os.path.abspath(path))
            if len(found) != 1:
                raise InputError(
                    f"{str(path)!r} has {len(found)} moments in the index {str(self.path)!r}; expected exactly one, "
                    "as moments='whole' gives for every video that can be read"
                )
            rows += found
        return gallery.features(torch.tensor(rows, dtype=torch.long))

    # ---- inside

    def _opened(self) -> Store:
        if self._store is None:
            raise IndexStateError(f"the index {str(self.path)!r} was closed")
        return self._store

    @contextmanager
    def _writing(self) -> Generator[Store]:
        """The lock, and tables of one's own: a search in another thread never sees them between two commits."""
        with WriterLock(self._opened().index):
            recover(self.path)
            yield Store(self.path)

    def _own_model(self) -> RetrievalModel:
        if self._meta.model is None:
            raise IndexStateError(
                f"the index {str(self.path)!r} was built with a model that has no name; "
                "give it: Index.open(path, model=...)"
            )
        try:
            return self._checked(_loaded(self._meta.model))
        except UnknownModelError as error:
            raise UnknownModelError(
                f"the model of the index {str(self.path)!r} is not to be had: {error}. If it is "
                "elsewhere now, say where: Index.open(path, model=...), or --model on the command line"
            ) from error

    def _chosen(self, records: Iterable[VideoRecord], paths: Iterable[str | Path]) -> list[VideoRecord]:
        """The records of files and of all files of folders, sorted by path."""
        known = list(records)
        chosen: dict[str, VideoRecord] = {}
        for path in paths:
            place = os.path.abspath(path)
            folder = os.path.join(place, "")
            found = {r.uri: r for r in known if r.uri == place or r.uri.startswith(folder)}
            if not found:
                hint = suggest(place, [record.uri for record in known])
                raise InputError(f"the index {str(self.path)!r} holds nothing of {str(path)!r}{hint}")
            chosen |= found
        return [chosen[uri] for uri in sorted(chosen)]

    def _current(self) -> LanceGallery:
        """The gallery as committed last; threads that search meanwhile keep the one they have."""
        store = self._opened()
        with self._refreshing:
            held = self._gallery
            self._gallery = held.refreshed() if held is not None else LanceGallery(store, self._meta)
            return self._gallery

    def _checked(self, model: RetrievalModel) -> RetrievalModel:
        given = model.fingerprint()
        if given != self._meta.fingerprint:
            built = f" by {self._meta.model!r}" if self._meta.model else ""
            raise FingerprintError(
                f"the index {str(self.path)!r} holds features{built} with fingerprint "
                f"{self._meta.fingerprint[:12]}, but {model.name or 'the given model'!r} has {given[:12]}: "
                "their encoders or decoder settings differ. Open it without another model, or index the "
                "videos again into another directory"
            )
        return model


def _checked_tag(tag: str) -> str:
    """Raises InputError unless it can be shown in a line and stored."""
    tag = tag.strip()
    if not 0 < len(tag) <= MOST_TAG_CHARACTERS or not tag.isprintable():
        raise InputError(
            f"the tag {tag[:80]!r} cannot be used; it is a line of text of 1 to {MOST_TAG_CHARACTERS} characters"
        )
    return tag


def _forget(store: Store, video_ids: Sequence[str]) -> None:
    """Delete videos; their subtitles last, which without a video are the remains of a change that was killed."""
    store.remove(video_ids)
    if video_ids:
        with SubtitleStore(store.index) as subtitles:
            subtitles.forget(video_ids)


def _loaded(model: RetrievalModel | str | Path) -> RetrievalModel:
    if not isinstance(model, str | Path):
        return model
    from ..hub import load  # imports transformers, which a model at hand does not need

    return load(model)


def _reference(model: RetrievalModel | str | Path) -> str | None:
    """What to give :func:`framesift.load` later, wherever it is called from then."""
    name = str(model) if isinstance(model, str | Path) else model.name
    if not os.path.isdir(name):
        return name or None
    from ..hub import MODELS

    return name if name in MODELS else os.path.abspath(name)  # bundled ones come first in load, too


def _check_free(path: Path) -> None:
    """Refuse a directory that holds an index, or anything that is not the remains of a killed creation."""
    if os.path.exists(path / META_NAME):
        raise IndexStateError(
            f"there is an index at {str(path)!r} already; open it, or choose another directory"
        )
    if os.path.isdir(path):
        try:
            names = {
                name
                for name in os.listdir(path)
                if not name.startswith((f".{META_NAME}", f".{JOURNAL_NAME}"))
            }
        except OSError as error:
            raise IndexStateError(f"cannot read {str(path)!r}: {error.strerror}") from error
        foreign = sorted(names - OWN_NAMES)
        if foreign:
            raise InputError(
                f"{str(path)!r} holds other files ({foreign[0]}, ...); an index needs a directory of its own"
            )
    elif os.path.exists(path):
        raise InputError(f"{str(path)!r} is a file; an index is a directory")


def _size_bytes(path: Path) -> int:
    total = 0
    for parent, _, names in os.walk(path):
        for name in names:
            with suppress(FileNotFoundError):  # a writer's temporary file
                total += os.lstat(os.path.join(parent, name)).st_size
    return total
