"""Listing files and deciding what a build has to do with each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from framesift.errors import InputError
from framesift.index.files import (
    File,
    by_folder,
    content_hash,
    lies_in,
    list_files,
    listed,
    plan,
    vanished,
)
from framesift.index.schema import VideoRecord


def _touch(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _record(file: File) -> VideoRecord:
    return VideoRecord(
        video_id=file.uri,
        uri=file.uri,
        content_hash=content_hash(file.uri),
        mtime_ns=file.mtime_ns,
        size_bytes=file.size_bytes,
        added_at="2026-01-01T00:00:00+00:00",
    )


def test_folders_are_searched_for_videos_and_hidden_files_left_out(tmp_path: Path) -> None:
    wanted = [_touch(tmp_path / name) for name in ("a.mp4", "deep/er/b.MKV", "c.gif")]
    for name in ("notes.txt", ".hidden.mp4", ".cache/d.mp4"):
        _touch(tmp_path / name)
    files, failed = list_files([tmp_path])
    assert [file.uri for file in files] == sorted(str(path) for path in wanted)
    assert failed == []


def test_named_file_may_have_any_extension_and_comes_once(tmp_path: Path) -> None:
    odd = _touch(tmp_path / "clip.dat", b"1234")
    files, _ = list_files([odd, odd, str(odd)])
    assert [(file.uri, file.size_bytes) for file in files] == [(str(odd), 4)]


def test_missing_path_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*none.*No such file"):
        list_files([tmp_path / "none"])


def test_unreadable_folder_given_or_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, shut = _touch(tmp_path / "open/a.mp4"), _touch(tmp_path / "shut/b.mp4").parent
    scandir = os.scandir

    def guarded(path: str) -> Iterator[os.DirEntry[str]]:
        if os.fspath(path) == str(shut):  # permissions do not stop the superuser, who may run this test
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(InputError, match=r"shut'?: Permission denied; nothing was indexed"):
        list_files([shut])
    files, failed = list_files([tmp_path])
    assert [file.uri for file in files] == [str(good)]
    assert [(error.path, error.reason) for error in failed] == [(str(shut), "Permission denied")]


def test_named_pipe_is_reported_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    files, failed = list_files([tmp_path])
    assert files == []
    assert "not a regular file" in failed[0].reason
    with pytest.raises(InputError, match="neither a file nor a folder"):
        list_files([tmp_path / "pipe.mp4"])


def test_name_that_is_not_utf8_is_a_name(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.mp4")
    _touch(Path(path))
    files, failed = list_files([tmp_path])
    assert [file.uri for file in files] == [path]
    assert failed == []


def test_plan_skips_known_and_reads_changed_files(tmp_path: Path) -> None:
    paths = [_touch(tmp_path / name) for name in ("new.mp4", "same.mp4", "touched.mp4", "grown.mp4")]
    files, _ = list_files(paths)
    by_name = {Path(file.uri).name: file for file in files}
    records = {
        "same": _record(by_name["same.mp4"]),
        "touched": replace(_record(by_name["touched.mp4"]), mtime_ns=1),
        "grown": replace(_record(by_name["grown.mp4"]), size_bytes=99),
    }
    result = plan(files, records.values())
    assert {(Path(file.uri).stem, record) for file, record in result.todo} == {
        ("new", None),
        ("touched", records["touched"]),
        ("grown", records["grown"]),
    }
    assert (result.skipped, result.known_failures, result.moved) == (1, 0, [])


def test_plan_retries_failed_files_only_when_asked(tmp_path: Path) -> None:
    files, _ = list_files([_touch(tmp_path / "bad.mp4")])
    record = replace(_record(files[0]), status="failed", error="no frames")
    assert (plan(files, [record]).skipped, plan(files, [record]).known_failures) == (1, 1)
    assert plan(files, [record], retry_failed=True).todo == [(files[0], record)]


def test_moved_file_is_recognised_by_content(tmp_path: Path) -> None:
    old = _touch(tmp_path / "old.mp4", b"abc")
    (file,), _ = list_files([old])
    record = _record(file)
    moved = old.rename(tmp_path / "moved.mp4")
    other = _touch(tmp_path / "other.mp4", b"xyz")  # the same size, another content
    files, _ = list_files([moved, other])
    result = plan(files, [record])
    assert [(row.video_id, row.uri) for row in result.moved] == [(record.video_id, str(moved))]
    assert [(found.uri, earlier) for found, earlier in result.todo] == [(str(other), None)]


def test_copy_is_a_video_of_its_own(tmp_path: Path) -> None:
    first = _touch(tmp_path / "a.mp4", b"abc")
    (file,), _ = list_files([first])
    copy = _touch(tmp_path / "b.mp4", b"abc")
    files, _ = list_files([first, copy])
    result = plan(files, [_record(file)])
    assert result.moved == []
    assert [found.uri for found, _ in result.todo] == [str(copy)]


def test_one_lost_row_serves_one_file(tmp_path: Path) -> None:
    old = _touch(tmp_path / "old.mp4", b"abc")
    (file,), _ = list_files([old])
    record = _record(file)
    old.unlink()
    files, _ = list_files([_touch(tmp_path / "x.mp4", b"abc"), _touch(tmp_path / "y.mp4", b"abc")])
    result = plan(files, [record])
    assert len(result.moved) == len(result.todo) == 1


def test_typescript_is_not_a_transport_stream(tmp_path: Path) -> None:
    stream = _touch(tmp_path / "film.ts", b"\x47" + b"\x00" * 187)
    _touch(tmp_path / "program.ts", b"export const a = 1;")
    files, failed = list_files([tmp_path])
    assert [file.uri for file in files] == [str(stream)]
    assert failed == []


def test_only_what_is_gone_for_certain_has_vanished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = _touch(tmp_path / "a.mp4")
    assert not vanished(str(here))
    assert vanished(str(tmp_path / "b.mp4"))
    assert vanished(str(here / "below-a-file.mp4"))

    def refuse(path: str) -> os.stat_result:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "lstat", refuse)
    assert not vanished(str(here))


@pytest.mark.parametrize(
    ("path", "place", "expected"),
    [
        ("/a/b.mp4", "/a", True),
        ("/a/b/c.mp4", "/a", True),
        ("/a", "/a", True),
        ("/ab.mp4", "/a", False),
        ("/a", "/a/b", False),
        ("/a.mp4", "/", True),
    ],
)
def test_what_lies_in_a_folder_is_told_by_whole_names(path: str, place: str, expected: bool) -> None:
    assert lies_in(path, place) is expected


def test_one_path_is_no_list_of_letters() -> None:
    assert listed("ab") == ["ab"]
    assert listed(Path("ab")) == [Path("ab")]
    assert listed(iter(["a", Path("b")])) == ["a", Path("b")]


def test_names_by_their_folder() -> None:
    assert by_folder(["/a/x", "/a/b/y", "/a/z"]) == {"/a": ["x", "z"], "/a/b": ["y"]}
