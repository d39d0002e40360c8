"""What each tool does, as plain calls that know nothing of the protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePath
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel

from ..clock import format_time
from ..errors import FramesiftError, InputError
from ..ranking import RERANK_DEPTH
from ..search.captions import describe as captions_of
from ..video.pictures import contact_sheet, jpeg_bytes, picture_at, pictures_at
from . import answers
from .answers import readable
from .library import Library

__all__ = ["Reply", "Tools"]

JPEG_QUALITY = 80  # at 1280 pixels some 250 kB, of which a client sees four thirds
SHEET_COLUMNS = 4

Data = TypeVar("Data", bound=BaseModel, covariant=True)


@dataclass(frozen=True, kw_only=True)
class Reply(Generic[Data]):
    """An answer in its three shapes.

    Attributes:
        data: for programs.
        text: the same for readers.
        pictures: JPEG files that belong to it.
    """

    data: Data
    text: str
    pictures: Sequence[bytes] = ()


class Tools:
    """The tools of a server, over its library. May be called by several threads at once."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def close(self) -> None:
        """Close the library."""
        self._library.close()

    def search(
        self,
        query: str,
        *,
        k: int,
        offset: int,
        unit: Literal["moment", "video"],
        rerank: bool,
        pictures: int,
        width_px: int,
        index: str | None,
    ) -> Reply[answers.Found]:
        """Results ``offset + 1`` to ``offset + k`` of a query, the first ``pictures`` of them with their best frame.

        Raises:
            InputError: the index is unknown, or the query is empty or malformed.
            IndexStateError, ModelError: as for :meth:`.Searcher.search`.
        """
        shelf = self._library.shelf(index)
        again = RERANK_DEPTH if rerank else 0
        answer = shelf.searcher.search(query, k=k, offset=offset, unit=unit, rerank_depth=again)
        found = answers.found(shelf.name, answer)
        text = answers.found_as_text(found, query)
        shown: list[bytes] = []
        for hit in found.results[:pictures]:
            try:
                path = shelf.file(shelf.record(hit.video_id))
                shown.append(
                    jpeg_bytes(picture_at(path, hit.best_frame_s, width_px=width_px, height_px=width_px))
                )
            except FramesiftError as error:  # the results are worth having without it
                text += f"\nNo image of result {hit.rank}: {readable(str(error))}"
            else:
                text += f"\nImage {len(shown)}: result {hit.rank} at {hit.best_frame_s:.2f} s"
        return Reply(data=found, text=text, pictures=shown)

    def describe(
        self,
        video: str,
        captions: Sequence[str],
        *,
        start_s: float,
        end_s: float | None,
        k: int,
        index: str | None,
    ) -> Reply[answers.Captions]:
        """The ``k`` captions that fit a video, or a part of it, best.

        Raises:
            InputError: the index or the video is unknown, a caption is empty, or the part has no length.
            DecodeError: the file is gone, has changed, or cannot be read.
        """
        shelf = self._library.shelf(index)
        record = shelf.record(video)
        last_s = _end(record.duration_s, start_s, end_s)
        if any(not caption.strip() for caption in captions):
            raise InputError("a caption is empty; say in words what the video may show")
        ranked = captions_of(
            shelf.index.model,
            shelf.index,
            shelf.file(record),
            captions,
            start_s=start_s or None,
            end_s=end_s if end_s == last_s else None,  # not behind the end of the video
            k=k,
        )
        data = answers.Captions(
            index=shelf.name,
            video=readable(record.uri),
            start_s=start_s,
            end_s=last_s,
            captions=[answers.caption(one) for one in ranked],
        )
        return Reply(data=data, text=answers.captions_as_text(data))

    def fetch_frame(
        self, video: str, *, time_s: float, width_px: int, index: str | None
    ) -> Reply[answers.Frame]:
        """The frame on display at a time; the last one after the end.

        Raises:
            InputError: the index or the video is unknown.
            DecodeError: the file is gone, has changed, or cannot be read.
        """
        shelf = self._library.shelf(index)
        record = shelf.record(video)
        picture = picture_at(shelf.file(record), time_s, width_px=width_px, height_px=width_px)
        name = readable(record.uri)
        data = answers.Frame(
            index=shelf.name, video=name, time_s=time_s, width_px=picture.width, height_px=picture.height
        )
        text = f"{name} at {format_time(time_s)}, {picture.width} x {picture.height} pixels"
        if record.duration_s is not None and time_s >= record.duration_s:
            text += f"; the video ends at {format_time(record.duration_s)}, and this is its last frame"
        return Reply(data=data, text=text, pictures=[jpeg_bytes(picture, quality=JPEG_QUALITY)])

    def fetch_sheet(
        self,
        video: str,
        *,
        start_s: float,
        end_s: float | None,
        frames: int,
        width_px: int,
        index: str | None,
    ) -> Reply[answers.Sheet]:
        """A contact sheet: frames at equal distances from a video or a part of it, each with its time, in one image.

        Raises:
            InputError: the index or the video is unknown, or the part has no length.
            DecodeError: the file is gone, has changed, or cannot be read.
        """
        shelf = self._library.shelf(index)
        record = shelf.record(video)
        last_s = _end(record.duration_s, start_s, end_s)
        step_s = (last_s - start_s) / frames
        times_s = [start_s + (number + 0.5) * step_s for number in range(frames)]
        cell_px = max(1, width_px // min(SHEET_COLUMNS, frames))
        cells = pictures_at(shelf.file(record), times_s, width_px=cell_px, height_px=cell_px)
        sheet = contact_sheet(cells, [format_time(time_s) for time_s in times_s], columns=SHEET_COLUMNS)
        name = readable(record.uri)
        data = answers.Sheet(index=shelf.name, video=name, times_s=times_s)
        shown = ", ".join(format_time(time_s) for time_s in times_s)
        return Reply(data=data, text=f"{name} at {shown}", pictures=[jpeg_bytes(sheet, quality=JPEG_QUALITY)])

    def list_videos(
        self,
        *,
        name: str | None,
        status: Literal["ok", "failed", "all"],
        limit: int,
        offset: int,
        index: str | None,
    ) -> Reply[answers.Videos]:
        """A page of an index's videos, by path; ``name`` is a pattern with ``*`` and ``?``, or a part of the path.

        Raises:
            InputError: the index is unknown.
        """
        shelf = self._library.shelf(index)
        records = [record for record in shelf.records() if status in ("all", record.status)]
        if name:
            records = [record for record in records if _fits(readable(record.uri), name)]
        page = answers.Videos(
            index=shelf.name,
            total=len(records),
            offset=offset,
            videos=[answers.video(record) for record in records[offset : offset + limit]],
        )
        return Reply(data=page, text=answers.videos_as_text(page))

    def index_info(self) -> Reply[answers.Indexes]:
        """What the indexes hold."""
        facts = [
            answers.index_facts(
                shelf.name, shelf.index.info(), reranks=shelf.index.model.reranker is not None
            )
            for shelf in self._library.shelves
        ]
        data = answers.Indexes(indexes=facts)
        return Reply(data=data, text=answers.indexes_as_text(data))


def _fits(path: str, pattern: str) -> bool:
    """Whether a path holds the pattern somewhere, or its file name matches it, without regard to case."""
    path, pattern = path.lower(), pattern.lower()
    return pattern in path or fnmatchcase(PurePath(path).name, pattern)


def _end(duration_s: float | None, start_s: float, end_s: float | None) -> float:
    """Where a part of a video ends, which is not after the video."""
    known = [value for value in (duration_s, end_s) if value is not None]
    if not known:
        raise InputError("the length of this video is unknown; say where the part shall end, with end_s")
    last_s = min(known)
    if last_s <= start_s:
        length = "" if duration_s is None else f"; the video is {duration_s:g} s long"
        raise InputError(f"the part from {start_s:g} s to {last_s:g} s has no length{length}")
    return last_s
