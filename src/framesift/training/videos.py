"""The videos of a run: decoded in other processes, checked before they are needed, encoded a few at a time."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.records import Source
from ..encoders import Preprocess
from ..errors import DecodeError, InputError
from ..evaluation.gather import encode_clips
from ..features import VideoFeatures
from ..index.durable import write_json
from ..model import RetrievalModel
from ..video import Frames, Uniform, load_videos
from ..video.sampling import Sampler
from .clips import STORYBOARD, ClipDecoder, EverySecond, request
from .recipe import FramesRecipe

__all__ = ["Videos", "evaluation_sampler"]


def evaluation_sampler(frames: FramesRecipe) -> Sampler:
    """Which frames of a video evaluation sees, and training without jitter."""
    if frames.sampling == "rate":
        return EverySecond(max_frames=frames.num_frames)
    return Uniform(num_frames=frames.num_frames)


@dataclass(frozen=True, kw_only=True)
class Videos:
    """Files by id, and how they are decoded.

    Attributes:
        sources: the file of every id.
        frames: which frames are seen.
        preprocessing: pictures are resized for this encoder.
        workers: decoding processes; 0: decode in this one.
    """

    sources: Mapping[str, Source]
    frames: FramesRecipe
    preprocessing: Preprocess
    workers: int

    def decode(self, videos: Iterable[str]) -> Generator[Frames | DecodeError]:
        """The frames that evaluation sees, resized, in the order of the ids."""
        return self._load(((video, 0) for video in videos), train=False)

    def decode_for_training(self, drawn: Iterable[tuple[str, int]]) -> Generator[Frames | DecodeError]:
        """The frames of ids with the numbers that decide what is random about them; augmented."""
        return self._load(drawn, train=True)

    def encode(
        self, model: RetrievalModel, videos: Sequence[str]
    ) -> tuple[VideoFeatures | None, dict[str, str]]:
        """The model's features of those that can be read, on its device, and reasons for the others."""
        failed: dict[str, str] = {}

        def told() -> Iterable[Frames | DecodeError]:
            for video, clip in zip(videos, self.decode(videos), strict=True):
                if isinstance(clip, DecodeError):
                    failed[video] = clip.reason
                yield clip

        try:
            return encode_clips(model, told()).video, failed
        except InputError:
            if len(failed) < len(videos):
                raise
            return None, failed

    def check(self, videos: Sequence[str], known: Path, *, report: Callable[[str], None]) -> dict[str, str]:
        """Decode every video once; why some cannot be read, by id.

        Args:
            known: file that remembers the answer for these videos.
            report: hears how far it is.
        """
        listed = [[video, *map(str, _facts(self.sources[video]))] for video in videos]
        settings = [self.frames.num_frames, self.frames.sampling]
        key = hashlib.sha256(json.dumps([settings, listed]).encode()).hexdigest()
        if known.exists():
            try:
                found = json.loads(known.read_text(encoding="utf-8"))
                if found["key"] == key:
                    return dict(found["failed"])
            except (ValueError, KeyError, TypeError):
                pass  # a file that something else wrote is replaced
        failed: dict[str, str] = {}
        for number, (video, clip) in enumerate(zip(videos, self.decode(videos), strict=True), start=1):
            if isinstance(clip, DecodeError):
                failed[video] = clip.reason
            if number % 1000 == 0:
                report(f"checked {number:,} of {len(videos):,} videos")
        write_json(known, {"key": key, "failed": failed})
        return failed

    def _load(self, drawn: Iterable[tuple[str, int]], *, train: bool) -> Generator[Frames | DecodeError]:
        decoder = ClipDecoder(
            preprocessing=self.preprocessing,
            num_frames=self.frames.num_frames,
            jitter=train and self.frames.jitter,
            augmentation=self.frames.augmentation if train else "none",
        )
        asked: list[str] = []

        def requests() -> Iterable[str]:
            for video, draw in drawn:
                asked.append(video)
                source = self.sources[video]
                yield request(str(source.path), draw, start_s=source.start_s, end_s=source.end_s)

        found = load_videos(
            requests(), evaluation_sampler(self.frames), workers=self.workers, decoder=decoder
        )
        try:
            for clip in found:
                video = asked.pop(0)  # decoded in the order in which they were asked for
                yield (
                    DecodeError(self.sources[video].path, clip.reason)
                    if isinstance(clip, DecodeError)
                    else clip
                )
        finally:
            found.close()


def _facts(source: Source) -> tuple[object, ...]:
    """What changes when a file does."""
    if str(source.path).startswith(STORYBOARD):
        return (source.path,)
    try:
        facts = os.stat(source.path)
    except OSError:
        return (source.path, source.start_s, source.end_s)
    return (source.path, source.start_s, source.end_s, facts.st_size, facts.st_mtime_ns)
