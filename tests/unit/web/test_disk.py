"""What a server leaves on the disk, reads from it, and takes of it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from framesift.web import uploads
from framesift.web.cache import STALE_S, FileCache
from framesift.web.captions import captions_beside
from framesift.web.errors import ApiError
from framesift.web.files import Allowed
from framesift.web.library import Catalogue
from framesift.web.media_pool import MediaPool
from framesift.web.pools import Places, Pool
from framesift.web.settings import Settings
from framesift.web.uploads import Uploads


def started(folder: Path, **limits: int) -> Uploads:
    pictures = MediaPool("pictures", processes=1, waiting=1, timeout_s=1.0)
    return Uploads(Settings(cache=folder, **limits), pictures, Pool("reading", threads=1, waiting=1))


def test_uploads_of_a_killed_server_go_and_those_of_a_live_one_stay(tmp_path: Path) -> None:
    base = tmp_path / "uploads"
    left = base / f"{os.getpid()}-left"  # even if the killed one had our number, as in a container
    left.mkdir(parents=True)
    (left / "upload").write_bytes(b"x")
    first = started(tmp_path)
    assert not left.exists()
    draft = first.draft(".edl")
    draft.write_bytes(b"x")
    second = started(tmp_path)
    assert draft.exists()
    assert len(list(base.iterdir())) == 2
    first.close()
    second.close()
    second.close()
    assert not list(base.iterdir())


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    killed = (
        "import os, sys; from pathlib import Path; from framesift.web import uploads; "
        "uploads._lock(Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    left = tmp_path / "uploads" / "left"
    left.mkdir(parents=True)
    assert subprocess.run([sys.executable, "-c", killed, left], timeout=120).returncode == -9
    started(tmp_path).close()
    assert not left.exists()


def test_no_upload_is_taken_that_would_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = uploads.SPARE_BYTES + 2 * 1000
    usage = namedtuple("usage", "total used free")(2 * free, free, free)
    monkeypatch.setattr(uploads.shutil, "disk_usage", lambda _: usage)
    place = started(tmp_path, upload_bytes=1000).place
    with place(600):
        with pytest.raises(ApiError) as refused, place(600):  # each would fit without the other
            pass
        assert refused.value.status == 507
        with place(400):
            pass
    with place(None):
        pass
    with pytest.raises(ApiError), place(1001):
        pass


def test_places_are_given_back() -> None:
    places = Places(1, "all taken")
    for _ in range(2):
        with places.place(), pytest.raises(ApiError, match="all taken") as refused, places.place():
            pass
        assert refused.value.status == 503
    places.check()


def test_the_cache_forgets_what_a_killed_server_left_unfinished(tmp_path: Path) -> None:
    for name, age_s in ((".1-old.mp4", STALE_S + 60), (".2-new.mp4", 60), ("whole.mp4", STALE_S + 60)):
        path = tmp_path / name
        path.write_bytes(b"x")
        then = path.stat().st_mtime - age_s
        os.utime(path, (then, then))
    assert FileCache(tmp_path, max_bytes=100).size_bytes == 2
    assert sorted(os.listdir(tmp_path)) == [".2-new.mp4", "whole.mp4"]


def test_a_folder_that_is_swapped_for_a_link_later_leads_nowhere_else(tmp_path: Path) -> None:
    allowed_folder, other = tmp_path / "allowed", tmp_path / "other"
    for folder in (allowed_folder, other):
        folder.mkdir()
    allowed = Allowed([allowed_folder, allowed_folder / "inner"])
    assert allowed.holds(str(allowed_folder))
    assert allowed.holds(str(allowed_folder / "a" / "b"))
    for outside in ("/", str(tmp_path), f"{allowed_folder}2", str(other)):
        assert not allowed.holds(outside)
    assert allowed.outermost() == [str(allowed_folder)]
    allowed_folder.rmdir()
    allowed_folder.symlink_to(other)
    assert not allowed.holds(os.path.realpath(allowed_folder / "a"))
    assert allowed.names(str(allowed_folder / "a"))
    assert Allowed(["/"]).holds("/anything")
    assert Allowed(["/"]).outermost() == ["/"]


def test_thousands_of_allowed_folders_are_quick() -> None:
    allowed = Allowed([f"/videos/{number}/a" for number in range(5000)])
    assert len(allowed.outermost()) == 5000
    assert allowed.holds("/videos/4999/a/b/c/d")


def test_captions_are_not_read_from_pipes_and_links(tmp_path: Path) -> None:
    class Beside(Catalogue):
        folders = (str(tmp_path),)  # type: ignore[assignment]

    catalogue = Beside((0, 0, 0), ())
    os.mkfifo(tmp_path / "captions.jsonl")  # opening it would wait for ever
    (tmp_path / "secret").write_text('{"videos": {}}')
    (tmp_path / "captions.json").symlink_to(tmp_path / "secret")

    async def within_a_moment() -> None:
        found = asyncio.get_running_loop().run_in_executor(None, captions_beside, catalogue)
        assert await asyncio.wait_for(found, 10) == []

    asyncio.run(within_a_moment())
