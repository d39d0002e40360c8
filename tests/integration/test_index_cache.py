"""An index keeps its cache by itself, and searches find the same with it, without it and beside its damage."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from colour_model import COLOURS, ColourModel, write_clip
from framesift.candidates import CandidateConfig
from framesift.cli.main import app
from framesift.errors import ConfigError, IndexCacheWarning, InputError
from framesift.index import BuildConfig, Index
from framesift.index.cache import keeping
from framesift.search.searcher import Searcher

ONE = BuildConfig(workers=1, commit_videos=3)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    names = list(COLOURS)
    for number in range(18):
        write_clip(folder / f"clip{number:02d}.mp4", [names[number % 6], names[(number // 6 + number) % 6]])
    return folder


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small indexes have a cache, too."""
    monkeypatch.setattr(keeping, "CACHED_FROM", 1)


def answers(index: Index) -> list[object]:
    searcher = Searcher(index)
    return [
        [hit.to_dict() for hit in index.search("red", k=20, depth=7)],
        [hit.to_dict() for hit in index.search("blue", k=20)],
        *(
            [result.hit.to_dict() for result in searcher.search(query, k=9, depth=5).results]
            for query in ("red", "green -red", "red then blue", "red name:clip0*")
        ),
    ]


@pytest.mark.usefixtures("always")
def test_every_change_is_in_the_cache(tmp_path: Path, clips: Path) -> None:
    videos = shutil.copytree(clips, tmp_path / "videos")
    with Index.create(tmp_path / "i", model=ColourModel(), moments="whole") as index:
        index.add(videos, config=ONE)
        for change in (
            lambda: index.remove(videos / "clip03.mp4"),
            lambda: index.tag(videos / "clip04.mp4", add=["dark"]),
            lambda: index.compact(),
            lambda: write_clip(videos / "new.mp4", ["cyan"]) or index.add(videos / "new.mp4", config=ONE),
        ):
            change()
            cache = index.info().cache
            assert cache is not None
            assert (cache.segments, cache.uncached) == (cache.parts, 0)
            with_cache = answers(index)
            (tmp_path / "i" / "cache").rename(tmp_path / "aside")
            with Index.open(tmp_path / "i", model=ColourModel()) as other:
                assert answers(other) == with_cache
                assert other.info().cache is None
            (tmp_path / "aside").rename(tmp_path / "i" / "cache")
        assert index.verify().problems == []


def test_a_small_index_has_none(tmp_path: Path, clips: Path) -> None:
    with Index.create(tmp_path / "i", model=ColourModel(), moments="whole") as index:
        index.add(clips, config=ONE)
        assert not (tmp_path / "i" / "cache").exists()
        report = index.refresh_cache()  # but can have one
        assert report.built >= 1
        assert index.gallery()._rows.parts[0].segment is not None


@pytest.mark.parametrize("by", ["mean", "scene", "frame"])
def test_engines_find_the_same(tmp_path: Path, clips: Path, by: str) -> None:
    with Index.create(tmp_path / "i", model=ColourModel(), moments="whole") as index:
        index.add(clips, config=ONE)
        index.refresh_cache(codes=True, frame_codes=True)
    found = []
    for kind in ("exact", "faiss"):
        config = CandidateConfig(kind=kind, by=by)  # type: ignore[arg-type]
        with Index.open(tmp_path / "i", model=ColourModel(), candidates=config) as opened:
            assert opened.gallery().engine.name == (kind if by == "mean" else "frame")
            found.append(answers(opened))
    assert found[0] == found[1]


@pytest.mark.parametrize("found_by", ["mean", "scene"])
def test_the_matcher_decides_what_moments_are_found_by(
    tmp_path: Path, clips: Path, found_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ColourModel()
    monkeypatch.setattr(type(model.matcher), "found_by", found_by)
    with Index.create(tmp_path / "i", model=model, moments="whole") as index:
        index.add(clips, config=ONE)
        assert index.gallery()._engine is None
        found = answers(index)
    config = CandidateConfig(by=found_by)  # type: ignore[arg-type]
    with Index.open(tmp_path / "i", model=model, candidates=config) as opened:
        assert answers(opened) == found
        assert opened.gallery().engine.name == ("exact" if found_by == "mean" else "frame")


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("found_by", ["mean", "scene"])
def test_scenes_are_kept_for_a_model_that_finds_moments_by_them(
    tmp_path: Path, clips: Path, found_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ColourModel()
    monkeypatch.setattr(type(model.matcher), "found_by", found_by)

    def scenes(index: Index) -> int:
        cache = index.info().cache
        assert cache is not None
        assert cache.uncached == 0
        return cache.scenes

    with Index.create(tmp_path / "i", model=model, moments="whole") as index:
        index.add(clips, config=ONE)
        assert scenes(index) == (0 if found_by == "mean" else 18)
    with Index.open(tmp_path / "i") as index:  # no model is loaded to know it
        index.refresh_cache()
        assert scenes(index) == (0 if found_by == "mean" else 18)
        index.refresh_cache(scenes=True)  # for a model with another matcher
        index.refresh_cache(codes=True)
        assert scenes(index) == 18


@pytest.mark.usefixtures("always")
def test_a_build_does_not_fail_for_its_cache(tmp_path: Path, clips: Path) -> None:
    with Index.create(tmp_path / "i", model=ColourModel(), moments="whole") as index:
        (tmp_path / "i" / "cache").write_text("in the way")
        with pytest.warns(IndexCacheWarning, match="not brought up to date"):
            report = index.add(clips, config=ONE)
        assert report.added == 18
        assert len(index.search("red", k=20)) == 18


def test_the_command_line_shows_and_mends_it(tmp_path: Path, clips: Path) -> None:
    path = tmp_path / "i"
    with Index.create(path, model=ColourModel(), moments="whole") as index:
        index.add(clips, config=ONE)

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, [*arguments, "-i", str(path)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    run("index", "--refresh-cache", "--codes", "--frame-candidates")
    told = json.loads(run("info", "--json"))["cache"]
    assert (told["codes"], told["frame_codes"], told["uncached"]) == (18, 18, 0)
    assert (told["scenes"], told["scene_codes"]) == (18, 18)
    assert "codes of 18 moments, scenes of 18 moments, codes of the scenes of 18" in run("info")
    run("index", "--refresh-cache", "--no-scenes")
    told = json.loads(run("info", "--json"))["cache"]
    assert (told["codes"], told["scenes"], told["scene_codes"]) == (18, 0, 0)
    file = next((path / "cache" / "segments").glob("*/frames.f16"))
    content = bytearray(file.read_bytes())
    content[3] ^= 4
    file.unlink()
    file.write_bytes(content)
    with Index.open(path, model=ColourModel()) as index:
        assert "framesift index --refresh-cache" in "".join(index.verify().problems)
        with pytest.warns(IndexCacheWarning, match="damaged"):
            index.refresh_cache()
        assert index.verify().ok


def test_what_cannot_be_asked_for(tmp_path: Path, clips: Path) -> None:
    with Index.create(tmp_path / "i", model=ColourModel(), moments="whole") as index:
        index.add(clips, config=ONE)
    with pytest.raises(ConfigError, match="hnsw"):
        CandidateConfig(kind="hnsw")  # type: ignore[arg-type]
    with (
        Index.open(tmp_path / "i", model=ColourModel(), candidates=CandidateConfig(kind="faiss")) as index,
        pytest.raises(InputError, match="--refresh-cache --codes"),
    ):
        index.search("red", depth=3)
    result = CliRunner().invoke(app, ["index", "--codes", "-i", str(tmp_path / "i")])
    assert isinstance(result.exception, InputError)
