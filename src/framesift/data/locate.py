"""Which files belong to the videos of a split, found in one walk over a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import DatasetError
from .activitynet import PREFIX
from .files import first_few
from .records import Source, Split

__all__ = ["VIDEO_SUFFIXES", "Located", "locate"]

VIDEO_SUFFIXES = frozenset(
    [
        ".3g2",
        ".3gp",
        ".asf",
        ".avi",
        ".flv",
        ".gif",
        ".h264",
        ".h265",
        ".hevc",
        ".m2ts",
        ".m4v",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".mxf",
        ".ogv",
        ".rm",
        ".rmvb",
        ".ts",
        ".vob",
        ".webm",
        ".wmv",
        ".y4m",
    ]
)
"""Extensions that count as a video when a folder is searched; a file named on its own may have any."""

PREFERRED = (".mp4", ".avi", ".webm")  # MSR-VTT: mp4, then CLIP4Clip's webm; MSVD: avi


@dataclass(frozen=True, kw_only=True)
class Located:
    """The files of a split's videos.

    Attributes:
        root: the folder that was searched, or None where the data names its files itself.
        sources: file (and moment) of every video that was found, by id.
        missing: ids without a file, in the order of the gallery.
        doubles: files of an id that has several; the first is the one in ``sources``.
    """

    root: Path | None
    sources: dict[str, Source]
    missing: tuple[str, ...]
    doubles: dict[str, tuple[Path, ...]] = field(default_factory=dict[str, tuple[Path, ...]])

    @property
    def paths(self) -> dict[str, Path]:
        """File of every video that was found, by id."""
        return {video: source.path for video, source in self.sources.items()}

    def notes(self) -> tuple[str, ...]:
        """What a report must say: videos that are missing, ids with several files."""
        said: list[str] = []
        if self.missing:
            total = len(self.missing) + len(self.sources)
            said.append(f"{len(self.missing):,} of {total:,} videos have no file: {first_few(self.missing)}")
        if self.doubles:
            video, paths = next(iter(self.doubles.items()))
            said.append(
                f"{len(self.doubles):,} videos have several files; of {video!r}, {str(paths[0])!r} is taken and not "
                f"{str(paths[1])!r}"
            )
        return tuple(said)


def locate(split: Split | Sequence[Split], root: str | Path | None = None) -> Located:
    """The files of the videos of one split, or of several at once.

    Where the data names its files (one's own data), those are looked for. Otherwise ``root`` is walked once, with all
    folders in it, and files are matched by their name without extension; ActivityNet's ids also without their ``v_``.
    Of several files for an id, one below ``root/videos`` comes first, then mp4, avi, webm, then the shortest path.
    A benchmark that looks at a part of every video alone (:attr:`.Split.window_s`) has it as the moment of each source.

    Raises:
        DatasetError: ``root`` is needed and is not a folder.
    """
    splits = [split] if isinstance(split, Split) else list(split)
    named = {video: source for one in splits for video, source in one.sources.items()}
    ids = list(dict.fromkeys(video for one in splits for video in one.videos))
    searched = [video for video in ids if video not in named]
    found = _existing({video: named[video] for video in ids if video in named})
    doubles: dict[str, tuple[Path, ...]] = {}
    folder = None
    if searched:
        if root is None or not Path(root).is_dir():
            raise DatasetError(f"{str(root)!r} is not a folder; name the one that holds the videos")
        folder = Path(root)
        windows = {video: one.window_s for one in splits for video in one.videos}
        for video, paths in _walk(folder, searched).items():
            start_s, end_s = windows[video] or (None, None)
            found[video] = Source(path=paths[0], start_s=start_s, end_s=end_s)
            if len(paths) > 1:
                doubles[video] = tuple(paths)
    return Located(
        root=folder,
        sources={video: found[video] for video in ids if video in found},
        missing=tuple(video for video in ids if video not in found),
        doubles=doubles,
    )


def _existing(sources: dict[str, Source]) -> dict[str, Source]:
    """Those whose file is there; every folder is listed once."""
    listed: dict[Path, set[str]] = {}
    found: dict[str, Source] = {}
    for video, source in sources.items():
        folder = source.path.parent
        if folder not in listed:
            try:
                with os.scandir(folder) as entries:
                    listed[folder] = {entry.name for entry in entries if entry.is_file()}
            except OSError:
                listed[folder] = set()
        if source.path.name in listed[folder]:
            found[video] = source
    return found


def _walk(root: Path, ids: Sequence[str]) -> dict[str, list[Path]]:
    names = {video: video for video in ids}
    for video in ids:
        if video.startswith(PREFIX):
            names.setdefault(video.removeprefix(PREFIX), video)
    found: dict[str, list[tuple[tuple[bool, int, int, str], Path]]] = {}
    for folder, name in _files_below(root):
        stem, suffix = os.path.splitext(name)
        known = suffix.lower() in VIDEO_SUFFIXES
        video = names.get(stem if known else name.rstrip("."))  # a few names of DiDeMo end with a bare dot
        if video is None:
            continue
        path = Path(folder, name)
        inside = path.relative_to(root)
        taste = PREFERRED.index(suffix.lower()) if suffix.lower() in PREFERRED else len(PREFERRED)
        key = (inside.parts[0] != "videos", taste, len(inside.parts), str(inside))
        found.setdefault(video, []).append((key, path))
    return {video: [path for _, path in sorted(pairs)] for video, pairs in found.items()}


def _files_below(root: Path) -> Iterator[tuple[str, str]]:
    """Folder and name of every file; links to folders are followed, each folder is entered once."""
    entered: set[str] = set()
    for folder, children, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in entered:
            children.clear()
            continue
        entered.add(real)
        children.sort()
        for name in sorted(names):
            yield folder, name
