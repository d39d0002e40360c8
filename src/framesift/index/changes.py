"""What becomes of videos that an index knows, apart from reading them: chosen, tagged and forgotten.

The functions that change something must be called under the writer's lock.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import InputError, suggest
from .files import lies_in, vanished
from .patterns import Patterns, Selection
from .schema import VideoRecord
from .store import Store
from .subtitle_store import SubtitleStore

__all__ = ["check_tags", "chosen", "prune", "prune_excluded", "remove", "tag"]

MOST_TAG_CHARACTERS = 100


def chosen(store: Store, paths: Iterable[str | Path]) -> list[VideoRecord]:
    """The records of files and of all files of folders, sorted by path.

    Raises:
        InputError: the index knows none of a path's files.
    """
    known = store.records()
    found: dict[str, VideoRecord] = {}
    for path in paths:
        place = os.path.abspath(path)
        here = {record.uri: record for record in known if lies_in(record.uri, place)}
        if not here:
            hint = suggest(place, [record.uri for record in known])
            raise InputError(f"the index {str(store.index)!r} holds nothing of {str(path)!r}{hint}")
        found |= here
    return [found[uri] for uri in sorted(found)]


def remove(store: Store, paths: Iterable[str | Path]) -> list[str]:
    """Forget files, and all files of folders; as :meth:`.Index.remove`."""
    return _forget(store, {record.video_id: record.uri for record in chosen(store, paths)})


def check_tags(tags: Iterable[str]) -> list[str]:
    """Tags without the space around them.

    Raises:
        InputError: one of them cannot be shown in a line, or is too long.
    """
    checked = [tag.strip() for tag in tags]
    for tag in checked:
        if not 0 < len(tag) <= MOST_TAG_CHARACTERS or not tag.isprintable():
            raise InputError(
                f"the tag {tag[:80]!r} cannot be used; it is a line of text of 1 to {MOST_TAG_CHARACTERS} characters"
            )
    return checked


def tag(
    store: Store, paths: Iterable[str | Path], *, add: Iterable[str], remove: Iterable[str]
) -> list[VideoRecord]:
    """Give tags and take them away, as :meth:`.Index.tag` does; they must be checked."""
    before = chosen(store, paths)
    after = [record.tagged(add=list(add), remove=list(remove)) for record in before]
    store.update_videos([new for old, new in zip(before, after, strict=True) if new.tags != old.tags])
    return after


def prune(store: Store, *, only: Iterable[str | Path] | None = None) -> list[str]:
    """Forget the files that are no longer there, or those of ``only``; as :meth:`.Index.prune`."""
    asked = None if only is None else {os.path.abspath(path) for path in only}
    records = (record for record in store.records() if asked is None or record.uri in asked)
    return _forget(store, {record.video_id: record.uri for record in records if vanished(record.uri)})


def prune_excluded(store: Store, paths: Iterable[str | Path], patterns: Patterns) -> list[str]:
    """Forget files below folders that patterns leave out; as :meth:`.Index.prune_excluded`."""
    places = [os.path.abspath(path) for path in paths]
    folders = {place: Selection(place, patterns) for place in places if os.path.isdir(place)}
    left_out: dict[str, str] = {}
    for record in store.records():
        if record.uri in places:
            continue
        holding = [selection for place, selection in folders.items() if lies_in(record.uri, place)]
        if holding and not any(selection.takes(record.uri) for selection in holding):
            left_out[record.video_id] = record.uri
    return _forget(store, left_out)


def _forget(store: Store, videos: Mapping[str, str]) -> list[str]:
    """Delete videos, given the path of each id, and return the paths, sorted.

    Their subtitles go last: without a video they are the remains of a change that was killed, which a build clears.
    """
    store.remove(list(videos))
    if videos:
        with SubtitleStore(store.place.subtitles_to_write()) as subtitles:
            subtitles.forget(videos)
    return sorted(videos.values())
