"""Filters by folder, name, tag, day and length; the part of a gallery that they leave."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest

from framesift.index.gallery import Catalogue
from framesift.search.filters import allowed
from framesift.search.query import Filters

PATHS = (
    "/media/holiday/beach/a.mp4",
    "/media/holiday.mp4",
    "/media/films/My Talk.MP4",
    "/other/holiday/2024/c.mov",
)
DAYS = (date(2023, 12, 31), date(2024, 1, 1), date(2024, 5, 1), date(2025, 1, 1))
TAGS = (("Beach", "sun"), (), ("beach",), ("ÉTÉ",))
CATALOGUE = Catalogue(
    video_ids=tuple("abcd"),
    uris=PATHS,
    mtime_ns=np.array([int(datetime(d.year, d.month, d.day).timestamp() * 1e9) for d in DAYS]),
    duration_s=np.array([10.0, 60.0, np.nan, 120.0]),
    tags=TAGS,
    video=np.array([0, 1, 1, 2, 3]),
)


def found(**filters: object) -> list[int]:
    """Rows that the filters leave."""
    return np.flatnonzero(allowed(Filters(**filters), CATALOGUE)).tolist()  # type: ignore[arg-type]


def test_no_filter_leaves_all() -> None:
    assert found() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("folders", "rows"),
    [
        (["holiday"], [0, 4]),
        (["holiday/beach"], [0]),
        (["media/holiday"], [0]),
        (["holi"], []),
        (["/media"], [0, 1, 2, 3]),
        (["/media/holiday/"], [0]),
        (["/medi"], []),
        (["/"], [0, 1, 2, 3, 4]),
        (["."], [0, 1, 2, 3, 4]),
        (["a.mp4"], []),
        (["films", "2024"], [3, 4]),
        (["beach/../beach"], [0]),
    ],
)
def test_folders(folders: list[str], rows: list[int]) -> None:
    assert found(folders=tuple(map(Path, folders))) == rows


def test_a_home_folder_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/media")
    assert found(folders=(Path("~/films"),)) == [3]


def test_names_match_as_globs_in_any_case() -> None:
    assert found(names=("*.mp4",)) == [0, 1, 2, 3]
    assert found(names=("my talk*", "[a-b].mp4")) == [0, 3]
    assert found(names=("holiday",)) == []


def test_all_tags_are_wanted_in_any_case() -> None:
    assert found(tags=("BEACH",)) == [0, 3]
    assert found(tags=("beach", "sun")) == [0]
    assert found(tags=("été",)) == [4]


@pytest.fixture(params=["UTC", "Asia/Tokyo", "America/Los_Angeles"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def test_a_day_begins_at_midnight_here(zone: str) -> None:
    midnight = int(datetime(2024, 5, 1).timestamp() * 1e9)
    seen = Catalogue(
        video_ids=("a", "b"),
        uris=("/a", "/b"),
        mtime_ns=np.array([midnight - 1000, midnight]),
        duration_s=np.zeros(2),
        tags=((), ()),
        video=np.array([0, 1]),
    )
    day = date(2024, 5, 1)
    assert allowed(Filters(after=day), seen).tolist() == [False, True]
    assert allowed(Filters(before=day), seen).tolist() == [True, False]


def test_days_at_the_ends_of_the_calendar() -> None:
    assert found(after=date.min) == [0, 1, 2, 3, 4]
    assert found(before=date.min) == []
    assert found(before=date.max) == [0, 1, 2, 3, 4]


def test_lengths_count_both_ends_and_never_what_is_unknown() -> None:
    assert found(longer_s=60.0) == [1, 2, 4]
    assert found(shorter_s=60.0) == [0, 1, 2]
    assert found(longer_s=0.0) == [0, 1, 2, 4]
