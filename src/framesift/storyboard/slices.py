"""Ranked galleries of the test split, each with a relevance that is known exactly."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import InputError
from .captions import Caption, captions, holds, paragraph
from .render import SIZE_PX
from .scenes import FPS, VERSION, Dice, Scene, Storyboard
from .splits import SPLITS, storyboards, video_name, write_videos

__all__ = [
    "Slice",
    "choose_unique",
    "diversity",
    "multi_caption",
    "paragraphs",
    "relevance",
    "standard",
    "write_slice",
]

# First seeds inside the split, so that no slice has a file name of another one.
MULTI_CAPTION_SEEDS, PARAGRAPH_SEEDS = 600_000, 700_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Slice:
    """Texts, videos, and which videos answer which texts.

    Attributes:
        captions: one a query.
        owners: row of the video that each caption was written for.
        relevance: bool ``[text, video]``.
    """

    name: str
    videos: tuple[Storyboard, ...]
    captions: tuple[Caption, ...]
    owners: tuple[int, ...]
    relevance: np.ndarray

    @property
    def texts(self) -> list[str]:
        return [caption.text for caption in self.captions]

    @property
    def content_hash(self) -> str:
        """Hash of scenes, captions and relevance in their order: two results are comparable where it is equal."""
        digest = hashlib.sha256(f"{VERSION}/{self.name}".encode())
        for part in (*self.videos, *self.captions):
            digest.update(json.dumps(asdict(part), sort_keys=True).encode())
        digest.update(np.asarray(self.owners, dtype="<i8").tobytes())
        digest.update(np.packbits(self.relevance).tobytes())
        return digest.hexdigest()[:16]

    def __repr__(self) -> str:
        return f"<Slice {self.name} {len(self.captions)} texts x {len(self.videos)} videos>"


def relevance(texts: Sequence[Caption], videos: Sequence[Storyboard]) -> np.ndarray:
    """Which videos each caption is true of, bool ``[text, video]``."""
    showing: defaultdict[str, set[int]] = defaultdict(set)
    for number, video in enumerate(videos):
        for scene in video.scenes:
            for thing in scene.objects:
                showing[thing.shape].add(number)
                showing[f"{thing.color} {thing.shape}"].add(number)
    result = np.zeros((len(texts), len(videos)), dtype=bool)
    for row, caption in enumerate(texts):
        # Only videos that show every named object at all can satisfy the claims.
        named = {
            f"{thing.color} {thing.shape}" if thing.color else thing.shape
            for claim in caption.claims
            for thing in claim.objects
        }
        possible = set.intersection(*(showing[name] for name in named))
        result[row, [number for number in possible if holds(caption, videos[number])]] = True
    return result


def choose_unique(
    candidates: Sequence[Sequence[Caption]], videos: Sequence[Storyboard]
) -> tuple[Caption, ...]:
    """One caption of each list: the first that is true of one video alone, else the first."""
    count = len(candidates)
    chosen: list[Caption | None] = [None] * count
    for attempt in range(max(len(own) for own in candidates)):
        rows = [
            number for number in range(count) if chosen[number] is None and attempt < len(candidates[number])
        ]
        if not rows:
            break
        matches = relevance([candidates[number][attempt] for number in rows], videos).sum(axis=1)
        for number, matched in zip(rows, matches, strict=True):
            if matched == 1:
                chosen[number] = candidates[number][attempt]
    return tuple(
        own[0] if caption is None else caption for own, caption in zip(candidates, chosen, strict=True)
    )


def standard(count: int = 1000, *, start: int = 0, split: str = "test") -> Slice:
    """One partial caption a video; the first one that is true of no other video of the gallery, where there is one."""
    videos = storyboards(split, count, start=start)
    queries = choose_unique([captions(video) for video in videos], videos)
    return Slice(
        name="standard",
        videos=tuple(videos),
        captions=queries,
        owners=tuple(range(count)),
        relevance=relevance(queries, videos),
    )


def multi_caption(count: int = 300, *, start: int = 0, captions_each: int = 5) -> Slice:
    """Several captions a video, every one a query (the protocol of MSVD); each counts for all videos it is true of."""
    videos = storyboards("test", count, start=MULTI_CAPTION_SEEDS + start)
    own = [captions(video)[:captions_each] for video in videos]
    queries = tuple(caption for each in own for caption in each)
    return Slice(
        name="multi-caption",
        videos=tuple(videos),
        captions=queries,
        owners=tuple(row for row, each in enumerate(own) for _ in each),
        relevance=relevance(queries, videos),
    )


def paragraphs(count: int = 500, *, start: int = 0) -> Slice:
    """A paragraph about all of a video of two to four scenes, true of no other video of the gallery.

    ``start`` is the first seed; videos of one scene, and those whose paragraph is true of others too, are skipped.
    """
    videos: list[Storyboard] = []
    seed = PARAGRAPH_SEEDS + start
    while len(videos) < count:
        while len(videos) < count:
            (video,) = storyboards("test", 1, start=seed)
            seed += 1
            if len(video.scenes) > 1:
                videos.append(video)
        matches = relevance([paragraph(video) for video in videos], videos).sum(axis=1)
        videos = [video for video, matched in zip(videos, matches, strict=True) if matched == 1]
    queries = tuple(paragraph(video) for video in videos)
    return Slice(
        name="paragraph",
        videos=tuple(videos),
        captions=queries,
        owners=tuple(range(count)),
        relevance=relevance(queries, videos),
    )


def diversity(base: Slice, num_foreign: int, *, source: str = "pool") -> Slice:
    """The ``diversity-n`` slice: ``num_foreign`` foreign scenes at random places of every video (X-Pool, Figure 4).

    Args:
        base: the gallery to disturb.
        source: where the scenes come from: ``pool``, videos outside of every gallery; or ``gallery``, other
            videos of ``base``, as in the paper. A caption that the new scenes make true of further videos
            counts for them too.

    Raises:
        InputError: an unknown source or a negative number.
    """
    if source not in ("pool", "gallery"):
        raise InputError(f"unknown source {source!r} of foreign scenes; expected 'pool' or 'gallery'")
    if num_foreign < 0:
        raise InputError(f"cannot inject {num_foreign} scenes")
    videos: list[Storyboard] = []
    for video in base.videos:
        dice = Dice("diversity", source, video.seed)
        scenes = list(video.scenes)
        for _ in range(num_foreign):
            scenes.insert(dice.below(len(scenes) + 1), _foreign_scene(dice, base, video, source))
        videos.append(replace(video, scenes=tuple(scenes)))
    return Slice(
        name=f"diversity-{num_foreign}" + ("" if source == "pool" else "-gallery"),
        videos=tuple(videos),
        captions=base.captions,
        owners=base.owners,
        relevance=relevance(base.captions, videos),
    )


def _foreign_scene(dice: Dice, base: Slice, video: Storyboard, source: str) -> Scene:
    if source == "pool":
        donor = storyboards("pool", 1, start=dice.below(len(SPLITS["pool"])))[0]
    else:
        if len(base.videos) < 2:
            raise InputError("a gallery of one video has no foreign scenes to give")
        donor = video
        while donor is video:
            donor = base.videos[dice.below(len(base.videos))]
    return donor.scenes[dice.below(len(donor.scenes))]


def write_slice(gallery: Slice, folder: str | Path, *, size_px: int = SIZE_PX) -> list[Path]:
    """Make ``folder`` with the mp4 files of a slice and ``captions.json``; gives the paths of the videos in order.

    The file holds the scenes of every video with their times, and every caption with its claims, its moment, the
    video that it was written for and all that answer it. A folder that was begun is finished.

    Raises:
        InputError: the folder cannot be written, or holds another slice.
    """
    folder = Path(folder)
    names = [video_name(video) for video in gallery.videos]
    document = {
        "version": VERSION,
        "slice": gallery.name,
        "content_hash": gallery.content_hash,
        "videos": {
            name: {"fps": FPS, "duration_s": video.duration_s, **asdict(video)}
            for name, video in zip(names, gallery.videos, strict=True)
        },
        "captions": [
            {
                **asdict(caption),
                "video": names[owner],
                "relevant": [names[column] for column in np.flatnonzero(row)],
            }
            for caption, owner, row in zip(gallery.captions, gallery.owners, gallery.relevance, strict=True)
        ],
    }
    path = folder / "captions.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists() and f'"content_hash": "{gallery.content_hash}"' not in path.read_text(
            errors="replace"
        ):
            raise InputError(
                f"{str(folder)!r} holds other videos than these of slice {gallery.name!r}; give a new folder"
            )
        path.write_text(json.dumps(document, indent=1))
        return write_videos(gallery.videos, folder, size_px=size_px)
    except OSError as error:
        raise InputError(f"cannot write to {str(folder)!r}: {error.strerror or error}") from None
