"""Every gallery is a gallery: the same features, rounded to fp16, give the same results wherever they lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from framesift.features import TextFeatures, VideoFeatures, masked_mean
from framesift.index.gallery import LanceGallery
from framesift.index.schema import IndexMeta, VideoRecord, moments_schema
from framesift.index.store import Store
from framesift.matchers import MATCHERS
from framesift.ranking import Gallery, MemoryGallery, rank
from framesift.similarity import similarity_matrix

VIDEOS, FRAMES, WORDS, DIM = 40, 5, 4, 16
Fill = Callable[[VideoFeatures], Gallery]


def _features() -> VideoFeatures:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, FRAMES + 1, (VIDEOS, 1), generator=generator)
    lengths[0] = FRAMES
    mask = torch.arange(FRAMES) < lengths
    frame = torch.randn(VIDEOS, FRAMES, DIM, generator=generator) * 8 + 1
    return VideoFeatures(frame=(frame * mask[..., None]).half().float(), frame_mask=mask)


def _text(count: int = 6) -> TextFeatures:
    generator = torch.Generator().manual_seed(1)
    sentence = torch.randn(count, DIM, generator=generator)
    word = torch.randn(count, WORDS, DIM, generator=generator)
    return TextFeatures(sentence=sentence, word=word, word_mask=torch.ones(count, WORDS, dtype=torch.bool))


def fill_table(directory: Path, video: VideoFeatures, *, batches: int = 3) -> LanceGallery:
    """Put features into an index's tables in several commits, as a build does."""
    meta = IndexMeta(fingerprint="0" * 32, dim=DIM, num_frames=FRAMES, moments="whole")
    store = Store.create(directory, meta)
    vectors = masked_mean(video.frame, video.frame_mask)
    for rows in torch.arange(len(video)).chunk(batches):
        names = [f"video{row:03d}" for row in rows.tolist()]
        records = [
            VideoRecord(
                video_id=name,
                uri=f"/{name}.mp4",
                content_hash=None,
                mtime_ns=0,
                size_bytes=0,
                added_at="2026-01-01T00:00:00+00:00",
            )
            for name in names
        ]
        moments = [
            {
                "moment_id": f"{name}:0.000",
                "video_id": name,
                "start_s": 0.0,
                "end_s": 1.0,
                "vector": vectors[row].numpy(),
                "frames": video.frame[row][video.frame_mask[row]].half().flatten().numpy(),
                "frame_times_s": [float(f) for f in range(int(video.frame_mask[row].sum()))],
                "fingerprint": meta.fingerprint,
            }
            for name, row in zip(names, rows.tolist(), strict=True)
        ]
        table = pa.Table.from_pylist(moments, schema=moments_schema(DIM))
        store.commit(records, table, known=[])
    return LanceGallery(store, meta)


@pytest.fixture(params=["memory", "lance"])
def fill(request: pytest.FixtureRequest, tmp_path: Path) -> Fill:
    return {"memory": MemoryGallery, "lance": lambda video: fill_table(tmp_path, video)}[request.param]


@pytest.fixture(params=sorted(MATCHERS))
def matcher(request: pytest.FixtureRequest) -> torch.nn.Module:
    torch.manual_seed(0)
    kind = MATCHERS[request.param]
    sizes = {"dim": DIM} if any(field.name == "dim" for field in fields(kind.Config)) else {}
    return kind.from_config(kind.Config(**sizes)).eval()


def test_length_and_features_are_what_was_put_in(fill: Fill) -> None:
    video = _features()
    gallery = fill(video)
    assert len(gallery) == VIDEOS
    rows = torch.tensor([7, 3, 39, 0])
    found = gallery.features(rows)
    assert torch.equal(found.frame_mask, video.frame_mask[rows])
    assert torch.equal(found.frame, video.frame[rows])
    assert found.frame.dtype == torch.float32


@pytest.mark.parametrize("depth", [1, 10, VIDEOS, 10 * VIDEOS, None])
def test_candidates_are_the_best_by_coarse_vector(fill: Fill, depth: int | None) -> None:
    text, video = _text(), _features()
    rows = fill(video).candidates(text, depth)
    coarse = (
        torch.nn.functional.normalize(text.sentence, dim=1) @ masked_mean(video.frame, video.frame_mask).T
    )
    expected = coarse.argsort(dim=1, descending=True)[:, : depth or VIDEOS].sort(dim=1).values
    assert torch.equal(rows, expected)


def test_exhaustive_search_equals_evaluation(fill: Fill, matcher: torch.nn.Module) -> None:
    text, video = _text(), _features()
    ranking = rank(text, fill(video), matcher)
    expected, rows = similarity_matrix(matcher, text, video).sort(dim=1, descending=True, stable=True)
    torch.testing.assert_close(ranking.scores, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(ranking.rows, rows)


def test_kinds_of_gallery_agree_exactly(tmp_path: Path, matcher: torch.nn.Module) -> None:
    text, video = _text(), _features()
    memory, table = MemoryGallery(video), fill_table(tmp_path, video)
    for depth in (None, VIDEOS, 12):
        ours, theirs = rank(text, memory, matcher, depth=depth), rank(text, table, matcher, depth=depth)
        assert torch.equal(ours.rows, theirs.rows)
        assert torch.equal(ours.scores, theirs.scores)


def test_empty_gallery(fill: Fill) -> None:
    gallery = fill(_features()[:0])
    assert len(gallery) == 0
    assert gallery.candidates(_text(), 5).shape == (6, 0)
