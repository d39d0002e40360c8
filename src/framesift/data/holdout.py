"""Splits by the hash of a video's id: the same on every machine, whatever other videos there are."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from ..errors import DatasetError
from .records import Caption, Protocol, Split

__all__ = ["HOLDOUT", "hold_out", "place_of"]

HOLDOUT = 0.05  # 450 of 9,000 videos of MSR-VTT: about the official 497 of 7,010


def place_of(video: str) -> float:
    """A number in [0, 1) that depends on the id alone, uniform over ids."""
    digest = hashlib.sha256(video.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def hold_out(train: Split, share: float, *, protocol: Protocol | None = None) -> tuple[Split, Split]:
    """*train* without, and *val* with, the videos whose :func:`place_of` is below ``share``; at least one in each.

    A larger share holds all videos of a smaller one.

    Args:
        protocol: of *val*; ``one-caption`` takes the first caption of every video. Default: that of ``train``.

    Raises:
        DatasetError: ``train`` has fewer than two videos.
    """
    if len(train.videos) < 2:
        raise DatasetError(
            f"{train.benchmark} {train.split}: {len(train.videos)} video; two are needed to hold one out as val"
        )
    protocol = protocol or train.protocol
    in_order = sorted(train.videos, key=lambda video: (place_of(video), video))
    count = sum(place_of(video) < share for video in in_order)
    held = set(in_order[: min(max(count, 1), len(in_order) - 1)])
    note = (
        f"{len(held):,} of {len(train.videos):,} training videos are held out as val, by the hash of their id"
    )

    def part(split: str, chosen: set[str], its_protocol: Protocol) -> Split:
        captions = [caption for caption in train.captions if caption.video in chosen]
        if its_protocol == "one-caption":
            first: dict[str, Caption] = {}
            for caption in captions:
                first.setdefault(caption.video, caption)
            captions = list(first.values())
        return replace(
            train,
            split=split,
            protocol=its_protocol,
            videos=tuple(video for video in train.videos if video in chosen),
            captions=tuple(captions),
            notes=(*train.notes, note),
        )

    return part("train", set(train.videos) - held, train.protocol), part("val", held, protocol)
