"""A live server over a small Storyboard library, and pages of it in a real Chromium."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from framesift import Index
from framesift.storyboard import standard
from framesift.storyboard.splits import write_captions, write_videos

SUBTITLES = """1
00:00:00,200 --> 00:00:01,400
Here the <i>lighthouse</i> is explained.

2
00:00:01,500 --> 00:00:02,400
<script>document.title = "stolen"</script> and the end.
"""
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
START_S = 60
TOKEN = "0123456789abcdef0123456789abcdef"
MODELS = {"library": "storyboard-xpool", "words": "storyboard-xclip", "reranked": "storyboard-crosstvr-xpool"}


@dataclass(frozen=True)
class Live:
    """A server that runs, and what it serves.

    Attributes:
        address: http://127.0.0.1:PORT
        root: the folder with ``videos/holiday``, ``videos/work`` (both indexed) and ``more`` (not yet).
        captions: one for each video of the index, in the order of ``videos``.
        videos: their names.
        token: what it asks for, if anything.
    """

    address: str
    root: Path
    captions: tuple[str, ...]
    videos: tuple[str, ...]
    token: str | None = None

    def get(self, path: str, **values: object) -> Any:
        """What the API answers."""
        query = f"?{urlencode(values)}" if values else ""
        with urllib.request.urlopen(f"{self.address}{path}{query}", timeout=30) as answer:
            return json.load(answer)


def make_library(root: Path, *, models: dict[str, str], videos: int = 16, more: int = 2) -> Live:
    """Render ``videos`` + ``more`` Storyboard videos. The first model indexes ``videos``, the others half of them."""
    made = standard(videos + more)
    folders = [root / "videos" / "holiday", root / "videos" / "work", root / "more"]
    for folder in folders:
        folder.mkdir(parents=True)
    half = videos // 2
    parts = [made.videos[:half], made.videos[half:videos], made.videos[videos:]]
    paths = [path for part, folder in zip(parts, folders, strict=True) for path in write_videos(part, folder)]
    for part, folder in zip(parts, folders, strict=True):
        write_captions(part, folder)
    paths[0].with_suffix(".srt").write_text(SUBTITLES, encoding="utf-8")
    (root / "videos" / "work" / "broken.mp4").write_bytes(b"\0" * 100)
    # a name that would run, were it ever taken for markup
    shutil.copy(paths[1], root / "videos" / "holiday" / "<img src=x onerror=alert(1)>.mp4")
    for place, (name, model) in enumerate(models.items()):
        with Index.create(root / name, model=model, moments="shots") as index:
            index.add(folders[0] if place else root / "videos")
    return Live("", root, tuple(made.texts[:videos]), tuple(path.name for path in paths[:videos]))


def serve(made: Live, *options: str) -> Iterator[Live]:
    """Run ``framesift serve`` over the indexes of a library until the generator is closed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    indexes = [
        part for name in MODELS if (made.root / name).is_dir() for part in ("--index", made.root / name)
    ]
    log = made.root / "serve.log"
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "XDG_STATE_HOME": str(made.root / "state"),
        "XDG_CACHE_HOME": str(made.root / "cache"),
    }
    command = [
        sys.executable,
        "-m",
        "framesift",
        "serve",
        *map(str, indexes),
        "--port",
        str(port),
        "--allow-folder",
        str(made.root),
        *options,
    ]
    with open(log, "wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(address, process, log)
        yield Live(address, made.root, made.captions, made.videos)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/api/health", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    pytest.fail(f"the server did not come up:\n{log.read_text(errors='replace')}")


@pytest.fixture(scope="session")
def made_library(tmp_path_factory: pytest.TempPathFactory) -> Live:
    pytest.importorskip("fastapi", reason="needs the server: pip install 'framesift[web]'")
    return make_library(tmp_path_factory.mktemp("web"), models=MODELS)


@pytest.fixture(scope="session")
def live(made_library: Live) -> Iterator[Live]:
    yield from serve(made_library)


@pytest.fixture(scope="module")
def guarded(made_library: Live) -> Iterator[Live]:
    """The same library behind a token."""
    file = made_library.root / "token.txt"
    file.write_text(TOKEN)
    for running in serve(made_library, "--token-file", str(file)):
        yield replace(running, token=TOKEN)


@pytest.fixture(scope="module")
def empty_index(tmp_path_factory: pytest.TempPathFactory, real_data: Path) -> Iterator[Live]:
    """A server with an index of nothing, which may add the real clips."""
    root = tmp_path_factory.mktemp("empty")
    Index.create(root / "library", model=MODELS["library"]).close()
    yield from serve(Live("", root, (), ()), "--allow-folder", str(real_data / "clips"))


@pytest.fixture(scope="module")  # not longer: Playwright runs once at a time in a process
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="needs playwright: pip install 'framesift[browser]'"
    )
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("needs a Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield browser
        browser.close()


OpenPage = Callable[..., Any]


@pytest.fixture
def open_page(chromium: Any, live: Live) -> Iterator[OpenPage]:
    """Opens a page of the server: ``open_page("/library", width=390, scheme="dark")``.

    At the end, no page may have complained or asked any other server for anything. ``allow`` takes away complaints
    that hold its text.
    """
    contexts: list[Any] = []
    complaints: list[str] = []
    foreign: list[str] = []
    allowed: list[str] = []

    def opened(
        path: str = "/",
        *,
        width: int = 1280,
        scheme: str = "light",
        allow: str | None = None,
        at: str | None = None,
    ) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)  # the first search loads the model
        if allow is not None:
            allowed.append(allow)
        page.on(
            "console",
            lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        base = at or live.address
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith((base, "blob:", "data:")) else foreign.append(request.url)
            ),
        )
        page.goto(base + path)
        page.wait_for_selector("main:not(:has([aria-busy=true]))")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [text for text in complaints if not any(part in text for part in allowed)] == []
    assert foreign == []
