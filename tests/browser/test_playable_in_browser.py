"""What ``playability`` says, asked of a real Chromium: files that should play do, and the copies of the others do."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from film_maker import make_film
from framesift.video import probe
from framesift.video.cutting import cut_file
from framesift.video.playable import playability, playable_copy

COPIED_S = 0.6
PLAY = """async ({name, at}) => {
    const video = document.createElement("video");
    video.muted = true;
    video.preload = "auto";
    const happened = (kind) => new Promise((resolve, reject) => {
        video.addEventListener(kind, resolve, {once: true});
        video.addEventListener("error", () => reject(new Error(name + ": " + video.error.message)), {once: true});
    });
    const loaded = happened("loadeddata");
    video.src = name;
    await loaded;
    const sought = happened("seeked");
    video.currentTime = at;
    await sought;
    return {width: video.videoWidth, height: video.videoHeight, duration: video.duration, error: video.error};
}"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    (folder / "index.html").write_text("<!doctype html><title>player</title>")
    return folder


@pytest.fixture(scope="module")
def page(chromium: Any, folder: Path) -> Iterator[Any]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        page = chromium.new_page()
        page.goto(f"http://127.0.0.1:{server.server_address[1]}/index.html")
        yield page
        page.close()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def assert_plays(page: Any, path: Path) -> None:
    info = probe(path)
    at = (info.duration_s or 0.0) / 2
    played = page.evaluate(PLAY, {"name": path.name, "at": at})
    assert played["error"] is None
    # Chromium counts in square pixels
    assert played["height"] == pytest.approx(info.height, rel=0.3)
    assert played["duration"] == pytest.approx(info.duration_s, abs=0.25)


def test_every_real_clip_plays_or_its_copy_does(
    real_data: Path, folder: Path, page: Any, subtests: pytest.Subtests
) -> None:
    for path in sorted((real_data / "clips").iterdir()):
        with subtests.test(path.name):
            found = playability(path)
            if found.verdict == "as_is":
                served = folder / path.name
                shutil.copyfile(path, served)
            else:
                served = folder / f"{path.name}.mp4"
                length_s = min(COPIED_S, probe(path).duration_s or 0.0)
                playable_copy(path, served, max_s=length_s)
            assert_plays(page, served)


@pytest.mark.parametrize("name", ["copy.mp4", "encoded.mp4", "encoded.webm"])
def test_cuts_play(folder: Path, page: Any, tmp_path: Path, name: str) -> None:
    film = make_film(tmp_path / "film.mp4", rotation=90)
    mode = "copy" if name.startswith("copy") else "encode"
    cut_file(film, 1.5, 3.0, folder / name, mode=mode)
    assert_plays(page, folder / name)


def test_what_must_be_encoded_anew_does_not_play(folder: Path, page: Any, tmp_path: Path) -> None:
    """Otherwise the verdict would be needlessly strict in the browser that we can ask."""
    served = make_film(folder / "mpeg4.avi", seconds=1.0, video="mpeg4", audio=None)
    assert playability(served).verdict == "transcode"
    from playwright.sync_api import Error  # the page is there, so it is, too

    with pytest.raises(Error, match=r"mpeg4\.avi"):
        assert_plays(page, served)
