"""Which files of a folder are wanted, and what wins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from framesift.errors import InputError
from framesift.index.files import list_files
from framesift.index.patterns import Patterns


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        "a.mp4",
        "b.mkv",
        "raw/c.mp4",
        "raw/deep/d.mp4",
        "ok/raw/e.mp4",
        "ok/keep.mp4",
        ".hidden/f.mp4",
    ):
        path = tmp_path / "library" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "library"


def _listed(
    folder: Path, *more: Path, include: str | list[str] = (), exclude: str | list[str] = ()
) -> list[str]:
    files, failed = list_files([folder, *more], Patterns.of(include, exclude))
    assert failed == []
    return [os.path.relpath(file.uri, folder) for file in files]


def test_include_and_exclude_as_in_gitignore(folder: Path) -> None:
    assert _listed(folder, include="*.mkv") == ["b.mkv"]
    assert _listed(folder, include=["*.mkv", "/ok/"]) == ["b.mkv", "ok/keep.mp4", "ok/raw/e.mp4"]
    assert _listed(folder, exclude="raw/**") == ["a.mp4", "b.mkv", "ok/keep.mp4", "ok/raw/e.mp4"]
    assert _listed(folder, exclude="raw/") == ["a.mp4", "b.mkv", "ok/keep.mp4"]
    assert _listed(folder, include="*.mp4", exclude=["*.mp4", "!keep.mp4"]) == ["ok/keep.mp4"]


def test_named_file_is_taken_and_exclude_wins_over_include(folder: Path) -> None:
    assert _listed(folder, folder / "a.mp4", include="*.mp4", exclude="*.mp4") == ["a.mp4"]


def test_hidden_files_are_never_taken(folder: Path) -> None:
    assert ".hidden/f.mp4" not in _listed(folder, include=["*.mp4", ".hidden/*"])


def test_ignore_files_hold_below_them_and_the_deeper_one_wins(folder: Path) -> None:
    (folder / ".framesiftignore").write_text("# comment\n*.mp4\n!a.mp4\n")
    assert _listed(folder) == ["a.mp4", "b.mkv"]
    (folder / "ok" / ".framesiftignore").write_text("!*.mp4\n/raw\n")
    assert _listed(folder) == ["a.mp4", "b.mkv", "ok/keep.mp4"]
    assert _listed(folder, exclude="keep*") == ["a.mp4", "b.mkv"]
    assert _listed(folder, include="*.mkv") == ["b.mkv"]
    assert _listed(folder / "ok") == ["keep.mp4"]


def test_bad_patterns(folder: Path) -> None:
    with pytest.raises(InputError, match=r"'!' is no pattern"):
        Patterns.of(exclude="!")
    (folder / ".framesiftignore").write_text("!\n")
    files, failed = list_files([folder])
    assert len(files) == 6
    assert [Path(error.path).name for error in failed] == [".framesiftignore"]
    (folder / ".framesiftignore").unlink()
    os.mkfifo(folder / ".framesiftignore")
    assert "not a regular file" in list_files([folder])[1][0].reason
