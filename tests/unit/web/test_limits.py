"""Bounded queues and caches; errors by one table."""

from __future__ import annotations

import asyncio
import pickle
import threading
from pathlib import Path

import pytest

from framesift import errors
from framesift.errors import DecodeError, InputError, MissingExtraError, ShapeError
from framesift.web.cache import FileCache, cache_key
from framesift.web.errors import STATUSES, ApiError, status_of
from framesift.web.pools import Pool
from framesift.web.settings import Settings


def test_who_comes_to_a_full_pool_is_sent_away() -> None:
    async def scenario() -> None:
        pool, gate = Pool("tests", threads=1, waiting=1), threading.Event()
        both = [asyncio.create_task(pool.run(gate.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(ApiError) as refused:
            await pool.run(gate.wait)
        assert (refused.value.status, refused.value.headers["retry-after"]) == (503, "2")
        gate.set()
        assert await asyncio.gather(*both) == [True, True]
        await asyncio.sleep(0.01)
        assert pool.accepted == 0
        assert await pool.run(int, "7") == 7
        pool.close()

    asyncio.run(scenario())


def test_a_file_is_made_once_however_many_ask(tmp_path: Path) -> None:
    made: list[Path] = []

    async def make(path: Path) -> None:
        made.append(path)
        await asyncio.sleep(0.01)
        path.write_bytes(b"x" * 40)

    async def scenario() -> None:
        cache = FileCache(tmp_path, max_bytes=100)
        found = await asyncio.gather(*(cache.get("one", ".bin", make) for _ in range(5)))
        assert len(made) == 1
        assert set(found) == {tmp_path / "one.bin"}
        for key in ("two", "three"):
            await cache.get(key, ".bin", make)
        assert cache.size_bytes <= 100
        assert (tmp_path / "three.bin").exists()
        assert len(list(tmp_path.iterdir())) == 2

    asyncio.run(scenario())


def test_what_could_not_be_made_leaves_nothing_and_is_tried_again(tmp_path: Path) -> None:
    async def broken(path: Path) -> None:
        path.write_bytes(b"half")
        raise InputError("no")

    async def good(path: Path) -> None:
        path.write_bytes(b"whole")

    async def scenario() -> None:
        cache = FileCache(tmp_path, max_bytes=100)
        with pytest.raises(InputError):
            await cache.get("one", ".bin", broken)
        assert not list(tmp_path.iterdir())
        assert (await cache.get("one", ".bin", good)).read_bytes() == b"whole"

    asyncio.run(scenario())


def test_a_key_tells_all_that_decides() -> None:
    assert cache_key("frame", "/a", 1, 2.0) != cache_key("frame", "/a", 12, 0.0)
    assert cache_key("\udcff") == cache_key("\udcff")


def test_every_error_has_a_status_of_its_own() -> None:
    named = [getattr(errors, name) for name in errors.__all__]
    classes = {one for one in named if isinstance(one, type) and issubclass(one, errors.FramesiftError)}
    assert classes == set(STATUSES)
    assert status_of(DecodeError("a.mp4", "damaged")) == (422, "decode_error")


@pytest.mark.parametrize(
    "error",
    [
        DecodeError("a", "b"),
        ShapeError("x", expected=1, got=2),
        MissingExtraError("p", "web"),
        InputError("i"),
    ],
)
def test_errors_travel_between_processes(error: errors.FramesiftError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_a_weak_token_is_refused_and_a_good_one_is_not_printed() -> None:
    with pytest.raises(InputError, match="16"):
        Settings(token="short")
    with pytest.raises(InputError, match="ASCII"):
        Settings(token="ü" * 20)
    assert "secret" not in repr(Settings(token="secret-secret-secret"))
