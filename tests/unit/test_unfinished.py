from __future__ import annotations

import os
from pathlib import Path

import pytest

from framesift.errors import InputError
from framesift.unfinished import unfinished


def write_too_late(target: Path) -> None:
    """Someone else takes the name while we write."""
    with unfinished(target) as draft:
        draft.write_text("ours")
        target.write_text("theirs")


def test_the_file_comes_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with unfinished(target) as draft:
        draft.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_nothing_is_left_of_a_failure(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail() -> None:
        with unfinished(target, overwrite=True) as draft:
            draft.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_nothing_is_overwritten_unless_asked(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(InputError, match="exists already"), unfinished(target):
        pytest.fail("the block must not run")
    with unfinished(target, overwrite=True) as draft:
        draft.write_text("new")
    assert target.read_text() == "new"


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with pytest.raises(InputError, match="exists already"):
        write_too_late(target)
    assert target.read_text() == "theirs"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    target = tmp_path / "a.txt"
    with unfinished(target) as draft:
        draft.write_text("whole")
    assert target.read_text() == "whole"
    with pytest.raises(InputError, match="exists already"):
        write_too_late(tmp_path / "b.txt")
    assert (tmp_path / "b.txt").read_text() == "theirs"


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    for target, why in ((tmp_path, "is a directory"), (tmp_path / "no" / "a", "does not exist")):
        with pytest.raises(InputError, match=why), unfinished(target):
            pytest.fail("the block must not run")
    with pytest.raises(InputError, match="No space left"), unfinished(tmp_path / "a"):
        raise OSError(28, "No space left on device")
