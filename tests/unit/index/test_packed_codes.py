"""Packed codes: mapped as they lie, right whatever was added, deleted or damaged since, made again when it is time."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from chaos.cache_storm import DIM, META, put
from framesift.candidates import CandidateConfig, FaissCandidates
from framesift.errors import IndexCacheWarning
from framesift.features import TextFeatures
from framesift.index.cache import CacheFolder, CacheReport, CacheSettings, refresh
from framesift.index.cache import packed as packed_module
from framesift.index.gallery import LanceGallery
from framesift.index.store import Store

BY_MEAN = CandidateConfig(kind="faiss", by="mean", rescored=60)
DEPTH = 10


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / "an.index", META)
    for first in (0, 40, 80):
        add_videos(store, first, 40)
    refreshed(store)
    return store


def add_videos(store: Store, first: int, count: int) -> None:
    put(store, [f"video{number:03d}" for number in range(first, first + count)], 0, known=set())


def refreshed(store: Store, *, thorough: bool = False) -> CacheReport:
    cache = CacheFolder(store.cache_folder, DIM)
    cache.write_settings(CacheSettings(codes=True, scenes=True))
    report = refresh(cache, store.moments().get_fragments(), thorough=thorough)
    assert report.problem is None
    return report


def texts() -> TextFeatures:
    return TextFeatures(sentence=torch.randn(6, DIM, generator=torch.Generator().manual_seed(1)))


def found(gallery: LanceGallery) -> list[list[int]]:
    return gallery.candidates(texts(), DEPTH).tolist()


def exactly(store: Store) -> list[list[int]]:
    return found(LanceGallery(store, META, config=CandidateConfig(kind="exact", by="mean")))


def engine(gallery: LanceGallery) -> FaissCandidates:
    made = gallery.engine
    assert isinstance(made, FaissCandidates)
    return made


def packed_file(store: Store) -> Path:
    """That of moments' means."""
    book = CacheFolder(store.cache_folder, DIM).codebook("mean")
    assert book is not None
    (path,) = store.cache_folder.glob(f"packed-{book.quantizer.digest}-*.bin")
    return path


def test_an_engine_scans_what_is_packed_and_reads_no_codes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("codes of a segment were read")

    monkeypatch.setattr(CacheFolder, "codes_of", refuse)
    for by in ("mean", "scene"):
        config = CandidateConfig(kind="faiss", by=by, rescored=60)  # type: ignore[arg-type]
        gallery = LanceGallery(store, META, config=config)
        exact = LanceGallery(store, META, config=CandidateConfig(kind="exact", by=by))  # type: ignore[arg-type]
        assert found(gallery) == found(exact)
    own = engine(LanceGallery(store, META, config=BY_MEAN))
    assert own._packed is not None
    assert own._packed.rows is None  # all there is, in order
    assert len(own._files) == 1


def test_what_was_added_and_deleted_since_is_seen(store: Store) -> None:
    held = LanceGallery(store, META, config=BY_MEAN)
    best = held.candidates(texts(), 1)[:, 0].tolist()
    gone = {held.moment(row).video_id for row in best}
    store.remove(sorted(gone))
    add_videos(store, 200, 2)
    now = held.refreshed()
    assert found(now) == exactly(store)
    assert engine(now)._packed is not None
    assert refreshed(store).packed == 0  # so few that they may stay beside
    now = LanceGallery(store, META, config=BY_MEAN)
    assert found(now) == exactly(store)
    assert len(engine(now)._files) == 2
    assert not engine(now)._fresh.size


def test_under_a_filter_numbers_are_rows(store: Store) -> None:
    store.remove(["video003", "video050"])
    add_videos(store, 200, 2)
    refreshed(store)
    gallery = LanceGallery(store, META, config=BY_MEAN)
    exact = LanceGallery(store, META, config=CandidateConfig(kind="exact", by="mean"))
    for seed in range(5):
        allowed = np.random.default_rng(seed).random(len(gallery)) < 0.7
        ours, theirs = (one.candidates(texts(), DEPTH, allowed=allowed) for one in (gallery, exact))
        assert torch.equal(ours, theirs)


def test_they_are_packed_again_when_much_has_changed(store: Store) -> None:
    before = packed_file(store)
    assert refreshed(store).packed == 0
    add_videos(store, 200, 40)
    assert refreshed(store).packed == 2
    assert packed_file(store) != before
    assert not before.exists()
    store.compact(least_fragments=2)
    assert refreshed(store).packed == 2
    assert found(LanceGallery(store, META, config=BY_MEAN)) == exactly(store)


def test_codes_made_anew_are_not_taken_for_those_packed(store: Store) -> None:
    """The same segment, other codes: the packed ones count no more."""
    cache = CacheFolder(store.cache_folder, DIM)
    book = cache.codebook("mean")
    assert book is not None
    head = sorted(cache.segments.glob(f"*/codes-{book.quantizer.digest}.json"))[0]
    packed = cache.packed(book)
    assert packed is not None
    packed_module.write_packed(
        cache.path,
        book.quantizer,
        [
            (
                (name, crc32 ^ (name == head.parent.name)),
                np.zeros((end - start, book.quantizer.code_bytes), np.uint8),
            )
            for (name, crc32), (start, end) in packed.sources.items()
            if name == head.parent.name
        ],
    )
    assert found(LanceGallery(store, META, config=BY_MEAN)) == exactly(store)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_flipped_bit_anywhere_is_noticed(store: Store, in_place: bool) -> None:
    expected = exactly(store)
    cache = CacheFolder(store.cache_folder, DIM)
    fragments = store.moments().get_fragments()
    chance = np.random.default_rng(0)
    for share in (0.0, *chance.random(10).tolist(), 1.0):
        path = packed_file(store)
        held = LanceGallery(store, META, config=BY_MEAN)
        assert held.engine is not None  # opened before the damage, and not read yet
        content = bytearray(path.read_bytes())
        content[min(int(share * len(content)), len(content) - 1)] ^= 1 << int(chance.integers(8))
        if not in_place:
            path.unlink()
        with path.open("r+b" if in_place else "wb") as file:
            file.write(content)
        assert cache.problems(fragments)
        fresh = LanceGallery(store, META, config=BY_MEAN)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            assert found(fresh) == expected
            assert found(held) == expected
            refreshed(store, thorough=True)
        assert any("packed" in str(one.message) for one in told)
        assert not cache.problems(fragments)
        assert engine(LanceGallery(store, META, config=BY_MEAN))._packed is not None


@pytest.mark.parametrize("ruin", ["truncate", "empty", "delete", "foreign", "directory"])
def test_files_that_are_not_what_they_should_be(store: Store, ruin: str) -> None:
    expected = exactly(store)
    path = packed_file(store)
    content = path.read_bytes()
    path.unlink()
    match ruin:
        case "truncate":
            path.write_bytes(content[:-1])
        case "empty":
            path.write_bytes(b"")
        case "foreign":
            path.write_bytes(b"\x89PNG" * (len(content) // 4))
        case "directory":
            path.mkdir()
        case _:
            pass
    with pytest.warns(IndexCacheWarning, match="packed codes are damaged"):
        assert found(LanceGallery(store, META, config=BY_MEAN)) == expected
    if ruin == "directory":
        path.rmdir()
    assert refreshed(store).packed == 1
    assert found(LanceGallery(store, META, config=BY_MEAN)) == expected


def test_with_codes_damaged_as_well_they_are_made_again(store: Store) -> None:
    """Both copies of the codes are gone while a gallery is open: they are computed from what they stand for."""
    expected = exactly(store)
    gallery = LanceGallery(store, META, config=BY_MEAN)
    assert gallery.engine is not None
    for path in (packed_file(store), *store.cache_folder.glob("segments/*/codes-*.u8")):
        with path.open("r+b") as file:
            file.write(b"\xff" * 64)
    with pytest.warns(IndexCacheWarning):
        assert found(gallery) == expected


def test_nothing_stays_of_codebooks_that_are_not_in_use(store: Store) -> None:
    cache = CacheFolder(store.cache_folder, DIM)
    assert len(list(cache.path.glob("packed-*"))) == 4
    cache.write_settings(CacheSettings(codes=False))
    assert refresh(cache, store.moments().get_fragments()).problem is None
    assert list(cache.path.glob("packed-*")) == []


def test_scenes_of_another_rule_and_their_codes_are_made_anew(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refreshed(store).scenes == 0
    module = sys.modules["framesift.index.cache.scenes"]
    monkeypatch.setattr(module, "RULE_VERSION", 2)
    real = module.scenes_of

    def reversed_scenes(*given: object, **named: object) -> tuple[np.ndarray, np.ndarray]:
        vectors, owner = real(*given, **named)
        return -vectors, owner  # as many as before

    monkeypatch.setattr(module, "scenes_of", reversed_scenes)
    config = CandidateConfig(kind="faiss", by="scene", rescored=60)
    exact = CandidateConfig(kind="exact", by="scene")
    for _ in range(2):  # computed, then kept
        ours, theirs = (found(LanceGallery(store, META, config=one)) for one in (config, exact))
        assert ours == theirs
        report = refreshed(store)
    assert report.scenes == report.coded == 0
    cache = CacheFolder(store.cache_folder, DIM)
    book = cache.codebook("scene")
    assert book is not None
    for fragment in store.moments().get_fragments():
        segment = cache.segment_of(fragment)
        assert segment is not None
        own, scenes = cache.codes_of(segment, "scene", book), cache.scenes_of(segment)
        assert scenes is not None
        assert (own == book.quantizer.encode(scenes.vectors.astype(np.float32))).all()
