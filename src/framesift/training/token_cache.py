"""Image tokens of a frozen encoder, computed once and read from disk during training.

A reranker such as CrossTVR reads every token of every frame: 0.9 MB a video for ViT-B/32 and 12 frames in fp16, 8.7 MB
for ViT-g/14. One file holds them all, mapped into memory::

    meta.json      what the tokens are of: fingerprint, videos, shape
    tokens.npy     float16 [video, frame, patch, width]
    records.npy    for every video its number of frames (-1: not computed yet) and the checksum of its tokens

A row is written before its record, so that a killed run goes on where it was. A row whose checksum is wrong is computed
anew; a cache of other tokens, or with a damaged file, is started anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import InputError, ShapeError
from ..features import VideoFeatures

__all__ = ["TokenCache"]

FORMAT_VERSION = 1
META_FILE, TOKENS_FILE, RECORDS_FILE = "meta.json", "tokens.npy", "records.npy"
RECORD = np.dtype([("num_frames", "<i4"), ("checksum", "<u4")])
UNKNOWN = -1

Encode = Callable[[Sequence[str]], VideoFeatures]


class TokenCache:
    """Tokens of a list of videos, computed when they are first asked for.

    Reading from several processes is safe; when several compute, work is done twice, not wrongly.

    Args:
        folder: where the files are, or will be.
        videos: names of the videos, in the order of the rows; ``encode`` gets them.
        encode: videos -> features with ``patch``, such as decoding and :meth:`.PatchEncoder.encode_video`.
        fingerprint: of all that decides the tokens: :meth:`.PatchEncoder.fingerprint` and how frames are sampled.
        shape: frames (at most), patches and width of a video's tokens.
        max_bytes: largest size of the file; it is reserved at once.
        batch_size: videos that are encoded together.

    Raises:
        InputError: the tokens need more than ``max_bytes``, the disk has no room for them, or the folder cannot be
            written.
    """

    def __init__(
        self,
        folder: str | Path,
        videos: Sequence[str],
        encode: Encode,
        *,
        fingerprint: str,
        shape: tuple[int, int, int],
        max_bytes: int,
        batch_size: int = 16,
    ) -> None:
        self.folder = Path(folder)
        self.videos = tuple(videos)
        self.shape = shape
        self._encode = encode
        self._batch_size = batch_size
        size = 2 * len(self.videos) * int(np.prod(shape))
        if size > max_bytes:
            raise InputError(
                f"the tokens of {len(self.videos)} videos need {size / 2**30:.1f} GiB, but max_bytes allows"
                f" {max_bytes / 2**30:.1f}; allow more, or use fewer frames or videos"
            )
        if batch_size < 1 or not self.videos or min(shape) < 1:
            raise InputError("a token cache needs at least one video, and positive batch_size and shape")
        names = hashlib.sha256("\0".join(self.videos).encode()).hexdigest()
        self._meta = {
            "format_version": FORMAT_VERSION,
            "fingerprint": fingerprint,
            "videos": names,
            "num_videos": len(self.videos),
            "shape": list(shape),
        }
        try:
            self._tokens, self._records = self._open() or self._create()
        except OSError as error:
            raise InputError(
                f"cannot keep tokens in {str(self.folder)!r}: {error.strerror or error}"
            ) from None
        self._verified = np.zeros(len(self.videos), dtype=bool)

    def __len__(self) -> int:
        return len(self.videos)

    def __repr__(self) -> str:
        return f"<TokenCache {self.num_computed} of {len(self)} videos in {str(self.folder)!r}>"

    @property
    def num_computed(self) -> int:
        """Videos whose tokens are on disk."""
        return int((self._records["num_frames"] != UNKNOWN).sum())

    def fill(self, *, report: Callable[[str], None] | None = None) -> None:
        """Compute what is missing or damaged.

        Args:
            report: receives a line for every tenth of the videos, while there is something to compute.
        """
        told = 0
        for start in range(0, len(self), self._batch_size):
            end = min(start + self._batch_size, len(self))
            computed = self._complete(range(start, end))
            if report is not None and computed and 10 * end // len(self) > told:
                told = 10 * end // len(self)
                report(f"tokens of {end:,} of {len(self):,} videos")

    def features(self, rows: Sequence[int]) -> VideoFeatures:
        """Tokens of some videos, computed if need be: ``patch`` float16 on the CPU, ``frame`` its first token.

        Raises:
            InputError: there is no such row, or ``encode`` made tokens that float16 cannot hold.
            ShapeError: ``encode`` made tokens of another shape.
        """
        if any(not 0 <= row < len(self) for row in rows):
            raise InputError(f"rows {list(rows)}: expected 0 to {len(self) - 1}")
        for start in range(0, len(rows), self._batch_size):
            self._complete(rows[start : start + self._batch_size])
        patch = torch.from_numpy(self._tokens[list(rows)])
        return self._as_features(patch, self._records["num_frames"][list(rows)])

    def mapped(self) -> VideoFeatures:
        """All videos without reading them: rows come from disk when they are indexed. Computes what is missing."""
        self.fill()
        return self._as_features(torch.from_numpy(self._tokens), self._records["num_frames"])

    def _as_features(self, patch: torch.Tensor, num_frames: np.ndarray) -> VideoFeatures:
        mask = torch.arange(self.shape[0]) < torch.from_numpy(num_frames.astype(np.int64))[:, None]
        return VideoFeatures(frame=patch[:, :, 0], frame_mask=mask, patch=patch)

    def _complete(self, rows: Sequence[int]) -> bool:
        """Compute those of ``rows`` that are missing or damaged, and say whether any was; every row is checked once."""
        missing = [row for row in dict.fromkeys(rows) if not self._verified[row] and not self._intact(row)]
        if missing:
            self._write(missing, self._encode([self.videos[row] for row in missing]))
        self._verified[list(rows)] = True
        return bool(missing)

    def _intact(self, row: int) -> bool:
        num_frames, checksum = self._records[row].item()
        return 0 <= num_frames <= self.shape[0] and checksum == _checksum(self._tokens[row])

    def _write(self, rows: Sequence[int], video: VideoFeatures) -> None:
        frames, patches, width = self.shape
        found = None if video.patch is None else tuple(video.patch.shape)
        if found is None or found[0] != len(rows) or found[1] > frames or found[2:] != (patches, width):
            raise ShapeError(
                "tokens to keep", expected=f"[{len(rows)}, at most {frames}, {patches}, {width}]", got=found
            )
        assert video.patch is not None
        mask = video.frame_mask.cpu()
        token = video.patch.detach().cpu().masked_fill(~mask[..., None, None], 0.0).half().numpy()
        if not np.isfinite(token).all():
            raise InputError("the encoder made tokens that are not finite in float16; check its weights")
        num_frames = mask.sum(dim=1)
        if not bool((mask == (torch.arange(mask.shape[1]) < num_frames[:, None])).all()):
            raise InputError("frames to keep must come first, and padding after them")
        for row, own, count in zip(rows, token, num_frames.tolist(), strict=True):
            self._tokens[row, : found[1]] = own
            self._tokens[row, found[1] :] = 0
            self._records[row] = (count, _checksum(self._tokens[row]))
        self._records.flush()

    def _open(self) -> tuple[np.memmap[Any, Any], np.memmap[Any, Any]] | None:
        """The files, or None where they are missing, damaged or of other tokens."""
        try:
            if json.loads((self.folder / META_FILE).read_text(encoding="utf-8")) != self._meta:
                return None
            tokens, records = _map(self.folder / TOKENS_FILE), _map(self.folder / RECORDS_FILE)
        except (OSError, ValueError, EOFError):
            return None
        fits = tokens.shape == (len(self), *self.shape) and records.shape == (len(self),)
        return (tokens, records) if fits and tokens.dtype == np.float16 and records.dtype == RECORD else None

    def _create(self) -> tuple[np.memmap[Any, Any], np.memmap[Any, Any]]:
        """Empty files; the description comes last, so that what a kill leaves behind is not taken for a cache."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in (META_FILE, TOKENS_FILE, RECORDS_FILE):
            (self.folder / name).unlink(missing_ok=True)
        path = self.folder / TOKENS_FILE
        tokens = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(len(self), *self.shape))
        if hasattr(
            os, "posix_fallocate"
        ):  # a full disk is an error here, and a crash when a mapped page is written
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        records = np.lib.format.open_memmap(
            self.folder / RECORDS_FILE, mode="w+", dtype=RECORD, shape=(len(self),)
        )
        records["num_frames"] = UNKNOWN
        records.flush()
        unfinished = self.folder / f"{META_FILE}.{os.getpid()}.part"
        unfinished.write_text(json.dumps(self._meta), encoding="utf-8")
        os.replace(unfinished, self.folder / META_FILE)
        return tokens, records


def _map(path: Path) -> np.memmap[Any, Any]:
    np.lib.format.open_memmap(path, mode="r")  # refuses a file that was cut, which r+ would lengthen
    return np.lib.format.open_memmap(path, mode="r+")


def _checksum(row: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(row).data.cast("B"))
