"""Take the screenshots of docs/web.md of a server that runs: ``python docs/make_screenshots.py http://127.0.0.1:8080``.

The server also has to serve an index of a model with a reranker and one of X-CLIP, for the pictures of what only they
can show; ``--rerank NAME`` and ``--words NAME`` say what they are called. A picture whose index is not named is left
as it is. Needs ``framesift[browser]``, and a Chromium.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
]
MOST_BYTES = 200_000
QUALITIES = (90, 80, 70, 60)
QUERY = "a brown triangle below an outlined pink plus sign over a green lawn"
SETTLE_MS = 500
# Strips and previews arrive one after the other; those in view must be there.
ALL_THERE = """() => [...document.querySelectorAll(".strip, .preview img")]
    .filter((e) => { const b = e.getBoundingClientRect(); return b.top < innerHeight && b.bottom > 0; })
    .every((e) => e.matches(".strip") ? e.classList.contains("loaded") : e.naturalWidth > 0)"""


def main(address: str, rerank: str | None, words: str | None) -> None:
    """Visit the pages and write one WebP file for each."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)

        def take(
            name: str, path: str, ready: str, act: Callable[[Any], None] = lambda _: None, *, width: int = 1280,
            height: int = 860, scheme: str = "light",
        ) -> None:  # fmt: skip
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
            )
            page = context.new_page()
            page.goto(address + path)
            page.wait_for_selector(ready, timeout=60_000)
            act(page)
            page.wait_for_function(ALL_THERE, timeout=60_000)
            page.wait_for_timeout(SETTLE_MS)
            _write(HERE / f"web-{name}.webp", page.screenshot())
            context.close()

        take("search", f"/?q={quote(QUERY)}", ".strip.loaded")
        take("phone", f"/?q={quote(QUERY)}", ".strip.loaded", width=390, height=844, scheme="dark")
        take("video", _first_video(browser, address), "#best button", _seek_best, height=1040)
        take("benchmark", "/benchmark?n=3", ".strip.loaded", scheme="dark")
        if rerank:
            take("rerank", f"/?q={quote(QUERY)}&compare=1&index={rerank}", ".side-by-side .strip.loaded")
        if words:
            take("words", f"/?q={quote(QUERY)}&index={words}", ".strip.loaded", _explain)
        browser.close()


def _first_video(browser: Any, address: str) -> str:
    page = browser.new_page()
    page.goto(f"{address}/?q={quote(QUERY)}")
    page.wait_for_selector(".result")
    found = page.get_attribute(".result h3 a", "href")
    page.close()
    return found


def _seek_best(page: Any) -> None:
    page.locator("#best button").first.click()


def _explain(page: Any) -> None:
    page.keyboard.press("j")
    page.keyboard.press("e")
    page.wait_for_selector(".explanation table")


def _write(path: Path, png: bytes) -> None:
    """As WebP of the best quality that keeps a checkout small."""
    picture = Image.open(io.BytesIO(png))
    for quality in QUALITIES:
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", quality=quality, method=6)
        if buffer.tell() <= MOST_BYTES:
            break
    path.write_bytes(buffer.getvalue())
    print(f"{path.name}: {buffer.tell():,} bytes", file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--rerank")
    parser.add_argument("--words")
    given = parser.parse_args()
    main(given.address.rstrip("/"), given.rerank, given.words)
