"""The library page: indexes, videos and their failures, adding a folder with progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

OpenPage = Callable[..., Any]


def test_indexes_videos_and_failures_are_listed(open_page: OpenPage, live: Any) -> None:
    page = open_page("/library")
    assert page.locator("#indexes h3").all_inner_texts() == [
        index["name"] for index in live.get("/api/indexes")["indexes"]
    ]
    page.wait_for_selector("table.videos tbody tr")
    listed = live.get("/api/videos", limit=100)
    assert page.locator("table.videos tbody tr").count() == min(25, listed["total"])
    page.select_option("#status-filter", "failed")
    page.wait_for_function("() => document.querySelectorAll('table.videos tbody tr').length === 1")
    [failed] = live.get("/api/videos", status="failed")["videos"]
    row = page.inner_text("table.videos tbody tr")
    assert "broken.mp4" in row
    assert failed["error"] in row


def test_videos_are_found_by_name(open_page: OpenPage, live: Any) -> None:
    page = open_page("/library")
    page.wait_for_selector("table.videos tbody tr")
    page.fill("#name-filter", live.videos[4])
    page.wait_for_function("() => document.querySelectorAll('table.videos tbody tr').length === 1")
    page.click("table.videos tbody a")
    page.wait_for_function(
        "name => document.getElementById('name')?.textContent === name", arg=live.videos[4]
    )


def test_a_folder_is_added_and_its_videos_are_found(open_page: OpenPage, live: Any) -> None:
    page = open_page("/library?index=words")
    page.wait_for_selector(".folders button")
    if (
        page.locator(".folders button", has_text="more").count() == 0
    ):  # the list begins with the allowed folders
        page.locator(".folders button").first.click()
    page.locator(".folders button", has_text="more").click()
    page.wait_for_function("() => document.querySelector('.place code').textContent.endsWith('/more')")
    before = live.get("/api/videos", index="words")["total"]
    page.fill("#include", "*.mp4")
    page.click("button:text-is('Add more')")
    job = page.locator(".job").first
    job.wait_for()
    page.wait_for_function(
        "() => document.querySelector('.job .state').textContent === 'Done'", timeout=60_000
    )
    assert "2 added" in job.inner_text()
    page.wait_for_function(
        "n => document.querySelector('.narrowing .note').textContent.startsWith(n)", arg=str(before + 2)
    )
    assert live.get("/api/videos", index="words")["total"] == before + 2
    videos = live.get("/api/indexes")["indexes"][1]["videos"]
    page.locator("#indexes > li", has_text="words").get_by_text(f"{videos} videos").wait_for()


def test_folders_outside_are_refused_with_the_servers_words(open_page: OpenPage) -> None:
    page = open_page("/library", allow="the server responded with a status of 4")
    page.wait_for_selector(".folders button")
    answer = page.evaluate("fetch('/api/folders?path=/etc').then((r) => r.status)")
    assert 400 <= answer < 500


def test_a_job_that_breaks_off_tells_why(open_page: OpenPage) -> None:
    page = open_page()
    reason = "cannot decode 'a.mp4': <script>alert(1)</script>"
    job = {
        "id": "1", "index": "library", "kind": "index", "paths": ["/videos"], "include": [], "exclude": [],
        "state": "done", "done": 3, "total": 3, "added": 2, "replaced": 0,
        "failed": [{"path": "/videos/a.mp4", "reason": reason}], "eta_s": None, "message": "",
        "created_at": 1, "updated_at": 2,
    }  # fmt: skip
    page.route("**/api/jobs", lambda route: route.fulfill(json={"jobs": [job]}))
    page.click("nav a[data-page=library]")
    page.wait_for_selector(".job")
    page.click(".job summary")
    assert reason in page.inner_text(".job .failures")
