"""A folder of real clips with odd codecs, added from the page: each of them plays, or shows frames with a reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

OpenPage = Callable[..., Any]

JOB_MS = 400_000
PLAYS_MS = 60_000
# A browser says so when it gives a file up; the page then asks the server to convert it.
TRIED = "Failed to load resource"


@pytest.mark.slow
def test_every_clip_of_a_real_folder_plays_or_says_why_not(
    open_page: OpenPage, empty_index: Any, real_data: Path
) -> None:
    page = open_page("/library", at=empty_index.address, allow=TRIED)
    page.locator(".folders button", has_text="clips").click()
    page.click("button:text-is('Add clips')")
    page.wait_for_function(
        "() => /Done|Failed|Cancelled/.test(document.querySelector('.job .state')?.textContent)",
        timeout=JOB_MS,
    )
    assert page.inner_text(".job .state") == "Done", page.inner_text(".job")
    listed = empty_index.get("/api/videos", limit=1000)["videos"]
    files = {path.name for path in (real_data / "clips").iterdir()}
    assert {video["name"] for video in listed} <= files
    assert len(listed) > 20
    ways: dict[str, str] = {}
    for video in listed:
        page.goto(f"{empty_index.address}/video/{video['video_id']}")
        page.wait_for_selector("#video:not([aria-busy])")
        if video["status"] == "failed":
            assert video["error"] in page.inner_text("#player .warning")
            ways[video["name"]] = "failed"
            continue
        page.wait_for_function(
            """() => document.querySelector("#player video")?.readyState >= 2
                || document.querySelector("#player .still")?.naturalWidth > 0""",
            timeout=PLAYS_MS,
        )
        if page.locator("#player .still").count():
            assert "Only single frames can be shown: " in page.inner_text("#player .how")
            ways[video["name"]] = "frames"
        else:
            page.evaluate("document.querySelector('#player video').play()")
            page.wait_for_function("() => document.querySelector('#player video').currentTime > 0.05")
            ways[video["name"]] = "plays"
    assert list(ways.values()).count("plays") > len(ways) / 2, ways
