"""The page of one video: timeline, seeking, subtitles, captions, tags."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

OpenPage = Callable[..., Any]


@pytest.fixture(scope="module")
def videos(live: Any) -> dict[str, Any]:
    return {video["name"]: video for video in live.get("/api/videos", limit=100)["videos"]}


def time_of(page: Any) -> float:
    return page.evaluate("document.querySelector('#player video').currentTime")


def ready(page: Any) -> None:
    page.wait_for_function("() => document.querySelector('#player video')?.readyState >= 2")


def test_the_timeline_shows_the_query_and_seeks(
    open_page: OpenPage, live: Any, videos: dict[str, Any]
) -> None:
    name, text = live.videos[3], live.captions[3]
    video = videos[name]
    page = open_page(f"/video/{video['video_id']}?q={quote(text)}")
    ready(page)
    found = live.get(f"/api/videos/{video['video_id']}/timeline", q=text)
    assert page.locator(".timeline .band").count() == len(found["moments"])
    points = page.get_attribute(".timeline .curve", "points").split()
    assert len(points) == len(found["frames"])
    height = {
        time: float(point.split(",")[1])
        for point, time in zip(points, sorted(f["time_s"] for f in found["frames"]), strict=True)
    }
    best = max(found["frames"], key=lambda frame: frame["score"])
    assert height[best["time_s"]] == min(height.values()), "the curve is highest where the score is"
    box = page.locator(".timeline").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_function(
        "half => Math.abs(document.querySelector('#player video').currentTime - half) < 0.2",
        arg=video["duration_s"] / 2,
    )
    page.focus(".timeline")
    before = time_of(page)
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("t => document.querySelector('#player video').currentTime < t - 0.5", arg=before)
    page.keyboard.press("End")
    page.wait_for_function("t => document.querySelector('#player video').currentTime > t", arg=before)


def test_best_moments_lead_there(open_page: OpenPage, live: Any, videos: dict[str, Any]) -> None:
    video = videos[live.videos[3]]
    page = open_page(f"/video/{video['video_id']}")
    ready(page)
    page.fill("#query", live.captions[3])
    page.keyboard.press("Enter")
    page.wait_for_selector("#best button")
    found = live.get(f"/api/videos/{video['video_id']}/timeline", q=live.captions[3])
    best = max(found["moments"], key=lambda moment: moment["score"])
    inside = [frame for frame in found["frames"] if best["start_s"] <= frame["time_s"] < best["end_s"]]
    peak_s = max(inside, key=lambda frame: frame["score"])["time_s"]
    page.locator("#best button").first.click()
    page.wait_for_function(
        "start => Math.abs(document.querySelector('#player video').currentTime - start) < 0.1",
        arg=peak_s,
    )
    assert page.get_attribute("#best li:first-child button", "aria-current") == "true"
    assert f"start={best['start_s']}".rstrip("0").rstrip(".") in page.get_attribute("#away a", "href")
    page.go_back()
    page.wait_for_function("() => document.getElementById('query').value === ''")


def test_space_plays(open_page: OpenPage, live: Any, videos: dict[str, Any]) -> None:
    page = open_page(f"/video/{videos[live.videos[2]]['video_id']}")
    ready(page)
    page.keyboard.press(" ")
    page.wait_for_function("() => document.querySelector('#player video').currentTime > 0.2")


def test_subtitles_are_text_and_lead_to_their_time(
    open_page: OpenPage, live: Any, videos: dict[str, Any]
) -> None:
    page = open_page(f"/video/{videos[live.videos[0]]['video_id']}")
    ready(page)
    lines = page.locator("#subtitles button")
    assert lines.count() == 2
    assert "lighthouse" in lines.nth(0).inner_text()
    lines.nth(1).click()
    page.wait_for_function("() => Math.abs(document.querySelector('#player video').currentTime - 1.5) < 0.1")
    assert "stolen" not in page.title()
    assert lines.nth(1).get_attribute("aria-current") == "true"


def test_captions_are_ranked(open_page: OpenPage, live: Any, videos: dict[str, Any]) -> None:
    page = open_page(f"/video/{videos[live.videos[2]]['video_id']}")
    page.fill("#captions", "\n".join(live.captions))
    page.click("text=Rank these captions")
    page.wait_for_selector(".ranked li")
    shown = page.locator(".ranked li").all_inner_texts()
    assert len(shown) == len(live.captions)
    scores = [float(re.search(r"score (-?[\d.]+)", line)[1]) for line in shown]
    assert scores == sorted(scores, reverse=True)


def test_tags_are_kept(open_page: OpenPage, live: Any, videos: dict[str, Any]) -> None:
    address = f"/video/{videos[live.videos[5]]['video_id']}"
    page = open_page(address)
    page.fill("#tag", "sea <b>side</b>")
    page.keyboard.press("Enter")
    page.wait_for_selector("#tags .chip")
    page = open_page(address)
    page.wait_for_selector("#tags .chip")
    assert page.inner_text("#tags .chip span") == "sea <b>side</b>"
    page = open_page("/?q=a+star")
    page.click("#show-filters")
    page.locator("#filter-tags button", has_text="sea").click()
    page.wait_for_function("() => document.getElementById('summary').textContent.includes('filtered')")
    assert set(page.locator(".result h3").all_inner_texts()) == {live.videos[5]}
    page = open_page(address)
    page.get_by_label("Remove tag").click()
    page.wait_for_selector("#tags .chip", state="detached")
    assert live.get(f"/api/videos/{videos[live.videos[5]]['video_id']}")["tags"] == []


def test_a_video_that_is_not_there(open_page: OpenPage) -> None:
    page = open_page("/video/nothing", allow="404")
    assert page.inner_text("h1") == "No such video"
    assert page.locator("#messages .message").is_visible()
