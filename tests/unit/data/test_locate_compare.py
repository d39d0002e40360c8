"""Files of videos, results that may not be compared, splits that overlap."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from framesift.data import Caption, Split, locate, overlap, require_same
from framesift.errors import DatasetError


def split(*videos: str, name: str = "test", texts: tuple[str, ...] | None = None) -> Split:
    texts = texts or tuple(f"text of {video}" for video in videos)
    return Split(
        benchmark="mine",
        split=name,
        protocol="one-caption",
        videos=videos,
        captions=tuple(Caption(text=t, video=v) for t, v in zip(texts, videos, strict=True)),
    )


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


CLIP = "0001_American_Beauty_00.00.51.926-00.00.54.129"


def test_files_are_found_by_their_stem_wherever_they_lie(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "videos/-a_1_2.AVI",
        "video7.webm",
        "video7.json",
        f"lsmdc/0001_American_Beauty/{CLIP}.avi",
        "deep/er/QOlSCBRmfWY.mkv",
        "1@N_a.",
        "video70.mp4",
    )
    found = locate(split("-a_1_2", "video7", CLIP, "v_QOlSCBRmfWY", "1@N_a", "gone", "video"), tmp_path)
    assert {video: str(path.relative_to(tmp_path)) for video, path in found.paths.items()} == {
        "-a_1_2": "videos/-a_1_2.AVI",
        "video7": "video7.webm",
        CLIP: f"lsmdc/0001_American_Beauty/{CLIP}.avi",
        "v_QOlSCBRmfWY": "deep/er/QOlSCBRmfWY.mkv",
        "1@N_a": "1@N_a.",
    }
    assert found.missing == ("gone", "video")
    assert found.notes() == ("2 of 7 videos have no file: 'gone', 'video'",)


def test_of_two_files_one_is_taken_and_both_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "a.webm", "old/a.mp4", "a.mp4", "b.mp4", "videos/b.webm")
    found = locate([split("a"), split("b", name="train")], tmp_path)
    assert found.paths == {"a": tmp_path / "a.mp4", "b": tmp_path / "videos" / "b.webm"}
    assert found.doubles["a"] == tuple(tmp_path / name for name in ("a.mp4", "old/a.mp4", "a.webm"))
    assert "2 videos have several files" in found.notes()[0]


def test_links_that_go_round_in_circles_end(tmp_path: Path) -> None:
    touch(tmp_path, "real/a.mp4")
    (tmp_path / "real" / "again").symlink_to(tmp_path)
    found = locate(split("a"), tmp_path)
    assert found.paths == {"a": tmp_path / "real" / "a.mp4"}
    assert not found.doubles


def test_a_folder_is_walked_once_and_no_name_is_tried(tmp_path: Path, monkeypatch) -> None:
    ids = [f"video{n}" for n in range(200)]
    touch(tmp_path, *(f"{one}.mp4" for one in ids))
    walks: list[object] = []
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda *a, **k: walks.append(a) or walk(*a, **k))
    monkeypatch.setattr(Path, "exists", lambda self: pytest.fail("a name was tried"))
    monkeypatch.setattr(Path, "is_file", lambda self: pytest.fail("a name was tried"))
    assert not locate(split(*ids), tmp_path).missing
    assert len(walks) == 1


def test_a_root_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not a folder"):
        locate(split("a"), tmp_path / "nowhere")


def test_the_same_data_may_be_compared_whatever_it_is_called() -> None:
    one = split("a", "b")
    require_same(one, replace(one, benchmark="other", notes=("x",)))
    require_same(one.to_dict(), one)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (split("a", "c"), "differ first at video 1: 'b' and 'c'"),
        (split("a", "b", "c"), "videos 2 and 3;.*differ first at video 2: nothing and 'c'"),
        (split("a", "b", texts=("text of a", "new")), r"at caption 1: 'text of b \(b\)' and 'new \(b\)'"),
        (replace(split("a", "b"), protocol="paragraph"), "protocol 'one-caption' and 'paragraph'"),
        (split("a", "b", "c").to_dict(), "videos 2 and 3"),
        ({"benchmark": "mine"}, "does not say which data it is of"),
    ],
)
def test_results_of_different_data_are_not_compared(other, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        require_same(split("a", "b"), other)


def test_overlap_names_the_videos() -> None:
    train = split("a", "b", "c", "d", name="train", texts=("A  man", "x", "y", "z"))
    shared = overlap(train, split("d", "e", "b", texts=("z", "a man", "new")))
    assert shared.videos == ("d", "b")
    assert shared.captions == 2
    assert str(shared) == "2 videos of mine test are also in mine train: 'd', 'b'"
    apart = overlap(train, split("e"))
    assert not apart
    assert str(apart) == "no video of mine test is in mine train"
