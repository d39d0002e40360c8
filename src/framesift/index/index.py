"""An index: videos in, the right moments out."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import IndexStateError, InputError, suggest
from . import changes
from .build import BuildConfig, BuildReport, Progress, build, encode_here
from .cache import CacheReport, CacheSettings, keep_cache, refresh_cache
from .creation import create_tables_in
from .cutting import MomentMode
from .encoding import Encode
from .files import listed
from .location import ObjectUri
from .own_model import OwnModel, loaded, reference_of
from .patterns import Patterns
from .place import place_of
from .published import DEFAULT_TAG, check_tag_name
from .reading import IndexReading
from .schema import IndexMeta, VideoRecord
from .store import Store
from .subtitle_store import SubtitleStore

if TYPE_CHECKING:
    from ..candidates import CandidateConfig
    from ..model import RetrievalModel
    from .watch import Stop, WatchConfig, WatchEvent

__all__ = ["Index"]


class Index(IndexReading):
    """A directory, or a place in an object store, that holds videos' features and answers queries.

    Any number of processes may search it while one writes to it; every search sees what was committed last.

    Get one with :meth:`create` or :meth:`open`::

        with fs.Index.create("my.index", model="storyboard-xpool") as index:
            index.add(["videos/"])
            for hit in index.search("a red circle crosses the screen"):
                print(hit)
    """

    @classmethod
    def create(
        cls,
        path: str | Path | ObjectUri,
        *,
        model: RetrievalModel | str | Path,
        moments: MomentMode = "auto",
        reference: str | None = None,
        snap_s: float = 0.0,
    ) -> Index:
        """Make an empty index.

        Args:
            path: directory that does not exist yet, or is empty; or a place in an object store, such as
                ``s3://bucket/films`` (needs ``framesift[objectstore]``).
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
        place = place_of(path)
        modes = ("auto", "whole", "shots")
        if moments not in modes:
            raise InputError(
                f"moments={moments!r} is unknown; it is one of {', '.join(modes)}{suggest(moments, modes)}"
            )
        if not 0 <= snap_s < math.inf:
            raise InputError(f"snap_s={snap_s} is no length of time; it is 0 or a number of seconds")
        place.claim()  # first: nothing shall be loaded for a place that cannot be used
        encoding = loaded(model)
        meta = IndexMeta(
            fingerprint=encoding.fingerprint(),
            dim=encoding.dim,
            num_frames=encoding.num_frames,
            moments=moments,
            model=reference_of(reference or model),
            snap_s=snap_s,
            found_by=encoding.matcher.found_by,
        )
        return cls(meta, create_tables_in(place, meta), OwnModel(place.location, meta, encoding))

    @classmethod
    def open(
        cls,
        path: str | Path | ObjectUri,
        *,
        model: RetrievalModel | str | Path | None = None,
        tag: str | None = None,
        candidates: CandidateConfig | None = None,
    ) -> Index:
        """Open an index.

        Args:
            path: its directory, or its URI in an object store.
            model: another model than the one it was built with. Its matcher may differ, its features must
                not. Without it, the index's own is loaded when it is first needed.
            tag: see what :meth:`publish` published under this name, not what was committed last; when it is published
                anew, see that. The index cannot be changed through such an object.
            candidates: which engine proposes what is compared frame by frame, and what it finds moments by; default:
                chosen by size, and by the model's matcher.

        Raises:
            IndexNotFoundError: there is none at ``path``.
            IndexStateError: it cannot be read, or nothing is published as ``tag``.
            FingerprintError: ``model`` computes other features than those stored.
            ModelError: ``model`` cannot be had.
        """
        place = place_of(path)
        meta = IndexMeta.read(place)
        index = cls(meta, Store(place, tag=tag), OwnModel(place.location, meta))
        index._candidates = candidates
        if model is not None:
            index._model.use(model)
        return index

    # ---- changing it

    def add(
        self,
        paths: str | Path | Iterable[str | Path],
        *,
        include: str | Iterable[str] = (),
        exclude: str | Iterable[str] = (),
        progress: Callable[[Progress], None] | None = None,
        config: BuildConfig | None = None,
        encode: Encode | None = None,
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
            encode: what reads and encodes the files, a cluster for instance; default: the index's model, in this
                process and children of it.

        Returns:
            What was done, with one error for every file that could not be read.

        Raises:
            InputError: one of ``paths`` itself cannot be read, or a pattern is none; the index is unchanged then.
            IndexLockedError: another process is writing.
            FingerprintError, ModelError: as for :attr:`model`.
        """
        given, patterns = listed(paths), Patterns.of(include, exclude)
        self._check_writable()  # first: a model takes a while to load
        encode = encode or encode_here(self.model)
        with self._writing() as store:
            return build(
                store,
                self._meta,
                given,
                encode=encode,
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
        given = listed(paths)
        with self._writing() as store:
            return changes.remove(store, given)

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
        given, added, removed = listed(paths), changes.check_tags(add), changes.check_tags(remove)
        with self._writing() as store:
            return changes.tag(store, given, add=added, remove=removed)

    def prune(self, *, only: Iterable[str | Path] | None = None) -> list[str]:
        """Forget the files that are no longer there; returns their paths.

        Args:
            only: look at these files only; those that the index does not know are passed over.

        Raises:
            IndexLockedError: another process is writing.
        """
        with self._writing() as store:
            return changes.prune(store, only=only)

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

        self._check_writable()
        return watch(
            self,
            listed(paths),
            stop=stop,
            patterns=Patterns.of(include, exclude),
            progress=progress,
            build=config,
            config=watching,
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
        given, patterns = listed(paths), Patterns.of(include, exclude)
        with self._writing() as store:
            return changes.prune_excluded(store, given, patterns)

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
            with SubtitleStore(store.place.subtitles_to_write()) as subtitles:
                subtitles.compact()

    def publish(self, tag: str = DEFAULT_TAG) -> None:
        """Let a tag name the present state of the index, in one step for all who opened it with ``tag=``.

        Videos, moments and the users' tags of videos are part of a state; subtitles are not, they are searched as they
        are now. What a tag names takes room on the disk until the tag has moved on for ten minutes.

        Args:
            tag: letters, digits, dots, dashes and underscores.

        Raises:
            InputError: ``tag`` cannot be one.
            IndexLockedError: another process is writing.
        """
        check_tag_name(tag)
        with self._writing() as store:
            store.publish(tag)

    def withdraw(self, tag: str) -> None:
        """Delete a tag; whoever opened the index with it gets an :class:`.IndexStateError` from now on.

        Raises:
            IndexStateError: there is no such tag.
            IndexLockedError: another process is writing.
        """
        with self._writing() as store:
            store.withdraw(tag)

    def refresh_cache(
        self,
        *,
        codes: bool | None = None,
        frame_codes: bool | None = None,
        scenes: bool | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> CacheReport:
        """Build what makes searching a large index fast, as far as it is missing or damaged; searches go on meanwhile.

        Whatever changes an index of some thousand moments does it, too, but does not look for damage. An index in an
        object store has its cache on this machine, and only this makes it.

        Args:
            codes: whether moments and their scenes have codes for the ``faiss`` engine from now on, however few they
                are; default: as before, which is from 100,000 of either on if nobody has said.
            frame_codes: whether frames have codes from now on, so that moments of a large index can be found by their
                best frame; default: as before, and no if nobody has said.
            scenes: whether moments' scenes are kept from now on; default: as before, and if nobody has said, yes,
                unless the model that the index was made with finds moments by their mean.
            progress: called with the number of parts that are done, and of all.

        Returns:
            What was done. A full disk is told in it and in an :class:`.IndexCacheWarning`.

        Raises:
            IndexLockedError: another process is doing it.
            IndexStateError: the folder of the cache cannot be written to.
        """

        def changed(settings: CacheSettings) -> CacheSettings:
            return CacheSettings(
                codes=settings.codes if codes is None else codes,
                frame_codes=settings.frame_codes if frame_codes is None else frame_codes,
                scenes=settings.scenes if scenes is None else scenes,
            )

        store = self._opened()
        report = refresh_cache(
            store,
            self._meta.dim,
            scenes=self._meta.found_by != "mean",
            settings=changed,
            thorough=True,
            progress=progress,
        )
        with self._refreshing:
            self._gallery = None  # the next one is read from the cache
        return report

    # ---- inside

    def _check_writable(self) -> None:
        tag = self._opened().tag
        if tag is not None:
            raise IndexStateError(
                f"the index {str(self.path)!r} was opened as it is published under the tag {tag!r}, which cannot be "
                "changed; open it without a tag to write to it, then publish it again"
            )

    @contextmanager
    def _writing(self) -> Generator[Store]:
        """The lock, and tables of one's own: a search in another thread never sees them between two commits."""
        self._check_writable()
        store = self._opened()
        before = store.version()
        with store.place.writing():
            store.place.recover()
            try:
                yield Store(store.place, refresh_s=0.0)
                store.place.keep_subtitles()
            finally:
                store.look_again()
        if store.version()[1] != before[1]:  # other writers need not wait for this
            keep_cache(store, self._meta.dim, scenes=self._meta.found_by != "mean")
