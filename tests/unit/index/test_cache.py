"""The hot path's cache: what is read through it is what the table holds, whatever happens to its files."""

from __future__ import annotations

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from framesift.candidates import CandidateConfig, scenes_of
from framesift.errors import IndexCacheWarning, InputError
from framesift.features import TextFeatures, VideoFeatures, unit
from framesift.index.cache import CacheFolder, CacheSettings, refresh
from framesift.index.cache.checks import row_checks
from framesift.index.cache.codes import KINDS
from framesift.index.gallery import LanceGallery
from framesift.index.schema import IndexMeta, VideoRecord, moments_schema
from framesift.index.store import Store

DIM, FRAMES = 6, 4  # neither a multiple of a machine word
META = IndexMeta(fingerprint="0" * 32, dim=DIM, num_frames=FRAMES, moments="shots")


def add(store: Store, first: int, count: int, *, video: bool = False, known: bool = False) -> None:
    """Commit ``count`` videos of three moments each."""
    chance = np.random.default_rng(first + (7919 if known else 0))
    records, rows = [], []
    for number in range(first, first + count):
        name = f"video{number:03d}"
        records.append(
            VideoRecord(
                video_id=name,
                uri=f"/{name}.mp4",
                content_hash=None,
                mtime_ns=number,
                size_bytes=0,
                added_at="2026-01-01T00:00:00+00:00",
                metadata='{"tags": ["odd"]}' if number % 2 else "{}",
            )
        )
        for i in range(3):
            frames = chance.normal(size=(chance.integers(1, FRAMES + 1), DIM)).astype(np.float16)
            mean = unit(unit(torch.from_numpy(frames).float()).mean(dim=0)).numpy()
            rows.append(
                {
                    "moment_id": f"{name}:{i}",
                    "video_id": name,
                    "start_s": float(i),
                    "end_s": float(i + 1),
                    "vector": mean,
                    "frames": frames.flatten(),
                    "frame_times_s": np.sort(chance.uniform(i, i + 1, len(frames))),
                    "video": chance.normal(size=DIM).astype(np.float16) if video else None,
                    "fingerprint": META.fingerprint,
                }
            )
    table = pa.Table.from_pylist(rows, schema=moments_schema(DIM))
    store.commit(records, table, known=[record.video_id for record in records] if known else [])


def refreshed(store: Store, settings: CacheSettings | None = None) -> CacheFolder:
    """The cache of an index, brought up to date."""
    cache = CacheFolder(store.cache_folder, DIM)
    if settings is not None:
        cache.write_settings(settings)
    report = refresh(cache, store.moments().get_fragments())
    assert report.problem is None
    return cache


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / "an.index", META)
    for first in (0, 10, 20):
        add(store, first, 10)
    return store


def everything(gallery: LanceGallery) -> list[object]:
    """All that a gallery tells, as plain values."""
    rows = torch.randperm(len(gallery), generator=torch.Generator().manual_seed(0))
    features, times = gallery.features_and_times(rows)
    return [
        len(gallery),
        [gallery.moment(row) for row in range(len(gallery))],
        gallery.moment_ids(),
        gallery.start_s.tolist(),
        gallery.catalogue.video.tolist(),
        gallery.catalogue.tags,
        gallery.vectors_of(rows).tolist(),
        [block.tolist() for _, block in gallery.vector_blocks()],
        features.frame.tolist(),
        features.frame_mask.tolist(),
        None if features.video is None else features.video.tolist(),
        times,
        gallery.candidates(texts(), 7).tolist(),
    ]


def texts(count: int = 5) -> TextFeatures:
    return TextFeatures(sentence=torch.randn(count, DIM, generator=torch.Generator().manual_seed(1)))


def without_cache(store: Store, config: CandidateConfig | None = None) -> list[object]:
    """What the table alone gives."""
    aside = store.cache_folder.with_name("elsewhere")
    if store.cache_folder.exists():
        store.cache_folder.rename(aside)
    try:
        return everything(LanceGallery(store, META, config=config))
    finally:
        if aside.exists():
            aside.rename(store.cache_folder)


def is_read_from_cache(gallery: LanceGallery) -> bool:
    return all(part.segment is not None for part in gallery._rows.parts)


@pytest.mark.parametrize("video", [False, True])
def test_the_cache_holds_what_the_table_holds(tmp_path: Path, video: bool) -> None:
    store = Store.create(tmp_path / "an.index", META)
    add(store, 0, 10, video=video)
    add(store, 10, 3, video=video)
    refreshed(store)
    gallery = LanceGallery(store, META)
    assert is_read_from_cache(gallery)
    assert everything(gallery) == without_cache(store)


def test_deleted_and_replaced_rows_are_passed_over(store: Store) -> None:
    refreshed(store)
    before = LanceGallery(store, META)
    store.remove(["video003", "video014", "video015"])
    add(store, 4, 2, known=True)
    stale = before.refreshed()  # without a refresh: new rows from the table, the others from old segments
    assert everything(stale) == without_cache(store)
    assert not is_read_from_cache(stale)
    refreshed(store)
    assert everything(LanceGallery(store, META)) == without_cache(store)
    assert is_read_from_cache(LanceGallery(store, META))


def test_an_earlier_version_does_not_miss_rows_that_a_later_segment_lacks(store: Store) -> None:
    expected = without_cache(store)
    early = LanceGallery(store, META)
    store.remove(["video003"])
    refreshed(store)  # builds the first segment without the rows of that video
    again = LanceGallery.__new__(LanceGallery)
    again.__dict__.update(early.__dict__)
    rows = early._rows
    again._rows = type(rows)(rows._index, rows._dataset, rows.cache, DIM)
    assert [part.segment is None for part in again._rows.parts] == [True, False, False]
    assert everything(early) == expected


def test_moments_without_a_video_are_not_part_of_it(store: Store) -> None:
    refreshed(store)
    store._snapshot("videos").delete("video_id IN ('video002', 'video029')")  # as a killed removal leaves it
    gallery = LanceGallery(store, META)
    assert len(gallery) == 84
    assert is_read_from_cache(gallery)
    assert everything(gallery) == without_cache(store)
    assert gallery.rows_of("/video003.mp4") == [6, 7, 8]
    assert gallery.rows_of("/video002.mp4") == []


def test_a_video_is_found_by_its_id_wherever_that_stands(store: Store) -> None:
    store.remove(["video000", "video029", "video011"])
    add(store, 0, 1)  # its row comes last now
    gallery = LanceGallery(store, META)
    for number, name in enumerate(gallery.catalogue.video_ids):
        assert gallery.rows_of_id(name).tolist() == np.flatnonzero(gallery.video == number).tolist()
        assert len(gallery.rows_of_id(name)) == 3
    for absent in ("video029", "video011", "", "a", "video01", "video0000"):
        assert gallery.rows_of_id(absent).tolist() == []
    assert gallery.refreshed() is gallery
    add(store, 29, 1)
    assert len(gallery.refreshed().rows_of_id("video029")) == 3


def test_a_refresh_builds_what_is_new_and_drops_what_is_gone(store: Store) -> None:
    cache = CacheFolder(store.cache_folder, DIM)
    first = refresh(cache, store.moments().get_fragments())
    assert (first.built, first.kept, first.dropped) == (3, 0, 0)
    assert refresh(cache, store.moments().get_fragments()).built == 0
    add(store, 30, 1)
    second = refresh(cache, store.moments().get_fragments())
    assert (second.built, second.kept, second.dropped) == (1, 3, 0)
    held = LanceGallery(store, META)
    expected = everything(held)
    store.compact(least_fragments=2)
    third = refresh(cache, store.moments().get_fragments())
    assert (third.built, third.kept, third.dropped) == (1, 0, 4)
    assert everything(held) == expected  # its maps outlive the files


def test_rubbish_is_cleared_away(store: Store) -> None:
    cache = refreshed(store)
    for name in (".draft-left", ".damaged-x-1-0", "0" * 32):
        (cache.segments / name).mkdir()
        (cache.segments / name / "vectors.f32").write_bytes(b"x")
    (cache.path / ".settings.json.draft").write_bytes(b"x")
    refreshed(store)
    assert len(list(cache.segments.iterdir())) == 3
    assert [path.name for path in cache.path.iterdir()] == ["segments"]


def flip(path: Path, place: int, bit: int = 3) -> None:
    """One bit of a file, in a new file: one that is mapped must not change."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.unlink()
    path.write_bytes(content)


FILES = ["segment.json", "rows.arrow", "ids.arrow", "vectors.f32", "frames.f16", "times.f64", "video.f16"]


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_anywhere_is_noticed(tmp_path: Path, name: str) -> None:
    store = Store.create(tmp_path / "an.index", META)
    add(store, 0, 6, video=True)
    add(store, 6, 6, video=True)
    cache = refreshed(store, CacheSettings(codes=True))
    expected = without_cache(store)
    (path, *_) = sorted(cache.segments.glob(f"*/{name}"))
    chance = np.random.default_rng(0)
    for place in {0, path.stat().st_size - 1, *chance.integers(0, path.stat().st_size, 12).tolist()}:
        flip(path, place, int(chance.integers(8)))
        assert cache.problems(store.moments().get_fragments())
        with pytest.warns(IndexCacheWarning, match="the same results"):
            assert everything(LanceGallery(store, META)) == expected
        assert not path.exists()  # moved out of the way
        refreshed(store)
        assert not cache.problems(store.moments().get_fragments())
        assert is_read_from_cache(LanceGallery(store, META))


@pytest.mark.parametrize("ruin", ["truncate", "empty", "delete", "foreign", "older", "directory"])
@pytest.mark.parametrize("name", FILES[:-1])
def test_files_that_are_not_what_they_should_be(store: Store, name: str, ruin: str) -> None:
    cache = refreshed(store)
    expected = without_cache(store)
    path = sorted(cache.segments.glob(f"*/{name}"))[1]
    content = path.read_bytes()
    path.unlink()
    match ruin:
        case "truncate":
            path.write_bytes(content[:-1])
        case "empty":
            path.write_bytes(b"")
        case "foreign":
            path.write_bytes(b"\x89PNG" * (len(content) // 4 + 1))
        case "older":
            path.write_bytes(content.replace(b'"format": 1', b'"format": 0') + b" ")
        case "directory":
            path.mkdir()
        case _:
            pass
    with pytest.warns(IndexCacheWarning):
        assert everything(LanceGallery(store, META)) == expected
    refreshed(store)
    assert is_read_from_cache(LanceGallery(store, META))


def test_damage_is_told_once(store: Store, recwarn: pytest.WarningsRecorder) -> None:
    cache = refreshed(store)
    for path in cache.segments.glob("*/frames.f16"):
        flip(path, 5)
    gallery = LanceGallery(store, META)
    for _ in range(3):
        everything(gallery)
        gallery = gallery.refreshed()
    told = [str(warning.message) for warning in recwarn]
    assert len(told) == 1  # three parts, all for the same reason


def test_a_cache_that_cannot_be_changed_is_read_past(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = refreshed(store)
    expected = without_cache(store)
    flip(sorted(cache.segments.glob("*/vectors.f32"))[0], 9)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.warns(IndexCacheWarning, match="damaged"):
        assert everything(LanceGallery(store, META)) == expected
    monkeypatch.undo()
    assert len(cache.names()) == 3


@pytest.mark.parametrize("by", KINDS)
def test_codes_are_used_kept_and_trained_again(store: Store, by: str) -> None:
    settings = CacheSettings(codes=True, frame_codes=True)
    cache = refreshed(store, settings)
    config = CandidateConfig(kind="faiss", by=by)  # type: ignore[arg-type]
    first = cache.codebook(by)  # type: ignore[arg-type]
    gallery = LanceGallery(store, META, config=config)
    exact = LanceGallery(store, META, config=CandidateConfig(kind="exact", by=by))  # type: ignore[arg-type]
    assert torch.equal(gallery.candidates(texts(), 7), exact.candidates(texts(), 7))
    add(store, 30, 2)  # rows without codes are found all the same
    gallery = gallery.refreshed()
    assert torch.equal(gallery.candidates(texts(), 7), exact.refreshed().candidates(texts(), 7))
    report = refresh(cache, store.moments().get_fragments())
    assert (report.trained, report.coded) == (0, 3)
    add(store, 40, 90)
    report = refresh(cache, store.moments().get_fragments())
    assert report.trained == 3
    second = cache.codebook(by)  # type: ignore[arg-type]
    assert first is not None
    assert second is not None
    assert first.quantizer.digest != second.quantizer.digest
    names = {path.name for path in cache.segments.glob("*/codes-*")}
    assert len(names) == 6  # those of the codebooks before are gone
    assert len(list(cache.path.glob("codebook-*"))) == 6


@pytest.mark.parametrize("probes", [None, 1])
def test_codes_of_a_large_gallery_are_in_lists(
    store: Store, monkeypatch: pytest.MonkeyPatch, probes: int | None
) -> None:
    monkeypatch.setattr(sys.modules["framesift.index.cache.refresh"], "lists_for", lambda rows: rows // 18)
    cache = refreshed(store, CacheSettings(codes=True))
    codebook = cache.codebook("mean")
    assert codebook is not None
    assert codebook.quantizer.lists is not None
    assert len(codebook.quantizer.lists) == 5
    add(store, 30, 2)
    config = CandidateConfig(kind="faiss", rescored=8, probes=probes)
    gallery = LanceGallery(store, META, config=config)
    exact = LanceGallery(store, META, config=CandidateConfig(kind="exact"))
    found, best = gallery.candidates(texts(), 2), exact.candidates(texts(), 2)
    assert found.shape == best.shape
    if probes is None:
        assert torch.equal(found, best)


@pytest.mark.parametrize("by", ["mean", "scene"])
@pytest.mark.parametrize(
    "name", ["codebook-BY.json", "codebook-BY-DIGEST.bin", "codes-DIGEST.u8", "codes-DIGEST.json"]
)
def test_damaged_codes_are_noticed_and_made_again(store: Store, name: str, by: str) -> None:
    cache = refreshed(store, CacheSettings(codes=True))
    codebook = cache.codebook(by)  # type: ignore[arg-type]
    assert codebook is not None
    expected = without_cache(store, CandidateConfig(by=by))  # type: ignore[arg-type]
    flip(sorted(cache.path.rglob(name.replace("BY", by).replace("DIGEST", codebook.quantizer.digest)))[0], 40)
    assert cache.problems(store.moments().get_fragments())
    # without its codebook, faiss is refused when it was asked for by name
    config = CandidateConfig(kind="faiss" if name.startswith("codes") else "auto", by=by)  # type: ignore[arg-type]
    with pytest.warns(IndexCacheWarning):
        found = everything_after_refresh(store, config)
    assert found == [expected, expected]
    assert not cache.problems(store.moments().get_fragments())
    assert len(list(cache.segments.glob("*/codes-*.u8"))) == 6


def everything_after_refresh(store: Store, config: CandidateConfig) -> list[object]:
    """What a gallery tells before a refresh, and after it."""
    before = everything(LanceGallery(store, META, config=config))
    refreshed(store)
    return [before, everything(LanceGallery(store, META, config=config))]


def test_codes_that_are_not_there_are_asked_for(store: Store) -> None:
    for by, option in (("mean", "--codes"), ("scene", "--codes"), ("frame", "--frame-candidates")):
        gallery = LanceGallery(store, META, config=CandidateConfig(kind="faiss", by=by))  # type: ignore[arg-type]
        with pytest.raises(InputError, match=option):
            gallery.candidates(texts(), 3)


@pytest.mark.parametrize("by", KINDS)
@pytest.mark.parametrize("cached", [False, True])
def test_candidates_by_mean_by_scene_and_by_frame(store: Store, by: str, cached: bool) -> None:
    if cached:
        refreshed(store)
    gallery = LanceGallery(store, META, config=CandidateConfig(by=by))  # type: ignore[arg-type]
    sentences = unit(texts().sentence)
    features = gallery.features(torch.arange(len(gallery)))
    cosines = torch.einsum("td,vfd->tvf", sentences, unit(features.frame))
    best = cosines.masked_fill(~features.frame_mask, -2).amax(dim=2)
    scores = {
        "mean": sentences @ gallery.vectors_of(torch.arange(len(gallery))).T,
        "scene": by_scene(sentences, features),
        "frame": best,
    }[by]
    allowed = np.arange(len(gallery)) % 3 == 0
    for mask in (None, allowed):
        kept = scores if mask is None else scores.masked_fill(~torch.from_numpy(mask), -2)
        expected = kept.topk(9, dim=1).indices.sort(dim=1).values
        assert torch.equal(gallery.candidates(texts(), 9, allowed=mask), expected)
    assert gallery.candidates(texts(), 1000, allowed=allowed).shape == (5, 30)


def by_scene(sentences: torch.Tensor, features: VideoFeatures) -> torch.Tensor:
    """Cosines with the best scene or pair of every row, one row at a time."""
    columns = []
    for frames, mask in zip(features.frame.numpy(), features.frame_mask.numpy(), strict=True):
        vectors, _ = scenes_of(frames[mask], np.array([mask.sum()]))
        columns.append((sentences @ torch.from_numpy(vectors).half().float().T).amax(dim=1))
    return torch.stack(columns, dim=1)


BY_SCENE = CandidateConfig(by="scene")


def test_scenes_are_made_once_and_followed(store: Store) -> None:
    cache = CacheFolder(store.cache_folder, DIM)
    assert refresh(cache, store.moments().get_fragments()).scenes == 3
    for path in sorted(cache.segments.glob("*/scenes.json"))[:1]:  # as in a cache of an earlier framesift
        path.unlink()
    store.remove(["video014", "video015"])
    add(store, 40, 3)  # a part without a segment
    assert everything(LanceGallery(store, META, config=BY_SCENE)) == without_cache(store, BY_SCENE)
    assert refresh(cache, store.moments().get_fragments()).scenes == 2
    assert refresh(cache, store.moments().get_fragments()).scenes == 0
    assert everything(LanceGallery(store, META, config=BY_SCENE)) == without_cache(store, BY_SCENE)
    cache.write_settings(CacheSettings(scenes=False))
    refresh(cache, store.moments().get_fragments())
    assert not list(cache.segments.glob("*/*scene*"))


def test_the_matcher_says_what_moments_are_found_by(
    store: Store, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    refreshed(store)
    expected = LanceGallery(store, META, config=BY_SCENE).candidates(texts(), 7)
    means = LanceGallery(store, META, config=CandidateConfig(by="mean")).candidates(texts(), 7)
    assert not torch.equal(expected, means)
    asked: list[int] = []
    gallery = LanceGallery(store, META, found_by=lambda: asked.append(1) or "scene")
    assert gallery.candidates(texts(), None).shape == (5, 90)
    assert not asked  # nobody needs a model to look at all rows
    assert torch.equal(gallery.refreshed().candidates(texts(), 7), expected)
    assert asked
    monkeypatch.setattr("framesift.index.engine.COMPUTED_UP_TO", 29)
    assert torch.equal(LanceGallery(store, META, found_by=lambda: "scene").candidates(texts(), 7), expected)
    assert not recwarn.list
    shutil.rmtree(store.cache_folder)
    with pytest.warns(IndexCacheWarning, match="lacks the scenes of 90 moments.*--refresh-cache"):
        assert torch.equal(LanceGallery(store, META, found_by=lambda: "scene").candidates(texts(), 7), means)


@pytest.mark.parametrize("coded", [False, True])
@pytest.mark.parametrize("name", ["scenes.json", "scene-counts.u16", "scene-checks.u64", "scenes.f16"])
def test_damaged_scenes_are_computed_and_made_again(store: Store, name: str, coded: bool) -> None:
    cache = refreshed(store, CacheSettings(codes=coded))
    config = CandidateConfig(by="scene", kind="faiss" if coded else "auto", rescored=4)
    expected = without_cache(store, BY_SCENE)
    chance = np.random.default_rng(0)
    for _ in range(4):
        path = sorted(cache.segments.glob(f"*/{name}"))[chance.integers(3)]
        flip(path, int(chance.integers(path.stat().st_size)), int(chance.integers(8)))
        assert cache.problems(store.moments().get_fragments())
        with pytest.warns(IndexCacheWarning, match="scenes"):
            assert found_and_made_again(store, config) == (expected, 1)
        assert not cache.problems(store.moments().get_fragments())


def found_and_made_again(store: Store, config: CandidateConfig) -> tuple[list[object], int]:
    """What a gallery tells, and how many segments' scenes a refresh that reads all makes then."""
    found = everything(LanceGallery(store, META, config=config))
    cache = CacheFolder(store.cache_folder, DIM)
    return found, refresh(cache, store.moments().get_fragments(), thorough=True).scenes


def test_scenes_that_are_damaged_under_an_open_gallery_are_computed(store: Store) -> None:
    cache = refreshed(store, CacheSettings(codes=True))
    expected = without_cache(store, BY_SCENE)
    gallery = LanceGallery(store, META, config=CandidateConfig(kind="faiss", by="scene", rescored=4))
    _ = gallery.engine
    for path in cache.segments.glob("*/scenes.f16"):
        with path.open("r+b") as file:  # in place: it is mapped
            file.write(bytes(path.stat().st_size))
    with pytest.warns(IndexCacheWarning, match="scenes in the segment"):
        assert everything(gallery) == expected
    assert not list(cache.segments.glob("*/scenes.json"))


def test_a_full_disk_leaves_what_was_there(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = refreshed(store)
    add(store, 30, 5)
    expected = without_cache(store)
    writes = 0

    def full(self: Path, target: Path) -> Path:
        nonlocal writes
        writes += 1
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.warns(IndexCacheWarning, match="No space left on device.*make room"):
        report = refresh(cache, store.moments().get_fragments())
    monkeypatch.undo()
    assert (report.built, report.problem) == (0, "No space left on device")
    assert not list(cache.segments.glob(".*"))
    assert everything(LanceGallery(store, META)) == expected
    refreshed(store)
    assert is_read_from_cache(LanceGallery(store, META))


def test_deleting_all_of_it_is_safe(store: Store) -> None:
    cache = refreshed(store)
    held = LanceGallery(store, META)
    expected = everything(held)
    shutil.rmtree(cache.path)
    assert everything(held) == everything(LanceGallery(store, META)) == expected


@pytest.mark.parametrize(
    ("dtype", "shape"), [(np.float32, (5, 7)), (np.float16, (5, 3, 3)), (np.float64, (5, 2))]
)
def test_checks_notice_what_changes(dtype: type, shape: tuple[int, ...]) -> None:
    chance = np.random.default_rng(0)
    rows = chance.normal(size=shape).astype(dtype)
    whole = row_checks(rows, of=1)
    assert len(set(whole.tolist())) == len(rows)
    assert (row_checks(rows, of=2) != whole).all()
    size = rows[0].nbytes
    for _ in range(100):
        changed = rows.copy()
        own = changed[2].reshape(-1).view(np.uint8)
        for place in chance.choice(size, chance.integers(1, 4), replace=False):
            own[place] ^= np.uint8(0x80)  # the highest bits of several words must not cancel each other
        assert (row_checks(changed, of=1) != whole).tolist() == [False, False, True, False, False]


def test_checks_do_not_depend_on_padding() -> None:
    frames = np.random.default_rng(0).normal(size=(4, 3, 5)).astype(np.float16)
    wider = np.pad(frames, ((0, 0), (0, 2), (0, 0)))
    assert (row_checks(frames, of=1) == row_checks(wider, of=1)).all()


def test_damage_found_by_many_threads_at_once(store: Store) -> None:
    cache = refreshed(store)
    expected = without_cache(store)
    for path in cache.segments.glob("*/frames.f16"):
        flip(path, 11)
    gallery = LanceGallery(store, META)
    with ThreadPoolExecutor(8) as threads, pytest.warns(IndexCacheWarning):
        found = list(threads.map(lambda _: everything(gallery), range(16)))
    assert all(one == expected for one in found)
