"""A small library, indexed once, and a server over it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import torch

from framesift.index import Index
from framesift.index.build import BuildConfig
from framesift.storyboard import standard, write_split
from framesift.web.app import create_app
from framesift.web.settings import Settings
from live_server import serving

NUM_VIDEOS = 6


@dataclass(frozen=True)
class Shelf:
    """``root``/videos holds the files, ``root``/small.index the index of them."""

    root: Path

    @property
    def videos(self) -> Path:
        return self.root / "videos"

    @property
    def index(self) -> Path:
        return self.root / "small.index"

    def settings(self, folder: Path, **changes: object) -> Settings:
        """Those of a server whose state and cache are in ``folder``."""
        own = {"allow_folders": (self.root,), "state": folder / "state", "cache": folder / "cache"}
        return Settings(**{**own, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="package", autouse=True)
def _one_core_a_search() -> Iterator[None]:
    """As in ``framesift serve``: threads of torch that wait for one another take most of a machine that is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """A few Storyboard videos, one of them with a name that no HTML, header or spreadsheet should trip over."""
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    paths = write_split(standard(NUM_VIDEOS).videos, shelf.videos)
    paths[0].rename(shelf.videos / ODD_NAME)
    with Index.create(shelf.index, model="storyboard-xpool") as index:
        assert index.add(shelf.videos, config=BuildConfig(workers=0)).added == NUM_VIDEOS
    return shelf


ODD_NAME = "=<script>alert('1')</script> \"ü\" 100%.mp4".replace("/", "_")


@pytest.fixture(scope="session")
def client(shelf: Shelf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a server without a token, for tests that change nothing."""
    app = create_app({"small": shelf.index}, settings=shelf.settings(tmp_path_factory.mktemp("server")))
    with serving(app) as client:
        yield client


@pytest.fixture(scope="session")
def video_id(client: httpx.Client) -> str:
    """Of the video with the odd name."""
    found = client.get("/api/videos", params={"q": "script"}).json()["videos"]
    assert len(found) == 1
    return found[0]["video_id"]
