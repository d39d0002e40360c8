"""The benchmark of an experiment: a slice of Storyboard drawn when it is needed, or files on disk."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import replace
from pathlib import Path

import torch

from ...data import OWN_SUFFIXES, Split, load_split, locate, read_own
from ...errors import DecodeError, InputError, suggest
from ...storyboard import SLICES, Slice, content_hash
from ...video import Frames, Uniform, available_cores, load_videos
from ..gather import decode_part
from ..storyboard import frames_of
from .bench import Benchmark

__all__ = ["STORYBOARD", "open_benchmark"]

STORYBOARD = "storyboard"


def open_benchmark(name: str, *, videos: int, root: Path | None = None) -> Benchmark:
    """A benchmark's test split with at most so many videos, from its beginning.

    Args:
        name: ``storyboard`` (its ``standard`` slice), ``storyboard/SLICE``, a benchmark of
            :data:`framesift.data.BENCHMARKS`, or a CSV or JSONL file of one's own.
        videos: of a paired slice, pairs; 0: all of them.
        root: folder of annotations and videos; for one's own file the folder that names of videos start from.

    Raises:
        InputError: no such benchmark or slice, no ``root``, or a single video.
        DatasetError: files are missing or malformed.
    """
    if videos < 0 or videos == 1:
        raise InputError(
            f"a gallery of {videos} videos has nothing to rank; expected at least 2, or 0 for all"
        )
    kind, _, part = name.partition("/")
    if kind == STORYBOARD:
        chosen = part or "standard"
        if chosen not in SLICES:
            raise InputError(
                f"Storyboard has no slice {chosen!r}{suggest(chosen, SLICES)} ({', '.join(SLICES)})"
            )
        return _of_slice(SLICES[chosen](videos) if videos else SLICES[chosen]())
    if Path(name).suffix.lower() in OWN_SUFFIXES:
        return _of_split(read_own(name, split="test", root=root), root, videos)
    if root is None:
        raise InputError(f"the files of {name!r} are needed: name their folder with --root")
    return _of_split(load_split(name, "test", root), root, videos)


def _of_slice(gallery: Slice) -> Benchmark:
    """A slice of Storyboard, rendered without files."""

    def clips(num_frames: int) -> Iterable[Frames]:
        return (frames_of(video, num_frames) for video in gallery.videos)

    return Benchmark(
        texts=tuple(gallery.texts),
        relevance=torch.from_numpy(gallery.relevance),
        clips=clips,
        split={
            "benchmark": STORYBOARD,
            "split": f"test, {gallery.name}",
            "protocol": "one-caption" if len(gallery.texts) == len(gallery.videos) else "all-captions",
            "videos": len(gallery.videos),
            "captions": len(gallery.texts),
            "content_hash": content_hash(gallery.videos),
            "notes": [],
        },
        slice=gallery,
    )


def _of_split(split: Split, root: Path | None, videos: int) -> Benchmark:
    """Files: videos that are missing or cannot be read are left out, with a note."""
    located = locate(split, root)
    split = split.without(located.missing)
    if 0 < videos < len(split.videos):
        split = replace(
            split.subset(range(videos)),
            notes=(*split.notes, f"the first {videos:,} of {len(split.videos):,} videos"),
        )
    paths = {video: str(source) for video, source in located.sources.items()}
    tried = zip(split.videos, _decoded([paths[video] for video in split.videos], 1), strict=True)
    split = split.without([video for video, frames in tried if isinstance(frames, DecodeError)])

    def clips(num_frames: int) -> Iterable[Frames]:
        for frames in _decoded([paths[video] for video in split.videos], num_frames):
            if isinstance(frames, DecodeError):
                raise frames  # one frame of it could be read before
            yield frames

    return Benchmark(
        texts=tuple(split.texts),
        relevance=torch.from_numpy(split.relevance()),
        clips=clips,
        split=split.to_dict(),
    )


def _decoded(paths: list[str], num_frames: int) -> Generator[Frames | DecodeError]:
    sampler = Uniform(num_frames=num_frames)
    return load_videos(paths, sampler, workers=available_cores(), decoder=decode_part)
