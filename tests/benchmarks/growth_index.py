"""A sampled gallery (growth_gallery.py) as a real index: both Lance tables, journal and all, without any video file.

Videos have ten moments of ten seconds each and made-up paths. What is written goes through the commits of a build, in
larger ones than a build makes, so that opening, the cache and searching are those of an index of that size.

:class:`PlantedModel` asks it: its text tower has the size of ViT-B/32's and random weights, and costs what that costs;
its answer is replaced by the embedding that the gallery has for the caption.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from growth_gallery import FRAMES, Floats, GrowthGallery
from numpy.typing import NDArray
from torch import Tensor

import framesift as fs
from framesift.features import TextFeatures
from framesift.hub import find
from framesift.index import Index
from framesift.index.schema import VideoRecord, moments_schema
from framesift.index.store import Store
from framesift.matchers import XPool, XPoolConfig
from framesift.model import RetrievalModel
from framesift.storyboard.slices import standard

__all__ = ["MOMENTS_A_VIDEO", "PlantedModel", "captions", "load_tower", "text_tower", "write_tables"]

FINGERPRINT = "growth-gallery"
MOMENTS_A_VIDEO = 10
MOMENT_S = 10.0
MOMENTS_A_COMMIT = 20_000  # 280 MB at 12 x 512; a fragment of the table each


def write_tables(path: Path, gallery: GrowthGallery, model: PlantedModel) -> dict[str, float]:
    """Make an index at ``path`` that holds a gallery, without a cache.

    Returns:
        CPU and wall seconds of the commits alone: sampling does not count.
    """
    cpu = wall = 0.0
    # as a build commits, without what an index does afterwards: its cache is made by refresh_cache
    with Index.create(path, model=model, moments="shots") as index:
        place = index._opened().place
    with place.writing():
        store = Store(place)
        for records, moments in batches(gallery):
            before = time.process_time(), time.monotonic()
            store.commit(records, moments, known=())
            cpu += time.process_time() - before[0]
            wall += time.monotonic() - before[1]
    return {"cpu_s": cpu, "wall_s": wall}


def batches(gallery: GrowthGallery) -> Iterator[tuple[list[VideoRecord], pa.Table]]:
    """What one commit writes: whole videos and all their moments."""
    held: list[tuple[NDArray[np.float16], Floats]] = []
    first = count = 0
    for block in gallery.blocks():
        held.append((block.frames, block.vectors))
        count += len(block.vectors)
        if count >= MOMENTS_A_COMMIT or first + count == gallery.moments:
            frames, vectors = (np.concatenate(parts) for parts in zip(*held, strict=True))
            yield records(first, count), table(first, frames, vectors)
            held.clear()
            first, count = first + count, 0


def records(first: int, moments: int) -> list[VideoRecord]:
    """The videos of moments ``first`` and on; the gallery's last video may have fewer than the others."""
    return [
        VideoRecord(
            video_id=f"{number:032x}",
            uri=f"/growth/{number // 1000:04d}/{number:07d}.mp4",
            content_hash=f"{number:032x}",
            mtime_ns=1_700_000_000_000_000_000 + number,
            size_bytes=10_000_000,
            duration_s=MOMENT_S * MOMENTS_A_VIDEO,
            fps=25.0,
            width=1280,
            height=720,
            codec="h264",
            rotation=0,
            added_at="2026-01-01T00:00:00Z",
        )
        for number in range(first // MOMENTS_A_VIDEO, -(-(first + moments) // MOMENTS_A_VIDEO))
    ]


def table(first: int, frames: NDArray[np.float16], vectors: Floats) -> pa.Table:
    """Rows of ``moments``."""
    count, _, dim = frames.shape
    rows = np.arange(first, first + count)
    video, place = rows // MOMENTS_A_VIDEO, rows % MOMENTS_A_VIDEO
    start = place * MOMENT_S
    times = start[:, None] + (np.arange(FRAMES) + 0.5) * MOMENT_S / FRAMES
    ids = [f"{number:032x}" for number in video]
    columns: dict[str, Any] = {
        "moment_id": [f"{own}:{number}" for own, number in zip(ids, place, strict=True)],
        "video_id": ids,
        "start_s": start,
        "end_s": start + MOMENT_S,
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), dim),
        "frames": _lists(frames.reshape(count, -1)),
        "frame_times_s": _lists(times),
        "video": pa.nulls(count, pa.list_(pa.float16(), dim)),
        "text": pa.nulls(count, pa.string()),
        "fingerprint": [FINGERPRINT] * count,
    }
    return pa.table(columns, schema=moments_schema(dim))


def _lists(rows: NDArray[Any]) -> pa.ListArray:
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows.reshape(-1)))


class PlantedModel(RetrievalModel):
    """A model that spends the time of its text tower and answers with embeddings that are known.

    Args:
        model: whose encoder is asked.
        embeddings: of every text that will be asked, ``[dim]``.
        head: the matcher; default: X-Pool as it is before training, the identity, which costs what a trained one does.
    """

    def __init__(
        self, model: RetrievalModel, embeddings: Mapping[str, Tensor], *, head: XPool | None = None
    ) -> None:
        dim = len(next(iter(embeddings.values())))
        super().__init__(
            model.encoder, model.temporal, head or XPool(XPoolConfig(dim=dim)).eval(), name="growth"
        )
        self._embeddings = dict(embeddings)
        self._dim = dim

    @property
    def dim(self) -> int:
        """Width of what is answered."""
        return self._dim

    def encode_text(self, texts: Sequence[str], *, words: bool = False) -> TextFeatures:
        super().encode_text(texts, words=words)
        return TextFeatures(sentence=torch.stack([self._embeddings[text] for text in texts]))

    def fingerprint(self) -> str:
        """That of the sampled features, which are not the encoder's."""
        return FINGERPRINT


def captions(gallery: GrowthGallery) -> dict[str, Tensor]:
    """The captions of the planted videos with their embeddings; of two that read alike, the first one's."""
    texts = standard(len(gallery.texts)).texts
    found: dict[str, Tensor] = {}
    for text, embedding in zip(texts, gallery.texts, strict=True):
        found.setdefault(text, torch.from_numpy(embedding))
    return found


def text_tower(folder: Path) -> Path:
    """A CLIP checkpoint whose text tower has ViT-B/32's size, with random weights; its image tower is a dwarf.

    Its tokenizer is Storyboard's, which makes a token of a word, as CLIP's own does of common words.
    """
    from transformers import CLIPConfig, CLIPModel

    target = folder / "text-tower"
    if (target / "config.json").exists():
        return target
    source = find("storyboard-clip") / "encoder"
    shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors"))
    held = json.loads((source / "config.json").read_text())
    small = held["text_config"]
    text = {key: small[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id", "vocab_size")}
    vision = {**held["vision_config"], "num_hidden_layers": 1, "projection_dim": 512}
    torch.manual_seed(0)
    # what is left out are the defaults of transformers: 12 layers of 512, 8 heads, 77 tokens (CLIP ViT-B/32)
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=512)).save_pretrained(target)
    return target


def load_tower(folder: Path, **options: Any) -> RetrievalModel:
    """The model of :func:`text_tower`."""
    return fs.load(text_tower(folder), device="cpu", matcher="mean_pool", **options)
